//! The server's side of SMTP.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Mail, Shared, SinkTls, lock};

/// Largest mail that is taken.
const MAIL_MAX: usize = 32 * 1024 * 1024;
const LINE_MAX: usize = 4_096;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Accepts connections until it is stopped.
pub(super) async fn listen(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tracker.spawn(async move {
            // However a connection ends, it is over.
            let _ = stop.run_until_cancelled(connection(stream, &shared)).await;
        });
    }
}

async fn connection(stream: TcpStream, shared: &Shared) -> Option<()> {
    let number = shared.connections.fetch_add(1, Ordering::AcqRel) + 1;
    if lock(&shared.faults).closed {
        return None;
    }
    stream.set_nodelay(true).ok()?;
    match shared.tls {
        SinkTls::None => {
            Session::new(&mut { stream }, shared, number, false)
                .run(true)
                .await?;
        }
        SinkTls::Implicit => {
            let mut stream = shared.acceptor.accept(stream).await.ok()?;
            Session::new(&mut stream, shared, number, true)
                .run(true)
                .await?;
        }
        SinkTls::StartTls => {
            let mut stream = stream;
            let upgrade = Session::new(&mut stream, shared, number, false)
                .run(true)
                .await?;
            if upgrade {
                let mut stream = shared.acceptor.accept(stream).await.ok()?;
                Session::new(&mut stream, shared, number, true)
                    .run(false)
                    .await?;
            }
        }
    }
    Some(())
}

/// One conversation.
struct Session<'a> {
    stream: &'a mut dyn Io,
    shared: &'a Shared,
    number: u64,
    secure: bool,
    input: Vec<u8>,
    at: usize,
    output: Vec<u8>,
    ordinal: u64,
    from: Option<String>,
    to: Vec<String>,
}

impl<'a> Session<'a> {
    fn new(stream: &'a mut dyn Io, shared: &'a Shared, number: u64, secure: bool) -> Self {
        Self {
            stream,
            shared,
            number,
            secure,
            input: Vec::with_capacity(16 * 1024),
            at: 0,
            output: Vec::with_capacity(1_024),
            ordinal: 0,
            from: None,
            to: Vec::new(),
        }
    }

    /// Talks until the client leaves or breaks off (`None`), or asks for an upgrade (`true`).
    async fn run(&mut self, greet: bool) -> Option<bool> {
        if greet {
            self.say("220 sink.localhost ESMTP");
        }
        loop {
            let line = self.line().await?;
            let (verb, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => self.hello(),
                "HELO" => self.say("250 sink.localhost"),
                "STARTTLS" if self.shared.tls == SinkTls::StartTls && !self.secure => {
                    self.say("220 2.0.0 go ahead");
                    self.flush().await?;
                    return Some(true);
                }
                "MAIL" if self.shared.tls == SinkTls::StartTls && !self.secure => {
                    self.say("530 5.7.0 STARTTLS first");
                }
                "MAIL" => {
                    self.from = Some(path(rest));
                    self.to.clear();
                    self.say("250 2.1.0 ok");
                }
                "RCPT" => self.recipient(rest)?,
                "DATA" if self.to.is_empty() => self.say("554 5.5.1 no valid recipients"),
                "DATA" => self.data().await?,
                "AUTH" => self.say("235 2.7.0 welcome"),
                "RSET" => {
                    self.from = None;
                    self.to.clear();
                    self.say("250 2.0.0 ok");
                }
                "NOOP" => self.say("250 2.0.0 ok"),
                "QUIT" => {
                    self.say("221 2.0.0 bye");
                    self.flush().await?;
                    return Some(false);
                }
                _ => self.say("500 5.5.2 not understood"),
            }
        }
    }

    fn hello(&mut self) {
        let mut text = String::from("250-sink.localhost\r\n250-SIZE 33554432\r\n250-8BITMIME\r\n");
        if self.shared.pipelining {
            text.push_str("250-PIPELINING\r\n");
        }
        if self.shared.smtputf8 {
            text.push_str("250-SMTPUTF8\r\n");
        }
        if self.shared.tls == SinkTls::StartTls && !self.secure {
            text.push_str("250-STARTTLS\r\n");
        }
        if self.secure {
            text.push_str("250-AUTH PLAIN\r\n");
        }
        text.push_str("250 ENHANCEDSTATUSCODES");
        self.say(&text);
    }

    fn recipient(&mut self, rest: &str) -> Option<()> {
        let address = path(rest);
        let mut faults = lock(&self.shared.faults);
        if faults.break_in_head > 0 {
            faults.break_in_head -= 1;
            return None;
        }
        let greylist = faults.greylist && lock(&self.shared.greylisted).insert(address.clone());
        let answer = match faults.refusal(&address) {
            _ if self.from.is_none() => "503 5.5.1 MAIL first".to_owned(),
            Some(line) => line.to_owned(),
            None if greylist => "451 4.7.1 come back later".to_owned(),
            None => {
                self.to.push(address);
                "250 2.1.5 ok".to_owned()
            }
        };
        drop(faults);
        self.say(&answer);
        Some(())
    }

    async fn data(&mut self) -> Option<()> {
        self.say("354 go on");
        let mut data = Vec::with_capacity(4_096);
        loop {
            let start = self.whole_line().await?;
            let line = &self.input[start..self.at];
            if line == b".\r\n" || line == b".\n" {
                break;
            }
            let line = line.strip_prefix(b".").unwrap_or(line);
            if data.len() + line.len() <= MAIL_MAX {
                data.extend_from_slice(line);
            }
        }
        let (answer, breaks, delay) = {
            let mut faults = lock(&self.shared.faults);
            let breaks = faults.break_after_data > 0;
            faults.break_after_data = faults.break_after_data.saturating_sub(1);
            (faults.after_data.clone(), breaks, faults.delay)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let (from, to) = (
            self.from.take().unwrap_or_default(),
            std::mem::take(&mut self.to),
        );
        if let Some(line) = answer {
            self.say(&line);
            return Some(());
        }
        self.keep(from, to, data);
        if breaks {
            return None;
        }
        self.say("250 2.0.0 queued");
        Some(())
    }

    fn keep(&mut self, from: String, to: Vec<String>, data: Vec<u8>) {
        self.ordinal += 1;
        let recipients = u64::try_from(to.len()).unwrap_or(u64::MAX);
        let mail = Mail {
            connection: self.number,
            ordinal: self.ordinal,
            from,
            to,
            data,
        };
        if let Some(on_mail) = &self.shared.on_mail {
            on_mail(&mail);
        }
        if self.shared.keep > 0 {
            let mut kept = lock(&self.shared.kept);
            if kept.len() >= self.shared.keep {
                kept.pop_front();
            }
            kept.push_back(mail);
        }
        self.shared
            .recipients
            .fetch_add(recipients, Ordering::AcqRel);
        self.shared.mails.fetch_add(1, Ordering::AcqRel);
    }

    fn say(&mut self, line: &str) {
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self) -> Option<()> {
        self.stream.write_all(&self.output).await.ok()?;
        self.output.clear();
        self.stream.flush().await.ok()
    }

    /// One command without its line break.
    async fn line(&mut self) -> Option<String> {
        let start = self.whole_line().await?;
        let line = &self.input[start..self.at];
        if line.len() > LINE_MAX {
            return None;
        }
        Some(String::from_utf8_lossy(line).trim_end().to_owned())
    }

    /// Moves past the next line and gives its start. Answers leave only when there is nothing
    /// left to read, so that a group of commands is answered in one packet.
    async fn whole_line(&mut self) -> Option<usize> {
        let mut looked = self.at;
        loop {
            let found = self.input[looked..].iter().position(|byte| *byte == b'\n');
            if let Some(length) = found {
                let start = self.at;
                self.at = looked + length + 1;
                return Some(start);
            }
            if self.at > 0 {
                self.input.drain(..self.at);
                self.at = 0;
            }
            looked = self.input.len();
            if !self.output.is_empty() {
                self.flush().await?;
            }
            if looked > MAIL_MAX || self.stream.read_buf(&mut self.input).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// The address in `FROM:<a@b> SIZE=1`.
fn path(text: &str) -> String {
    let inner = text
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    inner
        .map(|(address, _)| address.to_owned())
        .unwrap_or_default()
}
