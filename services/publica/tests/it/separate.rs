//! The main job over the network: six blocks, the gateway and the client as eight processes, each
//! server killed once during the journey.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use publica_testkit::Database;

use crate::journey::{BLOCKS, database_settings};
use crate::running::{PATIENCE, publica};
use crate::town::{GATEWAY, Town, until};

/// Who is killed during which step, once it has answered so many calls of that step, or at the
/// step's end if that comes first.
const KILLS: [(u32, &str, u64); 7] = [
    (2, "identity", 60),
    (3, "consent", 60),
    (4, "registration", 60),
    (4, GATEWAY, 60),
    (5, "signature", 30),
    (6, "payments", 4),
    (7, "messaging", 3),
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
        for (step, role, calls) in KILLS {
            journey.wait_for(step - 1);
            let before = town.calls(role);
            until("calls", || {
                town.calls(role) >= before + calls || journey.is_past(step)
            });
            town.kill_and_restart(role);
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
