//! One connection of the centre.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::SplitSink;
use futures::{SinkExt as _, StreamExt as _};
use rusmpp_core::CommandStatus;
use rusmpp_core::command::owned::Command;
use rusmpp_core::pdus::owned::{
    BindTransceiver, BindTransceiverResp, DeliverSm, Pdu, SubmitSm, SubmitSmResp,
};
use rusmpp_core::tokio_codec::CommandCodec;
use rusmpp_core::types::owned::{COctetString, OctetString};
use rusmpp_core::values::{DataCoding, EsmClass};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, broadcast};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Bring, Inner, Receipts, Taken, lock, text};

type Writer = Mutex<SplitSink<Framed<TcpStream, CommandCodec>, Command>>;

/// A connection that has bound.
struct Line {
    inner: Arc<Inner>,
    writer: Writer,
    connection: u64,
    ordinal: AtomicU64,
    under_way: AtomicU64,
    sequence: std::sync::atomic::AtomicU32,
    /// The connection breaks.
    broken: CancellationToken,
    stop: CancellationToken,
    tracker: TaskTracker,
}

pub(super) async fn listen(
    listener: TcpListener,
    inner: Arc<Inner>,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let closed = lock(&inner.faults).closed;
        if !closed {
            let (inner, stop) = (Arc::clone(&inner), stop.clone());
            tracker.spawn(serve(stream, inner, stop, tracker.clone()));
        }
    }
}

async fn serve(
    stream: TcpStream,
    inner: Arc<Inner>,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    let frames = Framed::new(stream, CommandCodec::new());
    let (writer, mut reader) = frames.split();
    let line = Arc::new(Line {
        writer: Mutex::new(writer),
        connection: inner.counts.connections.fetch_add(1, Ordering::Relaxed) + 1,
        ordinal: AtomicU64::new(0),
        under_way: AtomicU64::new(0),
        sequence: std::sync::atomic::AtomicU32::new(0),
        broken: stop.child_token(),
        inner,
        stop,
        tracker,
    });
    let mut bring = line.inner.bring.subscribe();
    let mut bound = false;
    loop {
        let command = tokio::select! {
            biased;
            () = line.broken.cancelled() => break,
            frame = reader.next() => match frame {
                Some(Ok(command)) => command,
                _ => break,
            },
            brought = bring.recv(), if bound => {
                match brought {
                    Ok(Bring::Receipt { id, stat }) => line.receipt(id, &stat).await,
                    Ok(Bring::Said { from, text }) => line.said(&from, &text).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                }
                continue;
            }
        };
        if !line.handle(command, &mut bound).await {
            break;
        }
    }
}

impl Line {
    /// False when the connection is over.
    async fn handle(self: &Arc<Self>, command: Command, bound: &mut bool) -> bool {
        let counts = &self.inner.counts;
        let sequence = command.sequence_number();
        let status = command.status();
        match command.pdu() {
            Some(Pdu::BindTransceiver(bind)) => {
                let status = self.admit(bind);
                *bound = status == CommandStatus::EsmeRok;
                let body = BindTransceiverResp::default();
                self.write(Command::new(status, sequence, body)).await;
                return *bound;
            }
            Some(Pdu::EnquireLink) => {
                counts.enquiries.fetch_add(1, Ordering::Relaxed);
                self.ok(sequence, Pdu::EnquireLinkResp).await;
            }
            Some(Pdu::Unbind) => {
                counts.unbinds.fetch_add(1, Ordering::Relaxed);
                self.ok(sequence, Pdu::UnbindResp).await;
                return false;
            }
            Some(Pdu::SubmitSm(submit)) if *bound => {
                let wide = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
                counts.widest.fetch_max(wide, Ordering::Relaxed);
                let (line, submit) = (Arc::clone(self), submit.clone());
                let delay = lock(&self.inner.faults).delay;
                if delay.is_zero() {
                    line.submit(sequence, &submit, delay).await;
                } else {
                    self.tracker.spawn(async move {
                        let stop = line.stop.clone();
                        let work = line.submit(sequence, &submit, delay);
                        stop.run_until_cancelled(work).await;
                    });
                }
            }
            Some(Pdu::DeliverSmResp(_)) => {
                let counter = if status == CommandStatus::EsmeRok {
                    &counts.receipts_taken
                } else {
                    &counts.receipts_refused
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                let unknown = CommandStatus::EsmeRinvbndsts;
                self.write(Command::new(unknown, sequence, Pdu::GenericNack))
                    .await;
            }
        }
        true
    }

    fn admit(&self, bind: &BindTransceiver) -> CommandStatus {
        let options = &self.inner.options;
        if bind.system_id.as_str() != options.system_id {
            CommandStatus::EsmeRinvsysid
        } else if bind.password.as_str() != options.password {
            CommandStatus::EsmeRinvpaswd
        } else {
            CommandStatus::EsmeRok
        }
    }

    async fn submit(&self, sequence: u32, submit: &SubmitSm, delay: Duration) {
        tokio::time::sleep(delay).await;
        self.judge(sequence, submit).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    async fn judge(&self, sequence: u32, submit: &SubmitSm) {
        let inner = &self.inner;
        let to = submit.destination_addr.as_str();
        if inner.draw(|faults| &mut faults.throttle) {
            return self.refuse(sequence, CommandStatus::EsmeRthrottled).await;
        }
        let refused = lock(&inner.faults)
            .refuse
            .iter()
            .find(|(start, _)| to.starts_with(start.trim_start_matches('+')))
            .map(|(_, status)| *status);
        if let Some(status) = refused {
            return self.refuse(sequence, status.into()).await;
        }
        let taken = self.taken(submit);
        let id = taken.id;
        inner.keep(taken);
        if inner.draw(|faults| &mut faults.break_after) {
            self.broken.cancel();
            return;
        }
        if inner.draw(|faults| &mut faults.silent) {
            return;
        }
        let stat = lock(&inner.faults)
            .fates
            .iter()
            .find(|(start, _)| to.starts_with(start.trim_start_matches('+')))
            .map_or_else(|| "DELIVRD".to_owned(), |(_, stat)| stat.clone());
        if inner.options.receipts == Receipts::Before {
            self.receipt(id, &stat).await;
        }
        let written = if inner.options.hexadecimal {
            format!("{id:08X}")
        } else {
            id.to_string()
        };
        let body = SubmitSmResp::builder().message_id(octets(&written)).build();
        self.ok(sequence, body).await;
        if inner.options.receipts == Receipts::After {
            self.receipt(id, &stat).await;
        }
    }

    fn taken(&self, submit: &SubmitSm) -> Taken {
        let data: &[u8] = submit.short_message().as_ref();
        let coding = u8::from(submit.data_coding);
        let several = u8::from(submit.esm_class) & 0x40 != 0;
        let (header, body) = match data {
            [5, 0, 3, reference, total, place, body @ ..] if several => {
                (Some((*reference, *total, *place)), body)
            }
            body => (None, body),
        };
        Taken {
            connection: self.connection,
            ordinal: self.ordinal.fetch_add(1, Ordering::Relaxed) + 1,
            from: submit.source_addr.as_str().to_owned(),
            to: submit.destination_addr.as_str().to_owned(),
            coding,
            header,
            text: text(coding, body),
            registered: submit.registered_delivery.into(),
            validity: submit.validity_period.as_str().to_owned(),
            id: self.inner.counts.taken.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    async fn refuse(&self, sequence: u32, status: CommandStatus) {
        let body = SubmitSmResp::default();
        self.write(Command::new(status, sequence, body)).await;
    }

    /// Tells what became of a part.
    async fn receipt(&self, id: u64, stat: &str) {
        let delivered = u8::from(stat == "DELIVRD");
        let text = format!(
            "id:{id} sub:001 dlvrd:00{delivered} submit date:2603010900 done date:2603010901 \
             stat:{stat} err:000 text:"
        );
        let receipt = DeliverSm::builder()
            .esm_class(EsmClass::from(4))
            .short_message(OctetString::from_slice(text.as_bytes()).unwrap_or_default())
            .build();
        self.deliver(receipt).await;
    }

    async fn said(&self, from: &str, text: &str) {
        let units = text.encode_utf16().flat_map(u16::to_be_bytes);
        let data: Vec<u8> = units.collect();
        let deliver = DeliverSm::builder()
            .source_addr(octets(from.trim_start_matches('+')))
            .esm_class(EsmClass::from(0))
            .data_coding(DataCoding::Ucs2)
            .short_message(OctetString::from_slice(&data).unwrap_or_default())
            .build();
        self.deliver(deliver).await;
    }

    async fn deliver(&self, deliver: DeliverSm) {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        self.ok(sequence, deliver).await;
    }

    async fn ok(&self, sequence: u32, body: impl Into<Pdu>) {
        self.write(Command::new(CommandStatus::EsmeRok, sequence, body))
            .await;
    }

    async fn write(&self, command: Command) {
        if self.broken.is_cancelled() {
            return;
        }
        if self.writer.lock().await.send(command).await.is_err() {
            self.broken.cancel();
        }
    }
}

/// A text of the centre's own, which is never too long.
fn octets<const MAX: usize>(text: &str) -> COctetString<1, MAX> {
    COctetString::from_str(text).unwrap_or_default()
}
