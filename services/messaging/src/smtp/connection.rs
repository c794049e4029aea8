//! One connection: transactions one after another, a head and then a body.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::hop::Io;
use crate::domain::reply::{self, Class, Reply};

/// A connection is retired after so many messages, so that load spreads over the relay's
/// machines as they come and go.
const MESSAGES_MAX: u32 = 1_000;

/// What the server offered.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Capabilities {
    pub(crate) pipelining: bool,
    pub(crate) starttls: bool,
    pub(crate) smtputf8: bool,
    pub(crate) dsn: bool,
    pub(crate) auth_plain: bool,
    pub(crate) size: Option<usize>,
}

impl Capabilities {
    /// Reads the lines that follow an EHLO.
    pub(crate) fn read(lines: &[String]) -> Self {
        let mut found = Self::default();
        for line in lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '=']);
            match words.next().unwrap_or_default() {
                "PIPELINING" => found.pipelining = true,
                "STARTTLS" => found.starttls = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "DSN" => found.dsn = true,
                "AUTH" => found.auth_plain |= words.any(|word| word == "PLAIN"),
                "SIZE" => {
                    let size = words.next().and_then(|word| word.parse().ok());
                    found.size = size.filter(|size| *size > 0);
                }
                _ => {}
            }
        }
        found
    }
}

/// Sender and recipients of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transaction<'a> {
    pub(crate) from: &'a str,
    pub(crate) recipients: &'a [&'a str],
    pub(crate) size: usize,
    /// Identifies the transaction in delivery reports.
    pub(crate) envelope_id: &'a str,
    pub(crate) utf8: bool,
}

/// What the server said to a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Head {
    /// It waits for the body; a recipient each, in order.
    Ready(Vec<Reply>),
    /// It refused the message as a whole.
    Refused(Reply),
    /// It refused every recipient.
    NoRecipient(Vec<Reply>),
    /// The connection broke. Nothing was sent.
    Lost,
}

/// What the server said to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// It decided.
    Answered(Reply),
    /// The connection broke before the final dot: nothing was sent.
    Lost,
    /// The connection broke after the final dot: nobody knows.
    Unknown,
}

/// An open connection.
pub(crate) struct Connection {
    stream: Box<dyn Io>,
    input: Vec<u8>,
    output: Vec<u8>,
    pub(crate) capabilities: Capabilities,
    command_timeout: Duration,
    answer_timeout: Duration,
    messages: u32,
    /// A transaction was begun and not ended.
    open: bool,
    broken: bool,
}

impl Connection {
    pub(crate) fn new(stream: Box<dyn Io>, timeouts: (Duration, Duration)) -> Self {
        Self {
            stream,
            input: Vec::with_capacity(4_096),
            output: Vec::with_capacity(8_192),
            capabilities: Capabilities::default(),
            command_timeout: timeouts.0,
            answer_timeout: timeouts.1,
            messages: 0,
            open: false,
            broken: false,
        }
    }

    /// Whether another transaction may be tried here.
    pub(crate) fn is_usable(&self) -> bool {
        !self.broken && self.messages < MESSAGES_MAX
    }

    /// The bare connection for an upgrade. What was sent before the upgrade and is still
    /// unread would be taken for protected, so then there is none.
    pub(crate) fn into_plain(self) -> Option<TcpStream> {
        if self.input.is_empty() {
            self.stream.plain()
        } else {
            None
        }
    }

    /// One command and its answer.
    pub(crate) async fn command(&mut self, command: &str) -> Result<(Reply, Vec<String>), ()> {
        self.output.clear();
        self.output.extend_from_slice(command.as_bytes());
        self.output.extend_from_slice(b"\r\n");
        self.flush().await?;
        self.answer().await
    }

    /// Sends everything before the body and reads what the server says to it.
    pub(crate) async fn head(&mut self, transaction: &Transaction<'_>) -> Head {
        if let Ok(head) = self.try_head(transaction).await {
            return head;
        }
        self.broken = true;
        Head::Lost
    }

    async fn try_head(&mut self, transaction: &Transaction<'_>) -> Result<Head, ()> {
        let lines = self.lines(transaction);
        let mut replies = Vec::with_capacity(lines.len());
        if self.capabilities.pipelining {
            self.output.clear();
            for line in &lines {
                self.output.extend_from_slice(line.as_bytes());
            }
            self.flush().await?;
            for _ in &lines {
                replies.push(self.answer().await?.0);
            }
        } else {
            for line in &lines {
                self.output.clear();
                self.output.extend_from_slice(line.as_bytes());
                self.flush().await?;
                replies.push(self.answer().await?.0);
                // Without a sender or a recipient the rest would only be refused again.
                let mail_refused = replies.len() == lines.len() - transaction.recipients.len() - 1
                    && !is_success(replies[replies.len() - 1]);
                let last_recipient = replies.len() == lines.len() - 1;
                let none = last_recipient
                    && !replies[replies.len() - transaction.recipients.len()..]
                        .iter()
                        .any(|reply| is_success(*reply));
                if mail_refused || none {
                    while replies.len() < lines.len() {
                        replies.push(Reply::new(503));
                    }
                    break;
                }
            }
        }
        self.open = true;
        self.judge(&replies, transaction.recipients.len()).await
    }

    /// The commands of a head, each with its line break.
    fn lines(&self, transaction: &Transaction<'_>) -> Vec<String> {
        let offered = self.capabilities;
        let mut lines = Vec::with_capacity(transaction.recipients.len() + 3);
        if self.open {
            lines.push("RSET\r\n".to_owned());
        }
        // Writing to a string cannot fail.
        let mut mail = format!("MAIL FROM:<{}>", transaction.from);
        if offered.size.is_some() {
            let _ = write!(mail, " SIZE={}", transaction.size);
        }
        if transaction.utf8 && offered.smtputf8 {
            mail.push_str(" SMTPUTF8");
        }
        if offered.dsn {
            let _ = write!(mail, " RET=HDRS ENVID={}", transaction.envelope_id);
        }
        mail.push_str("\r\n");
        lines.push(mail);
        let notify = if offered.dsn {
            " NOTIFY=FAILURE,DELAY"
        } else {
            ""
        };
        for recipient in transaction.recipients {
            lines.push(format!("RCPT TO:<{recipient}>{notify}\r\n"));
        }
        lines.push("DATA\r\n".to_owned());
        lines
    }

    async fn judge(&mut self, replies: &[Reply], recipients: usize) -> Result<Head, ()> {
        let split = replies.len() - recipients - 1;
        let mail = replies[split - 1];
        let to = &replies[split..split + recipients];
        let data = replies[replies.len() - 1];
        let waits = data.code == 354;
        if data.code == 421 || mail.code == 421 || to.iter().any(|reply| reply.code == 421) {
            self.broken = true;
        }
        let accepted = is_success(mail) && to.iter().any(|reply| is_success(*reply));
        if accepted && waits {
            return Ok(Head::Ready(to.to_vec()));
        }
        if waits {
            // Nobody would get it, yet the server waits for a body: an empty one keeps both
            // sides in step, and its refusal is expected (RFC 2920, 3.1).
            self.output.clear();
            self.output.extend_from_slice(b".\r\n");
            self.flush().await?;
            self.answer().await?;
        }
        if !is_success(mail) {
            return Ok(Head::Refused(mail));
        }
        if !accepted {
            return Ok(Head::NoRecipient(to.to_vec()));
        }
        Ok(Head::Refused(data))
    }

    /// Sends the message itself, after a head that is ready, and reads the verdict.
    pub(crate) async fn body(&mut self, message: &[u8]) -> Body {
        self.output.clear();
        stuff(&mut self.output, message);
        let output = std::mem::take(&mut self.output);
        let mut written = 0;
        let sent = timeout(self.command_timeout, async {
            while written < output.len() {
                match self.stream.write(&output[written..]).await {
                    Ok(0) | Err(_) => return false,
                    Ok(count) => written += count,
                }
            }
            self.stream.flush().await.is_ok()
        })
        .await;
        let complete = written >= output.len();
        self.output = output;
        if !matches!(sent, Ok(true)) {
            self.broken = true;
            return if complete { Body::Unknown } else { Body::Lost };
        }
        let limit = self.answer_timeout;
        let Ok(Ok((reply, _))) = timeout(limit, self.read_answer()).await else {
            self.broken = true;
            return Body::Unknown;
        };
        self.open = false;
        self.messages += 1;
        if reply.code == 421 {
            self.broken = true;
        }
        Body::Answered(reply)
    }

    /// Says goodbye, without waiting for long.
    pub(crate) async fn quit(mut self) {
        if !self.broken {
            let _ = timeout(Duration::from_secs(1), self.command("QUIT")).await;
        }
    }

    /// Reads one answer.
    pub(crate) async fn answer(&mut self) -> Result<(Reply, Vec<String>), ()> {
        let limit = self.command_timeout;
        timeout(limit, self.read_answer()).await.map_err(|_| ())?
    }

    async fn read_answer(&mut self) -> Result<(Reply, Vec<String>), ()> {
        loop {
            if let Some((reply, lines, length)) = reply::parse(&self.input).map_err(|_| ())? {
                self.input.drain(..length);
                return Ok((reply, lines));
            }
            let count = self
                .stream
                .read_buf(&mut self.input)
                .await
                .map_err(|_| ())?;
            if count == 0 {
                return Err(());
            }
        }
    }

    async fn flush(&mut self) -> Result<(), ()> {
        let limit = self.command_timeout;
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        timeout(limit, write).await.map_err(|_| ())?.map_err(|_| ())
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("messages", &self.messages)
            .finish_non_exhaustive()
    }
}

fn is_success(reply: Reply) -> bool {
    reply.class() == Class::Success
}

/// Copies a message, doubles the dots at the beginning of lines and adds the final one.
fn stuff(output: &mut Vec<u8>, message: &[u8]) {
    output.reserve(message.len() + 8);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            output.push(b'.');
        }
        output.extend_from_slice(line);
    }
    if !message.ends_with(b"\r\n") {
        output.extend_from_slice(b"\r\n");
    }
    output.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_doubled_and_the_end_is_marked() {
        let mut output = Vec::new();
        stuff(&mut output, b".a\r\nb.\r\n..\r\n");
        assert_eq!(output, b"..a\r\nb.\r\n...\r\n.\r\n");
        output.clear();
        stuff(&mut output, b"no end");
        assert_eq!(output, b"no end\r\n.\r\n");
    }

    #[test]
    fn offers_are_read() {
        let lines: Vec<String> = [
            "mx",
            "pipelining",
            "SIZE 1000",
            "AUTH LOGIN PLAIN",
            "DSN",
            "STARTTLS",
        ]
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
        let found = Capabilities::read(&lines);
        assert!(found.pipelining && found.auth_plain && found.dsn && found.starttls);
        assert_eq!((found.size, found.smtputf8), (Some(1_000), false));
    }
}
