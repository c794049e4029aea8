//! Stopping in two stages.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Readiness;

/// How long each stage of stopping may take.
#[derive(Debug, Clone, Copy)]
pub struct StopTimes {
    /// From readiness going off until new connections are refused, so that load balancers
    /// learn of it first.
    pub drain_delay: Duration,
    /// From then until work that is still running is cut.
    pub grace: Duration,
}

/// The stages that everything in the process watches.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Stages {
    /// Running.
    pub fn new() -> Self {
        Self::default()
    }

    /// Completes once no new work is taken.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Completes once work that is left is given up.
    pub async fn cutting(&self) {
        self.cut.cancelled().await;
    }

    /// Cancelled when background work should finish.
    pub fn stop_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Takes no new work from now on.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Gives up the work that is left.
    pub fn cut(&self) {
        self.drain.cancel();
        self.cut.cancel();
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything begun was finished.
    Clean,
    /// Work was cut: the grace period ended, or a second signal came.
    Cut,
}

/// A source of stop requests: signals in a process, anything in a test.
#[derive(Debug)]
pub enum Requests {
    /// SIGTERM and SIGINT of this process.
    Signals(Signal, Signal),
    /// Requests that a test sends.
    Channel(mpsc::Receiver<()>),
}

impl Requests {
    /// Listens to the signals of this process.
    pub fn signals() -> std::io::Result<Self> {
        Ok(Self::Signals(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    }

    async fn next(&mut self) {
        let came = match self {
            Self::Signals(terminate, interrupt) => tokio::select! {
                came = terminate.recv() => came,
                came = interrupt.recv() => came,
            },
            Self::Channel(receiver) => receiver.recv().await,
        };
        match came {
            Some(()) => tracing::info!("asked to stop"),
            // The source is gone, so nobody can ask any more.
            None => std::future::pending().await,
        }
    }
}

/// Waits for a request to stop and then stops in order: readiness off, the drain delay, no new
/// work, what was begun finished. A second request, or the end of the grace period, cuts it.
pub async fn stop_in_order(
    mut requests: Requests,
    readiness: &Readiness,
    stages: &Stages,
    tracker: &TaskTracker,
    times: StopTimes,
) -> Ending {
    requests.next().await;
    readiness.stopping().await;
    let delayed = tokio::select! {
        () = tokio::time::sleep(times.drain_delay) => true,
        () = requests.next() => false,
    };
    if delayed {
        stages.drain();
        tracker.close();
        let finished = tokio::select! {
            () = tracker.wait() => true,
            () = tokio::time::sleep(times.grace) => false,
            () = requests.next() => false,
        };
        if finished {
            return Ending::Clean;
        }
    }
    tracing::warn!("work was cut before it had finished");
    stages.cut();
    Ending::Cut
}
