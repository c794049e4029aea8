//! The mailboxes of all households: a real SMTP server on loopback that the messaging block
//! delivers to, and the codes read back out of its mails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use publica_messaging::sink::{Faults, Mail, MailSink, SinkOptions, SinkTls};
use tokio::sync::mpsc;

/// How long a person waits for a code.
const PATIENCE: Duration = Duration::from_secs(60);

type Waiting = Arc<Mutex<HashMap<String, mpsc::UnboundedSender<String>>>>;

/// The server and those who wait for a code. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Mailboxes {
    sink: Arc<MailSink>,
    waiting: Waiting,
}

/// Somebody who waits for codes.
pub(crate) struct Expected {
    address: String,
    codes: mpsc::UnboundedReceiver<String>,
    waiting: Waiting,
}

impl Mailboxes {
    /// Starts the server with STARTTLS under a certificate of its own.
    pub(crate) async fn open(listen: SocketAddr) -> Result<Self> {
        let waiting: Waiting = Arc::default();
        let seen = waiting.clone();
        let options = SinkOptions {
            listen,
            tls: SinkTls::StartTls,
            keep: 64,
            on_mail: Some(Arc::new(move |mail: &Mail| deliver(&seen, mail))),
            faults: Faults::default(),
            ..SinkOptions::default()
        };
        let sink = MailSink::start(options)
            .await
            .context("starting the mail server")?;
        Ok(Self {
            sink: Arc::new(sink),
            waiting,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.sink.address()
    }

    /// The authority that its certificate is from.
    pub(crate) fn authority(&self) -> &str {
        self.sink.ca_pem()
    }

    /// Mails taken so far.
    pub(crate) fn mails(&self) -> u64 {
        self.sink.mails()
    }

    /// Begins to wait for codes to an address; to be called before one is asked for.
    pub(crate) fn expect(&self, address: &str) -> Expected {
        let (sender, codes) = mpsc::unbounded_channel();
        lock(&self.waiting).insert(address.to_owned(), sender);
        Expected {
            address: address.to_owned(),
            codes,
            waiting: self.waiting.clone(),
        }
    }
}

impl Expected {
    /// The next code, once the mail is there. A mail that was held up may bring one that is no
    /// longer good; the next mail then brings the good one.
    pub(crate) async fn code(&mut self) -> Result<String> {
        match tokio::time::timeout(PATIENCE, self.codes.recv()).await {
            Ok(code) => code.context("somebody else waits for the mails to this address"),
            Err(_) => bail!("no mail with a code came within {} s", PATIENCE.as_secs()),
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        // By now it may be somebody else who waits for mails to this address.
        self.codes.close();
        let mut waiting = lock(&self.waiting);
        if waiting
            .get(&self.address)
            .is_some_and(mpsc::UnboundedSender::is_closed)
        {
            waiting.remove(&self.address);
        }
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<String, mpsc::UnboundedSender<String>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(waiting: &Waiting, mail: &Mail) {
    let body = mail.body();
    let Some(code) = find_code(&body) else { return };
    let waiting = lock(waiting);
    for address in &mail.to {
        if let Some(sender) = waiting.get(address) {
            // Whoever stopped waiting needs no code.
            let _ = sender.send(code.clone());
        }
    }
}

/// The first run of exactly six digits.
fn find_code(text: &str) -> Option<String> {
    text.split(|c: char| !c.is_ascii_digit())
        .find(|run| run.len() == 6)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::find_code;

    #[test]
    fn codes_are_found_between_other_numbers() {
        assert_eq!(
            find_code("On 2026-01-02: 12345678, code 004217."),
            Some("004217".into())
        );
        assert_eq!(find_code("no code 12345"), None);
    }
}
