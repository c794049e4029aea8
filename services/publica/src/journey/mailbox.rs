//! The mailboxes of all households: a real SMTP server on loopback that the messaging block
//! delivers to, and the codes read back out of its mails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use publica_messaging::sink::{Faults, Mail, MailSink, SinkOptions, SinkTls};
use tokio::sync::{OwnedMutexGuard, mpsc};

/// How long a person waits for a code.
const PATIENCE: Duration = Duration::from_secs(60);

/// Codes that wait to be read in one mailbox; more of them are not kept.
const MOST_CODES: usize = 16;

/// Those who wait for codes, by mailbox.
type Waiting = Arc<Mutex<HashMap<String, Turns>>>;

/// A mailbox that somebody waits for. People who share it are served in turn, since a code does
/// not say whom it is for.
#[derive(Default)]
struct Turns {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Whoever's turn it is.
    reader: Option<mpsc::Sender<String>>,
    /// People who wait for their turn or have it.
    people: usize,
}

/// The server and those who wait for a code. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Mailboxes {
    sink: Arc<MailSink>,
    waiting: Waiting,
}

/// Somebody who waits for codes, and whose turn it is.
pub(crate) struct Expected {
    codes: mpsc::Receiver<String>,
    place: Place,
    _turn: OwnedMutexGuard<()>,
}

/// Somebody's place at a mailbox, from before their turn until after it.
struct Place {
    mailbox: String,
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

    /// Begins to wait for codes to an address, once nobody else does; to be called before one is
    /// asked for.
    pub(crate) async fn expect(&self, address: &str) -> Result<Expected> {
        let mailbox = publica_messaging::mailbox(address).context("an address without mailbox")?;
        let (place, turn) = Place::take(&self.waiting, mailbox);
        let turn = turn.lock_owned().await;
        let (sender, codes) = mpsc::channel(MOST_CODES);
        place.with(|turns| turns.reader = Some(sender));
        Ok(Expected {
            codes,
            place,
            _turn: turn,
        })
    }
}

impl Expected {
    /// The next code, once the mail is there. A mail that was held up may bring one that is no
    /// longer good; the next mail then brings the good one.
    pub(crate) async fn code(&mut self) -> Result<String> {
        match tokio::time::timeout(PATIENCE, self.codes.recv()).await {
            Ok(code) => code.context("the mailbox is closed"),
            Err(_) => bail!("no mail with a code came within {} s", PATIENCE.as_secs()),
        }
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.place.with(|turns| turns.reader = None);
    }
}

impl Place {
    fn take(waiting: &Waiting, mailbox: String) -> (Self, Arc<tokio::sync::Mutex<()>>) {
        let turn = {
            let mut all = lock(waiting);
            let turns = all.entry(mailbox.clone()).or_default();
            turns.people += 1;
            turns.turn.clone()
        };
        let waiting = waiting.clone();
        (Self { mailbox, waiting }, turn)
    }

    fn with(&self, change: impl FnOnce(&mut Turns)) {
        if let Some(turns) = lock(&self.waiting).get_mut(&self.mailbox) {
            change(turns);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = lock(&self.waiting);
        if let Some(turns) = all.get_mut(&self.mailbox) {
            turns.people -= 1;
            if turns.people == 0 {
                all.remove(&self.mailbox);
            }
        }
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<String, Turns>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn deliver(waiting: &Waiting, mail: &Mail) {
    let body = mail.body();
    let Some(code) = find_code(&body) else { return };
    let waiting = lock(waiting);
    for address in &mail.to {
        let reader = waiting.get(address).and_then(|turns| turns.reader.as_ref());
        if let Some(reader) = reader {
            // Whoever stopped waiting needs no code.
            let _ = reader.try_send(code.clone());
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
    use futures::FutureExt as _;

    use super::*;

    fn mail(to: &str, code: &str) -> Mail {
        Mail {
            connection: 1,
            ordinal: 1,
            from: "noreply@gov.example".to_owned(),
            to: vec![to.to_owned()],
            data: format!("Subject: code\r\n\r\n{code}\r\n").into_bytes(),
        }
    }

    #[tokio::test]
    async fn people_with_one_mailbox_are_served_in_turn() {
        let mailboxes = Mailboxes::open((std::net::Ipv4Addr::LOCALHOST, 0).into());
        let mailboxes = mailboxes.await.unwrap();
        let mut first = mailboxes.expect("a@Example.org").await.unwrap();
        let mut second = Box::pin(mailboxes.expect("a@example.ORG"));
        assert!(
            second.as_mut().now_or_never().is_none(),
            "it is not their turn"
        );
        // Somebody who gives up before their turn keeps nobody from theirs.
        assert!(mailboxes.expect("a@example.org").now_or_never().is_none());
        deliver(&mailboxes.waiting, &mail("a@example.org", "111111"));
        assert_eq!(first.code().await.unwrap(), "111111");
        drop(first);
        let mut second = second.await.unwrap();
        deliver(&mailboxes.waiting, &mail("a@example.org", "222222"));
        assert_eq!(second.code().await.unwrap(), "222222");
        drop(second);
        assert!(lock(&mailboxes.waiting).is_empty());
    }

    #[test]
    fn codes_are_found_between_other_numbers() {
        assert_eq!(
            find_code("On 2026-01-02: 12345678, code 004217."),
            Some("004217".into())
        );
        assert_eq!(find_code("no code 12345"), None);
    }
}
