//! The main job over the network: six blocks, the gateway and the client as eight processes, each
//! server killed once during the journey.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use publica_testkit::Database;

use crate::journey::{BLOCKS, database_settings};
use crate::running::{PATIENCE, publica, signal};
use crate::town::{GATEWAY, Town, until};

/// A process that is killed during a step, once it has answered so many calls of one kind.
struct Kill {
    step: u32,
    role: &'static str,
    calls: u64,
    /// Part of the line of its metrics that counts them.
    kind: &'static str,
}

const fn kill(step: u32, role: &'static str, calls: u64, kind: &'static str) -> Kill {
    Kill {
        step,
        role,
        calls,
        kind,
    }
}

const KILLS: [Kill; 7] = [
    kill(2, "identity", 60, ""),
    kill(3, "consent", 60, ""),
    kill(4, "registration", 60, ""),
    kill(4, GATEWAY, 60, ""),
    kill(5, "signature", 30, ""),
    // The money is on its way.
    kill(6, "payments", 1, "/ApproveBatch\""),
    // The mails are on their way.
    kill(7, "messaging", 1, "/SendEmailBatch\""),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_journey_adds_up_although_each_process_is_killed_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::postgres().await;
    let settings = database_settings(&database);
    let place = folder.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let mut town = Town::found(&place, settings);
        for role in BLOCKS.iter().filter(|block| **block != "messaging") {
            town.start(role);
        }
        town.start(GATEWAY);
        let mut journey = Journey::begin(&town);
        // The mail server of the households comes with the journey.
        until("a mail server", || town.authority().exists());
        town.start("messaging");
        for kill in KILLS {
            journey.wait_for(kill.step - 1);
            let before = town.calls(kill.role, kill.kind);
            until("calls", || {
                town.calls(kill.role, kill.kind) >= before + kill.calls
            });
            // The client and the households' mail server stand still meanwhile, so that the
            // step cannot end between the look and the kill.
            journey.signal("STOP");
            town.kill_and_restart(kill.role);
            assert!(!journey.is_past(kill.step), "step {} is over", kill.step);
            journey.signal("CONT");
        }
        journey.adds_up();
        town.stop();
    })
    .await
    .unwrap();
}

/// The client's process.
struct Journey {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Journey {
    fn begin(town: &Town) -> Self {
        let mut child = publica()
            .args(["journey", "--gateway", &town.gateway(), "--token-file"])
            .arg(town.token())
            .args(["--mail", &town.mail(), "--mail-authority"])
            .arg(town.authority())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits until a step has ended.
    fn wait_for(&mut self, step: u32) {
        while !self.has_said(step) {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.said.push(line),
                Err(_) => panic!("step {step} does not end: {}", self.complaint()),
            }
        }
    }

    /// Whether a step has ended.
    fn is_past(&mut self, step: u32) -> bool {
        self.said.extend(self.lines.try_iter());
        self.has_said(step)
    }

    fn has_said(&self, step: u32) -> bool {
        let start = format!("{step}/8");
        self.said.iter().any(|line| line.starts_with(&start))
    }

    fn adds_up(mut self) {
        self.wait_for(8);
        let status = self.child.wait().unwrap();
        self.said.extend(self.lines.try_iter());
        let said = self.said.join("\n");
        assert!(status.success(), "{said}\n{}", self.complaint());
        for line in [
            "✓ ledger balanced",
            "✓ proofs valid",
            "✓ rail reconciled",
            "Everything adds up",
        ] {
            assert!(said.contains(line), "{line} in {said}");
        }
    }

    fn complaint(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = self.said.join("\n");
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Journey {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
