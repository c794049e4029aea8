//! The few commands of the WebDriver protocol (W3C) that the tests need, and the driver's process.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

/// Where Debian and others put the browser.
const BROWSERS: [&str; 4] = [
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/usr/lib/chromium/chromium",
];

/// Nothing is fetched that a test did not ask for, and nothing is kept.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--lang=en",
];

/// The key under which the protocol names elements.
pub(crate) const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How often a driver is started before that is an error.
const STARTS: usize = 5;

/// The driver's process. Driver and browser share a process group, which ends with this value.
struct Driver {
    child: Child,
    /// Open for as long as the driver may say something.
    stdout: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts a driver on a free port, which it names.
    fn start() -> (Self, u16) {
        (0..STARTS)
            .find_map(|_| Self::try_start())
            .expect("the driver names its port")
    }

    /// None where the driver ends: it takes a free port of one protocol, and gives up if somebody
    /// has the same one of the other.
    fn try_start() -> Option<(Self, u16)> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed: `cargo xtask test` sees to it");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut driver = Self { child, stdout };
        let port = (&mut driver.stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("started successfully on port ")?;
                rest.trim_end_matches('.').trim().parse().ok()
            })?;
        Some((driver, port))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// A session: one browser with one profile of its own.
pub(crate) struct Session {
    http: reqwest::Client,
    base: String,
    _driver: Driver,
    /// Removed after the browser has ended, so it stands behind the driver.
    _profile: tempfile::TempDir,
}

/// A refusal of the driver: its error code and what it says.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    pub(crate) message: String,
}

impl Session {
    /// Starts driver and browser.
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = Driver::start();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut flags: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let binary = BROWSERS
            .iter()
            .find(|file| std::path::Path::new(file).is_file())
            .expect("Chromium is installed: `cargo xtask test` sees to it");
        let capabilities = json!({
            "pageLoadStrategy": "normal",
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": { "binary": binary, "args": flags },
        });
        let mut session = Self {
            http,
            base: format!("http://127.0.0.1:{port}"),
            _driver: driver,
            _profile: profile,
        };
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let begun = session.call(Method::POST, "/session", Some(wanted)).await;
        let begun = begun.expect("a browser starts");
        let id = begun["sessionId"].as_str().expect("a session");
        session.base = format!("{}/session/{id}", session.base);
        session
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Refusal> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the driver answers");
        let sound = answer.status().is_success();
        let mut body: Value = answer.json().await.expect("the driver speaks JSON");
        let value = body["value"].take();
        if sound {
            return Ok(value);
        }
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        Err(Refusal {
            error: text("error"),
            message: text("message"),
        })
    }

    /// A command without parameters that only asks.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Refusal> {
        self.call(Method::GET, path, None).await
    }

    /// A command with parameters.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value, Refusal> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// A command of the browser's own protocol, for what WebDriver has no word for.
    pub(crate) async fn developer(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        let done = self.post("/goog/cdp/execute", body).await;
        done.unwrap_or_else(|refusal| panic!("{command}: {}", refusal.message))
    }
}
