//! Handing short messages to a message centre: sessions that are kept up, and slots that each
//! send one message at a time through whichever session there is.
//!
//! A slot sends nothing before its previous outcome is durable, so what a crash leaves without
//! one is at most a message a slot.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::handover::Handover;
use super::lanes::Item;
use super::outcome::{Outcome, SentPart, reconnect_pause};
use super::routes::Routes;
use super::{Health, Shared};
use crate::domain::receipt::{Verdict, reason, verdict};
use crate::domain::sms::Cut;
use crate::smpp::{Answer, Centre, Incoming, Session, Submission, Window};

/// A message that the centre asked so often to wait for waits for its retry.
const THROTTLED_MAX: u32 = 12;

/// One session with a centre, opened anew whenever it ends.
#[derive(Debug)]
pub(super) struct Bind {
    centre: Arc<Centre>,
    window: Window,
    session: watch::Sender<Option<Session>>,
    routes: Arc<Routes>,
    /// The centre's place among the routes.
    me: usize,
}

/// A message that is ready to go.
pub(super) struct Ready {
    pub(super) text: String,
    pub(super) cut: Cut,
    pub(super) destination: String,
    reference: u8,
    pub(super) expires_in: Duration,
}

enum Next {
    Report(Box<Outcome>),
    /// Nothing was sent; the item goes back.
    PutBack,
}

fn report(outcome: Outcome) -> Next {
    Next::Report(Box::new(outcome))
}

struct Slot {
    shared: Arc<Shared>,
    bind: Arc<Bind>,
    handover: Handover,
}

impl Bind {
    pub(super) fn new(centre: Arc<Centre>, window: usize, routes: Arc<Routes>, me: usize) -> Self {
        Self {
            centre,
            window: Window::new(window),
            session: watch::Sender::new(None),
            routes,
            me,
        }
    }

    /// Keeps a session up until it is stopped, and then ends it in good order.
    pub(super) async fn keep(
        self: Arc<Self>,
        shared: Arc<Shared>,
        incoming: mpsc::Sender<Incoming>,
        stop: CancellationToken,
    ) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let opened = stop.run_until_cancelled(self.centre.open(incoming.clone()));
            match opened.await {
                None => break,
                Some(Ok((session, driver))) => {
                    failures = 0;
                    shared.set_health(Health::Up);
                    self.session.send_replace(Some(session));
                    self.routes.linked(self.me, 1);
                    driver.run(stop.clone()).await;
                    self.session.send_replace(None);
                    self.routes.linked(self.me, -1);
                    if !stop.is_cancelled() {
                        tracing::warn!(centre = ?self.centre, "a session with a centre ended");
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(centre = ?self.centre, %error, "no session with a centre");
                    shared.set_health(Health::Down);
                    self.routes.linked(self.me, 0);
                }
            }
            failures += 1;
            let pause = tokio::time::sleep(reconnect_pause(failures));
            stop.run_until_cancelled(pause).await;
        }
    }

    /// The session, once there is one.
    async fn session(&self) -> Option<Session> {
        let mut session = self.session.subscribe();
        let up = session.wait_for(|one| one.as_ref().is_some_and(|one| !one.is_over()));
        up.await.ok()?.clone()
    }
}

/// Sends until it is stopped. The message in hand is finished first.
pub(super) async fn run(shared: Arc<Shared>, bind: Arc<Bind>, stop: CancellationToken) {
    let mut slot = Slot {
        handover: Handover::new(Arc::clone(&shared)),
        shared,
        bind,
    };
    loop {
        let (shared, bind) = (Arc::clone(&slot.shared), Arc::clone(&slot.bind));
        let session = match stop.run_until_cancelled(bind.session()).await {
            Some(Some(session)) => session,
            Some(None) | None => break,
        };
        if stop
            .run_until_cancelled(bind.window.enter())
            .await
            .is_none()
        {
            break;
        }
        let item = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = session.over() => None,
            item = bind.routes.take(bind.me, &shared) => Some(item),
        };
        if let Some(item) = item {
            slot.handle(&session, item, &stop).await;
        }
        bind.window.leave();
        if stop.is_cancelled() {
            break;
        }
    }
    slot.handover.settle().await;
}

impl Slot {
    async fn handle(&mut self, session: &Session, item: Item, stop: &CancellationToken) {
        let Some(item) = self.handover.admit(item).await else {
            return;
        };
        let ready = match prepare(&self.shared, &item) {
            Ok(ready) => ready,
            Err(reason) => return self.handover.end(&item, reason).await,
        };
        let Some(item) = self.handover.alive(item, stop).await else {
            return;
        };
        // Nothing before the previous outcome is durable.
        self.handover.settle().await;
        if item.chunk.is_fenced() {
            return;
        }
        match self.send(session, &item, &ready, stop).await {
            Next::Report(outcome) => {
                if !outcome.parts.is_empty() && outcome.again.is_none() {
                    self.shared.sent.fetch_add(1, Ordering::Relaxed);
                }
                self.handover.sent(&item, *outcome).await;
            }
            Next::PutBack => self.handover.put_back(item).await,
        }
    }

    /// Submits the parts that no earlier attempt got through, one after the other.
    async fn send(
        &self,
        session: &Session,
        item: &Item,
        ready: &Ready,
        stop: &CancellationToken,
    ) -> Next {
        let attempt = self.handover.attempt(item);
        let mut member = item.member().clone();
        let total = i64::try_from(ready.cut.parts.len()).unwrap_or(i64::MAX);
        let mut sent: Vec<SentPart> = Vec::new();
        for index in 0..ready.cut.parts.len() {
            let part = i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1);
            if member.parts.contains(&part) {
                continue;
            }
            let Some(submission) = submission(item, ready, index) else {
                return report(Outcome::unsent(&member, "message_too_large"));
            };
            let (status, id) = match self.submit(session, submission, item, stop).await {
                Answer::Answered { status, id } => (status, id),
                Answer::Unsent if sent.is_empty() => return Next::PutBack,
                Answer::Unsent => {
                    return report(Outcome::interrupted(
                        member,
                        sent,
                        "connection_lost",
                        &attempt,
                    ));
                }
                Answer::Unknown => {
                    let mut outcome = Outcome::unknown(member, &attempt);
                    outcome.parts = sent;
                    return report(outcome);
                }
            };
            match verdict(status) {
                Verdict::Accepted => {
                    member.parts.push(part);
                    sent.push(SentPart {
                        part,
                        parts: total,
                        centre: self.bind.centre.name.clone(),
                        centre_id: id,
                    });
                }
                Verdict::Session if sent.is_empty() => return Next::PutBack,
                Verdict::Throttled | Verdict::Transient | Verdict::Session => {
                    let mut outcome = Outcome::interrupted(member, sent, reason(status), &attempt);
                    outcome.code = i64::from(status);
                    return report(outcome);
                }
                Verdict::Permanent => {
                    return report(Outcome::refused_part(sent, status, reason(status)));
                }
            }
        }
        let until = self
            .shared
            .setup
            .receipts
            .map(|span| attempt.now.plus(span));
        report(Outcome::submitted(sent, until))
    }

    /// Submits one part; while the centre asks for patience, again and again.
    async fn submit(
        &self,
        session: &Session,
        submission: Submission,
        item: &Item,
        stop: &CancellationToken,
    ) -> Answer {
        let window = &self.bind.window;
        let mut throttled = 0;
        loop {
            window.patience().await;
            let answer = session.submit(submission.clone()).await;
            let Answer::Answered { status, .. } = &answer else {
                return answer;
            };
            match verdict(*status) {
                Verdict::Throttled => {}
                Verdict::Accepted => {
                    window.went_well();
                    return answer;
                }
                _ => return answer,
            }
            metrics::counter!("publica_messaging_throttled_total").increment(1);
            window.throttled();
            throttled += 1;
            let over = self.shared.now() >= item.expires() || stop.is_cancelled();
            if over || throttled >= THROTTLED_MAX || !self.shared.liveness.is_alive() {
                return answer;
            }
        }
    }
}

/// Renders and cuts.
pub(super) fn prepare(shared: &Shared, item: &Item) -> Result<Ready, &'static str> {
    let (request, member) = (&item.chunk.request, item.member());
    let pending = member.pending();
    let destination = pending.first().ok_or("no_recipient_left")?;
    let (rendered, _) = request.render(member).map_err(|error| error.reason())?;
    let cut = Cut::new(&rendered.text, shared.setup.parts);
    let cut = cut.map_err(|_| "message_too_large")?;
    let bytes = item.chunk.root_id.into_bytes().into_iter();
    // The same at every attempt, so that parts of two attempts fit together.
    let reference = bytes
        .chain(member.pos.to_be_bytes())
        .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    Ok(Ready {
        text: rendered.text,
        cut,
        destination: (*destination).to_owned(),
        reference,
        expires_in: item.expires().since(shared.now()),
    })
}

/// One part as it is submitted; `None` if there is no such part.
fn submission(item: &Item, ready: &Ready, index: usize) -> Option<Submission> {
    Some(Submission {
        source: item.chunk.request.common.from.clone(),
        destination: ready.destination.clone(),
        alphabet: ready.cut.alphabet,
        data: ready.cut.user_data(index, ready.reference)?,
        header: ready.cut.parts.len() > 1,
        validity: ready.expires_in,
    })
}
