//! A running program.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Generous, because a loaded machine may be slow; a sound program needs far less.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The program, to be given arguments. It sees nothing of the tester's environment.
pub(crate) fn publica() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_publica"));
    command.env_clear().env("COLUMNS", "100");
    command
}

/// Sends a process a signal by name.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(sent.expect("kill runs").success());
}

/// A program that serves.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<Value>,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Running {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let json = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(json).is_err() {
                    return;
                }
            }
        });
        let mut running = Self {
            child,
            lines,
            addresses: BTreeMap::new(),
        };
        running.wait_for("ready");
        running
    }

    /// Reads log lines up to one with this message.
    pub(crate) fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let line = match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(_) => panic!("no line {message:?}; it said: {}", self.complaint()),
            };
            assert!(line.is_object(), "a log line is no JSON object: {line}");
            if line["msg"] == "listening" {
                let address = line["address"].as_str().expect("an address").parse();
                let role = line["role"].as_str().expect("a role").to_owned();
                self.addresses.insert(role, address.expect("an address"));
            }
            if line["msg"] == message {
                return line;
            }
        }
    }

    pub(crate) fn address(&self, role: &str) -> SocketAddr {
        self.addresses[role]
    }

    /// A variable of the environment that it began with, where the system tells.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let all = std::fs::read_to_string(format!("/proc/{}/environ", self.child.id())).ok()?;
        let mut pairs = all.split('\0').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the end, not for ever.
    pub(crate) fn end(&mut self) -> ExitStatus {
        // The log ends when the program does.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it lingers"),
            }
        }
        self.child.wait().expect("it has ended")
    }

    /// What it says to whoever started it: on standard error, up to how to stop it.
    pub(crate) fn welcome(&mut self) -> String {
        let mut lines = BufReader::new(self.child.stderr.take().expect("a pipe")).lines();
        let mut said = String::new();
        loop {
            let line = lines.next().expect("it says how to stop it").expect("text");
            said.push_str(&line);
            said.push('\n');
            if line.starts_with("Stop with") {
                return said;
            }
        }
    }

    fn complaint(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A GET request by hand: status line and headers, and the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_lowercase(), body.to_owned())
}

/// Writes a settings file.
pub(crate) fn settings(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("publica.toml");
    std::fs::write(&path, text).expect("it is written");
    path
}
