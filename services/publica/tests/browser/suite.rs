//! The program under test with a mail server beside it.

use publica_messaging::sink::{Faults, MailSink, SinkOptions};
use publica_testkit::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::running::{Running, publica, settings};

/// A running suite and what a test may do to it.
pub(crate) struct Suite {
    _program: Running,
    base: String,
    admin_token: String,
    mail: MailSink,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Suite {
    /// Starts every block.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts every block with further settings.
    pub(crate) async fn start_with(more: &str) -> Self {
        Self::start_of(&[], more).await
    }

    /// Starts some roles, or all, with further settings.
    pub(crate) async fn start_of(roles: &[&str], more: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mail = MailSink::start(SinkOptions::default()).await.unwrap();
        let text = format!(
            "[admin]\nlisten = '127.0.0.1:0'\n\
             [listeners.gateway]\nlisten = '127.0.0.1:0'\n\
             [messaging.relay]\nhost = '127.0.0.1'\nport = {}\ntls = 'none'\n{more}",
            mail.address().port()
        );
        let file = settings(folder.path(), &text);
        let data = folder.path().join("data");
        let mut command = publica();
        command.args(["up", "--config"]).arg(file);
        command.arg("--data").arg(&data);
        if !roles.is_empty() {
            command.arg("--blocks").arg(roles.join(","));
        }
        let started = {
            let start = move || Running::start(&mut command);
            tokio::task::spawn_blocking(start).await.unwrap()
        };
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap();
        Self {
            base: format!("http://{}", started.address("gateway")),
            _program: started,
            admin_token: token.trim().to_owned(),
            mail,
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            _folder: folder,
        }
    }

    /// An address of the gateway.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The administrator's token.
    pub(crate) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// An answer to somebody without credentials.
    pub(crate) async fn fetch(&self, path: &str) -> reqwest::Response {
        self.http.get(self.at(path)).send().await.unwrap()
    }

    /// The client without credentials that the test itself is.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Calls with the administrator's token; gives status and body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let mut request = self.http.request(method.clone(), self.at(path));
        if method != Method::GET {
            request = request.json(body);
        }
        let answer = request.bearer_auth(&self.admin_token).send().await.unwrap();
        let status = answer.status();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Posts with the administrator's token, successfully.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, body).await;
        assert!(status.is_success(), "{path} answered {status}: {answer}");
        answer
    }

    /// Enrols a person with an address, under a national id.
    pub(crate) async fn enrol(&self, national_id: &str, name: &str, email: &str) {
        let person = json!({
            "attributes": {
                "name": name, "email": email, "birthdate": "1990-04-01", "locale": "en",
            },
            "aliases": [{ "kind": "national_id", "value": national_id }],
        });
        let body = json!({ "source": "test", "persons": [person] });
        let answer = self.post("/identity/v1/persons:batchEnrol", &body).await;
        assert_eq!(answer["enrolledCount"], 1, "{answer}");
    }

    /// Mails that came so far.
    pub(crate) fn mails(&self) -> u64 {
        self.mail.mails()
    }

    /// Has the mail server fail from now on.
    pub(crate) fn mail_fails(&self, faults: Faults) {
        self.mail.set_faults(faults);
    }

    /// The one-time code of the newest mail to an address, once more mails than `before` came.
    pub(crate) async fn code(&self, address: &str, before: u64) -> String {
        eventually(|| async {
            if self.mail.mails() <= before {
                return None;
            }
            let mail = self.mail.last_to(address)?;
            mail.body()
                .split(|c: char| !c.is_ascii_digit())
                .find(|run| run.len() == 6)
                .map(str::to_owned)
        })
        .await
    }
}
