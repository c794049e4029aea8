//! What connections of all channels do around a message: whether it may go now, and its outcome
//! handed to the reporter, durable before the next message goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::lanes::Item;
use super::outcome::{Attempt, Outcome};
use super::reporter::Message;

/// A recipient whose connections broke so often before anything was sent waits for its retry.
const TRIES_MAX: u32 = 3;

/// One connection's side of the engine.
pub(super) struct Handover {
    shared: Arc<Shared>,
    /// The outcome of the previous message, not durable yet.
    previous: Option<oneshot::Receiver<bool>>,
}

impl Handover {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            previous: None,
        }
    }

    /// The item, if it may still be sent. One that is over ends here, one that is held up is set
    /// aside.
    pub(super) async fn admit(&mut self, item: Item) -> Option<Item> {
        let request = &item.chunk.request;
        if item.chunk.is_fenced() {
            return None;
        }
        if request.is_cancelled() {
            self.end(&item, "cancelled").await;
            return None;
        }
        if self.shared.now() >= item.expires() {
            self.end(&item, "expired").await;
            return None;
        }
        if request.is_paused() {
            self.shared.lanes.park(item);
            return None;
        }
        Some(item)
    }

    /// The item, unless others may think this session dead: then it waits until the store says
    /// otherwise.
    pub(super) async fn alive(&self, item: Item, stop: &CancellationToken) -> Option<Item> {
        if self.shared.liveness.is_alive() {
            return Some(item);
        }
        self.shared.lanes.push_front(item);
        let pause = tokio::time::sleep(Duration::from_millis(500));
        stop.run_until_cancelled(pause).await;
        None
    }

    pub(super) fn attempt(&self, item: &Item) -> Attempt {
        Attempt {
            number: item.chunk.attempt,
            now: self.shared.now(),
            expires: item.expires(),
            noise: self.shared.noise(),
        }
    }

    /// Lets somebody else try what was not sent.
    pub(super) async fn put_back(&mut self, mut item: Item) {
        item.tries += 1;
        if item.tries < TRIES_MAX {
            self.shared.lanes.push_front(item);
            return;
        }
        let outcome = Outcome::unreachable(item.member().clone(), &self.attempt(&item));
        self.sent(&item, outcome).await;
    }

    /// Ends what was not sent and never will be.
    pub(super) async fn end(&mut self, item: &Item, reason: &'static str) {
        self.report(item, Outcome::unsent(item.member(), reason), None)
            .await;
    }

    /// Hands over the outcome of what was sent. It is waited for before the next message goes.
    pub(super) async fn sent(&mut self, item: &Item, outcome: Outcome) {
        self.settle().await;
        let (sender, receiver) = oneshot::channel();
        self.previous = Some(receiver);
        self.report(item, outcome, Some(sender)).await;
    }

    async fn report(&self, item: &Item, outcome: Outcome, done: Option<oneshot::Sender<bool>>) {
        let message = Message::Outcome {
            chunk: Arc::clone(&item.chunk),
            pos: item.member().pos,
            outcome: Box::new(outcome),
            done,
        };
        // Without a reporter the process is ending, and the next one sends again what has no
        // outcome.
        let _ = self.shared.reports.send(message).await;
    }

    /// Waits until the previous outcome is durable, or known to be nobody's business any more.
    pub(super) async fn settle(&mut self) {
        if let Some(previous) = self.previous.take() {
            let _ = previous.await;
        }
    }
}
