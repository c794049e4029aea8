//! One session with a message centre: submissions go out, answers and receipts come in.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use futures::{SinkExt, StreamExt as _};
use rusmpp_core::CommandStatus;
use rusmpp_core::command::owned::Command;
use rusmpp_core::pdus::owned::{DeliverSm, DeliverSmResp, Pdu, SubmitSm};
use rusmpp_core::tlvs::owned::TlvValue;
use rusmpp_core::types::owned::{COctetString, EmptyOrFullCOctetString, OctetString};
use rusmpp_core::values::{
    DataCoding, EsmClass, GsmFeatures, MessageType, Npi, RegisteredDelivery, Ton,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::centre::{Centre, CentreError, Frames};
use crate::domain::receipt::{self, IdForm, Receipt};
use crate::domain::sms::{Alphabet, from_septets, from_ucs2};

/// Orders that may wait for a session.
const ORDERS_MAX: usize = 256;
/// How often waiting answers and silence are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long the end of a session may take.
const UNBIND_MAX: Duration = Duration::from_secs(2);
/// The highest sequence number.
const SEQUENCE_MAX: u32 = 0x7fff_ffff;

/// One part of a message on its way.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) source: String,
    /// In the international form, with its plus.
    pub(crate) destination: String,
    pub(crate) alphabet: Alphabet,
    /// The text, with a header in front of it where it is one of several parts.
    pub(crate) data: Vec<u8>,
    pub(crate) header: bool,
    /// The centre may try for so long.
    pub(crate) validity: Duration,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The centre answered, with its id where it took the part.
    Answered { status: u32, id: String },
    /// Nothing was sent.
    Unsent,
    /// It may have been taken.
    Unknown,
}

/// What the centre brings.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The centre's name.
    pub(crate) centre: String,
    pub(crate) content: Content,
    pub(crate) ack: Ack,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Receipt(Receipt),
    /// Somebody writes back.
    Said {
        from: String,
        text: String,
    },
}

/// Answers what was brought, once it is durable.
#[derive(Debug)]
pub(crate) struct Ack(To);

#[derive(Debug)]
enum To {
    /// A centre, over the session on which it brought it.
    Session {
        orders: mpsc::Sender<Order>,
        sequence: u32,
    },
    /// A call that waits; true says that it was taken.
    Call(oneshot::Sender<bool>),
}

impl Ack {
    /// Answers a call that waits.
    pub(crate) fn call(waiting: oneshot::Sender<bool>) -> Self {
        Self(To::Call(waiting))
    }

    pub(crate) async fn taken(self) {
        self.answer(CommandStatus::EsmeRok).await;
    }

    /// It shall be brought again.
    pub(crate) async fn later(self) {
        self.answer(CommandStatus::EsmeRxTAppn).await;
    }

    /// Nobody here wants it.
    pub(crate) async fn refused(self) {
        self.answer(CommandStatus::EsmeRxRAppn).await;
    }

    async fn answer(self, status: CommandStatus) {
        // A session that is over brings it again over the next one, and so does who called.
        match self.0 {
            To::Session { orders, sequence } => {
                let _ = orders.send(Order::Taken { sequence, status }).await;
            }
            To::Call(waiting) => {
                let _ = waiting.send(status != CommandStatus::EsmeRxTAppn);
            }
        }
    }
}

#[derive(Debug)]
enum Order {
    Submit {
        submission: Box<Submission>,
        answer: oneshot::Sender<Answer>,
    },
    Taken {
        sequence: u32,
        status: CommandStatus,
    },
}

/// A bound session. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    orders: mpsc::Sender<Order>,
    over: CancellationToken,
}

impl Session {
    /// Submits one part and waits for the answer.
    pub(crate) async fn submit(&self, submission: Submission) -> Answer {
        let (answer, answered) = oneshot::channel();
        let order = Order::Submit {
            submission: Box::new(submission),
            answer,
        };
        if self.orders.send(order).await.is_err() {
            return Answer::Unsent;
        }
        // The session answers everything that it took before it ends.
        answered.await.unwrap_or(Answer::Unknown)
    }

    /// Once the session is over.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// The other half of a session, which moves its frames.
pub(crate) struct Driver {
    frames: Frames,
    inbox: mpsc::Receiver<Order>,
    session: Session,
    incoming: mpsc::Sender<Incoming>,
    waiting: HashMap<u32, (oneshot::Sender<Answer>, Instant)>,
    sequence: u32,
    centre: String,
    ids: IdForm,
    answer_timeout: Duration,
    enquire: Duration,
    heard: Instant,
    enquired: Option<Instant>,
}

impl Centre {
    /// Begins a session. What the centre brings goes to `incoming`.
    pub(crate) async fn open(
        &self,
        incoming: mpsc::Sender<Incoming>,
    ) -> Result<(Session, Driver), CentreError> {
        let frames = self.bind().await?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let session = Session {
            orders,
            over: CancellationToken::new(),
        };
        let driver = Driver {
            frames,
            inbox,
            session: session.clone(),
            incoming,
            waiting: HashMap::new(),
            sequence: 1,
            centre: self.name.clone(),
            ids: self.ids,
            answer_timeout: self.answer_timeout,
            enquire: self.enquire,
            heard: Instant::now(),
            enquired: None,
        };
        Ok((session, driver))
    }
}

/// The session is over.
struct Over;

impl Driver {
    /// Moves frames until the session is over, or unbinds once it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => {
                    let _ = tokio::time::timeout(UNBIND_MAX, self.unbind()).await;
                    Err(Over)
                }
                frame = self.frames.next() => match frame {
                    Some(Ok(command)) => self.receive(command).await,
                    Some(Err(_)) | None => Err(Over),
                },
                order = self.inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => Err(Over),
                },
                _ = tick.tick() => self.look().await,
            };
            if done.is_err() {
                break;
            }
        }
        self.session.over.cancel();
        self.inbox.close();
        for (_, (answer, _)) in self.waiting.drain() {
            let _ = answer.send(Answer::Unknown);
        }
        while let Ok(order) = self.inbox.try_recv() {
            if let Order::Submit { answer, .. } = order {
                let _ = answer.send(Answer::Unsent);
            }
        }
    }

    /// Writes an order and whatever else is waiting, then flushes once.
    async fn obey(&mut self, first: Order) -> Result<(), Over> {
        let mut next = Some(first);
        while let Some(order) = next {
            let command = match order {
                Order::Taken { sequence, status } => {
                    Command::new(status, sequence, DeliverSmResp::default())
                }
                Order::Submit { submission, answer } => match pdu(&submission) {
                    Some(pdu) => {
                        let sequence = self.next_sequence();
                        self.waiting.insert(sequence, (answer, Instant::now()));
                        Command::new(CommandStatus::EsmeRok, sequence, pdu)
                    }
                    None => {
                        let status = CommandStatus::EsmeRinvdstadr.into();
                        let id = String::new();
                        let _ = answer.send(Answer::Answered { status, id });
                        next = self.inbox.try_recv().ok();
                        continue;
                    }
                },
            };
            self.write(command, false).await?;
            next = self.inbox.try_recv().ok();
        }
        self.flush().await
    }

    async fn receive(&mut self, command: Command) -> Result<(), Over> {
        self.heard = Instant::now();
        self.enquired = None;
        let (sequence, status) = (command.sequence_number(), command.status());
        match command.pdu() {
            Some(Pdu::SubmitSmResp(response)) => {
                let id = self.ids.kept(response.message_id().as_str());
                self.answered(sequence, status.into(), id);
            }
            Some(Pdu::DeliverSm(deliver)) => {
                let deliver = deliver.clone();
                return self.brought(sequence, &deliver).await;
            }
            Some(Pdu::EnquireLink) => {
                let answer = Command::new(CommandStatus::EsmeRok, sequence, Pdu::EnquireLinkResp);
                return self.write(answer, true).await;
            }
            Some(Pdu::Unbind) => {
                let answer = Command::new(CommandStatus::EsmeRok, sequence, Pdu::UnbindResp);
                let _ = self.write(answer, true).await;
                return Err(Over);
            }
            Some(Pdu::EnquireLinkResp | Pdu::UnbindResp) => {}
            // A refusal may come without a body.
            None | Some(Pdu::GenericNack) => {
                let status: u32 = status.into();
                self.answered(sequence, status.max(1), String::new());
            }
            Some(_) => {
                let unknown = CommandStatus::EsmeRinvcmdid;
                let answer = Command::new(unknown, sequence, Pdu::GenericNack);
                return self.write(answer, true).await;
            }
        }
        Ok(())
    }

    fn answered(&mut self, sequence: u32, status: u32, id: String) {
        if let Some((answer, _)) = self.waiting.remove(&sequence) {
            let _ = answer.send(Answer::Answered { status, id });
        }
    }

    async fn brought(&mut self, sequence: u32, deliver: &DeliverSm) -> Result<(), Over> {
        let ack = Ack(To::Session {
            orders: self.session.orders.clone(),
            sequence,
        });
        let status = match read(deliver) {
            Some(content) => {
                let content = match content {
                    Content::Receipt(told) => Content::Receipt(Receipt {
                        id: self.ids.as_answered(&told.id),
                        ..told
                    }),
                    said @ Content::Said { .. } => said,
                };
                let centre = self.centre.clone();
                let incoming = Incoming {
                    centre,
                    content,
                    ack,
                };
                if self.incoming.try_send(incoming).is_ok() {
                    return Ok(());
                }
                // Nobody has time for it now.
                CommandStatus::EsmeRxTAppn
            }
            None => {
                metrics::counter!("publica_messaging_unreadable_receipts_total").increment(1);
                CommandStatus::EsmeRok
            }
        };
        let answer = Command::new(status, sequence, DeliverSmResp::default());
        self.write(answer, true).await
    }

    /// Gives up on answers that are late, and asks a silent centre whether it is there.
    async fn look(&mut self) -> Result<(), Over> {
        let late: Vec<u32> = self
            .waiting
            .iter()
            .filter(|(_, (_, since))| since.elapsed() > self.answer_timeout)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in late {
            if let Some((answer, _)) = self.waiting.remove(&sequence) {
                let _ = answer.send(Answer::Unknown);
            }
        }
        match self.enquired {
            Some(since) if since.elapsed() > self.answer_timeout => Err(Over),
            None if self.heard.elapsed() > self.enquire => {
                self.enquired = Some(Instant::now());
                let sequence = self.next_sequence();
                let enquiry = Command::new(CommandStatus::EsmeRok, sequence, Pdu::EnquireLink);
                self.write(enquiry, true).await
            }
            _ => Ok(()),
        }
    }

    /// Ends the session in good order.
    async fn unbind(&mut self) {
        let sequence = self.next_sequence();
        let unbind = Command::new(CommandStatus::EsmeRok, sequence, Pdu::Unbind);
        if self.write(unbind, true).await.is_err() {
            return;
        }
        while let Some(Ok(command)) = self.frames.next().await {
            if matches!(command.pdu(), Some(Pdu::UnbindResp)) {
                break;
            }
        }
    }

    async fn write(&mut self, command: Command, flush: bool) -> Result<(), Over> {
        let fed = tokio::time::timeout(self.answer_timeout, self.frames.feed(command)).await;
        if !matches!(fed, Ok(Ok(()))) {
            return Err(Over);
        }
        if flush { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Over> {
        // Two kinds of commands can be written, and the flush has to say for which.
        let flushed = SinkExt::<Command>::flush(&mut self.frames);
        match tokio::time::timeout(self.answer_timeout, flushed).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = if self.sequence >= SEQUENCE_MAX {
            1
        } else {
            self.sequence + 1
        };
        self.sequence
    }
}

/// The PDU of a part; `None` if a number does not fit into it.
fn pdu(submission: &Submission) -> Option<SubmitSm> {
    let (ton, npi, source) = source(&submission.source);
    let destination = submission.destination.trim_start_matches('+');
    let esm_class = if submission.header { 0x40_u8 } else { 0 };
    let data_coding = match submission.alphabet {
        Alphabet::Gsm7 => DataCoding::McSpecific,
        Alphabet::Ucs2 => DataCoding::Ucs2,
    };
    let pdu = SubmitSm::builder()
        .source_addr_ton(ton)
        .source_addr_npi(npi)
        .source_addr(COctetString::from_str(source).ok()?)
        .dest_addr_ton(Ton::International)
        .dest_addr_npi(Npi::Isdn)
        .destination_addr(COctetString::from_str(destination).ok()?)
        .esm_class(EsmClass::from(esm_class))
        .validity_period(EmptyOrFullCOctetString::from_str(&period(submission.validity)).ok()?)
        // A receipt of every part, whichever way it ends.
        .registered_delivery(RegisteredDelivery::from(1))
        .data_coding(data_coding)
        .short_message(OctetString::from_slice(&submission.data).ok()?)
        .build();
    Some(pdu)
}

fn source(sender: &str) -> (Ton, Npi, &str) {
    match sender.strip_prefix('+') {
        Some(digits) => (Ton::International, Npi::Isdn, digits),
        None if sender.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Ton::Unknown, Npi::Isdn, sender)
        }
        None => (Ton::Alphanumeric, Npi::Unknown, sender),
    }
}

/// A span of time as SMPP writes it: from when the centre gets it, at least a minute.
fn period(span: Duration) -> String {
    let seconds = span.as_secs().clamp(60, 99 * 86_400);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, minutes, seconds) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("0000{days:02}{hours:02}{minutes:02}{seconds:02}000R")
}

/// What the centre brought; `None` if nobody can make sense of it.
fn read(deliver: &DeliverSm) -> Option<Content> {
    let mut data: &[u8] = deliver.short_message().as_ref();
    let (mut id, mut state, mut payload) = (None, None, None);
    for tlv in deliver.tlvs() {
        match tlv.value() {
            Some(TlvValue::ReceiptedMessageId(value)) => id = Some(value.as_str().to_owned()),
            Some(TlvValue::MessageState(value)) => state = Some(u8::from(*value)),
            Some(TlvValue::MessagePayload(value)) => payload = Some(value.value.clone()),
            _ => {}
        }
    }
    if let (true, Some(payload)) = (data.is_empty(), &payload) {
        data = payload.as_ref();
    }
    if deliver.esm_class.message_type != MessageType::Default {
        let text = String::from_utf8_lossy(data);
        return receipt::read(&text, id.as_deref(), state).map(Content::Receipt);
    }
    let features = deliver.esm_class.gsm_features;
    if matches!(
        features,
        GsmFeatures::UdhiIndicator | GsmFeatures::SetUdhiAndReplyPath
    ) {
        let length = usize::from(*data.first()?) + 1;
        data = data.get(length..)?;
    }
    let text = match deliver.data_coding {
        DataCoding::Ucs2 => from_ucs2(data),
        DataCoding::McSpecific => from_septets(data),
        _ => data.iter().copied().map(char::from).collect(),
    };
    let from = deliver.source_addr.as_str().to_owned();
    Some(Content::Said { from, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_relative() {
        assert_eq!(period(Duration::from_hours(24)), "000001000000000R");
        assert_eq!(period(Duration::from_secs(3_723)), "000000010203000R");
        assert_eq!(period(Duration::ZERO), "000000000100000R");
    }

    #[test]
    fn senders_have_their_kinds() {
        assert_eq!(
            source("+15550100"),
            (Ton::International, Npi::Isdn, "15550100")
        );
        assert_eq!(source("40404"), (Ton::Unknown, Npi::Isdn, "40404"));
        assert_eq!(
            source("Ministry"),
            (Ton::Alphanumeric, Npi::Unknown, "Ministry")
        );
    }

    #[test]
    fn a_part_has_just_what_it_needs() {
        let submission = Submission {
            source: "Ministry".to_owned(),
            destination: "+254722000111".to_owned(),
            alphabet: Alphabet::Gsm7,
            data: vec![5, 0, 3, 1, 2, 1, 0],
            header: true,
            validity: Duration::from_hours(1),
        };
        let pdu = pdu(&submission).unwrap();
        assert_eq!(u8::from(pdu.esm_class), 0x40);
        assert_eq!(u8::from(pdu.registered_delivery), 1);
        assert_eq!(pdu.destination_addr.as_str(), "254722000111");
        let plain = Submission {
            header: false,
            ..submission
        };
        assert_eq!(u8::from(super::pdu(&plain).unwrap().esm_class), 0);
    }
}
