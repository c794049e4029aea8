//! Queues between the dispatcher and the connections: the most urgent goes first, yet every
//! tenth turn belongs to whoever waits in a lower lane.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use publica_types::Timestamp;
use tokio::sync::Semaphore;

use super::active::ActiveChunk;
use crate::domain::envelope::Lane;
use crate::domain::member::Member;

/// So many turns in a row may go to one lane while a lower one waits.
const TURNS: u32 = 9;

/// More is fetched for a lane when fewer than these wait in it.
pub(crate) const LOW_WATER: usize = 600;

/// One recipient on its way.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) chunk: Arc<ActiveChunk>,
    pub(crate) index: usize,
    /// Connections that broke before anything was sent.
    pub(crate) tries: u32,
}

impl Item {
    pub(crate) fn new(chunk: Arc<ActiveChunk>, index: usize) -> Self {
        Self {
            chunk,
            index,
            tries: 0,
        }
    }

    pub(crate) fn member(&self) -> &Member {
        &self.chunk.members[self.index]
    }

    /// Not to be sent after: as the request says, unless an operator gave more time.
    pub(crate) fn expires(&self) -> Timestamp {
        match self.member().expires {
            0 => self.chunk.request.expires,
            micros => Timestamp::from_micros(micros),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Lanes {
    queues: Mutex<Queues>,
    /// A permit for each item, so that waiting for one is fair and cheap.
    ready: Semaphore,
    /// Items of requests that are held up; they have no permits.
    parked: Mutex<Vec<Item>>,
}

#[derive(Debug, Default)]
struct Queues {
    lanes: [VecDeque<Item>; 4],
    turns: [u32; 4],
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            queues: Mutex::default(),
            ready: Semaphore::new(0),
            parked: Mutex::default(),
        }
    }
}

impl Lanes {
    pub(crate) fn push(&self, item: Item) {
        self.lock().lanes[item.chunk.lane.index()].push_back(item);
        self.ready.add_permits(1);
    }

    pub(crate) fn extend(&self, items: Vec<Item>) {
        let count = items.len();
        let mut queues = self.lock();
        for item in items {
            queues.lanes[item.chunk.lane.index()].push_back(item);
        }
        drop(queues);
        self.ready.add_permits(count);
    }

    /// Puts back what could not be sent, ahead of its lane.
    pub(crate) fn push_front(&self, item: Item) {
        self.lock().lanes[item.chunk.lane.index()].push_front(item);
        self.ready.add_permits(1);
    }

    /// Sets an item aside until its request goes on.
    pub(crate) fn park(&self, item: Item) {
        self.parked().push(item);
    }

    /// Puts back what a test picks among the items set aside.
    pub(crate) fn unpark_if(&self, pick: impl Fn(&Item) -> bool) {
        let mut parked = self.parked();
        if parked.iter().any(&pick) {
            let (back, rest) = std::mem::take(&mut *parked).into_iter().partition(&pick);
            *parked = rest;
            drop(parked);
            self.extend(back);
        }
    }

    /// The next item, and whether its lane runs low with it; waits for one.
    pub(crate) async fn take(&self) -> (Item, bool) {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = self.ready.acquire().await {
                permit.forget();
            }
            let mut queues = self.lock();
            if let Some(item) = queues.pop() {
                let left = queues.lanes[item.chunk.lane.index()].len();
                return (item, left + 1 == LOW_WATER);
            }
        }
    }

    pub(crate) fn len(&self, lane: Lane) -> usize {
        self.lock().lanes[lane.index()].len()
    }

    /// Takes out what a test picks, wherever it stands.
    pub(crate) fn remove_if(&self, pick: impl Fn(&Item) -> bool) -> Vec<Item> {
        let mut removed = Vec::new();
        let mut queues = self.lock();
        for lane in &mut queues.lanes {
            if !lane.iter().any(&pick) {
                continue;
            }
            let mut kept = VecDeque::with_capacity(lane.len());
            for item in lane.drain(..) {
                if pick(&item) {
                    removed.push(item);
                } else {
                    kept.push_back(item);
                }
            }
            *lane = kept;
        }
        drop(queues);
        // Their permits go with them; a taker that finds nothing waits again.
        for _ in &removed {
            if let Ok(permit) = self.ready.try_acquire() {
                permit.forget();
            }
        }
        let mut parked = self.parked();
        if parked.iter().any(&pick) {
            let (over, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut *parked).into_iter().partition(&pick);
            *parked = rest;
            removed.extend(over);
        }
        drop(parked);
        removed
    }

    /// No code panics while it holds the lock.
    fn parked(&self) -> MutexGuard<'_, Vec<Item>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn pop(&mut self) -> Option<Item> {
        let waiting: Vec<usize> = (0..4)
            .filter(|lane| !self.lanes[*lane].is_empty())
            .collect();
        let last = *waiting.last()?;
        let lane = waiting
            .into_iter()
            .find(|lane| *lane == last || self.turns[*lane] < TURNS)
            .unwrap_or(last);
        for higher in &mut self.turns[..lane] {
            *higher = 0;
        }
        self.turns[lane] = if lane == last {
            0
        } else {
            self.turns[lane] + 1
        };
        self.lanes[lane].pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(lane: Lane) -> Item {
        Item::new(Arc::new(ActiveChunk::for_tests(lane)), 0)
    }

    #[tokio::test]
    async fn urgent_goes_first_and_nobody_starves() {
        let lanes = Lanes::default();
        lanes.extend((0..40).map(|_| item(Lane::Bulk)).collect());
        lanes.extend((0..40).map(|_| item(Lane::Emergency)).collect());
        let mut order = Vec::new();
        for _ in 0..40 {
            order.push(lanes.take().await.0.chunk.lane);
        }
        assert!(order[..9].iter().all(|lane| *lane == Lane::Emergency));
        let bulk = order.iter().filter(|lane| **lane == Lane::Bulk).count();
        assert_eq!(bulk, 4);
    }

    #[tokio::test]
    async fn what_is_put_back_comes_next() {
        let lanes = Lanes::default();
        lanes.extend((0..2).map(|_| item(Lane::Normal)).collect());
        let (first, _) = lanes.take().await;
        let id = first.chunk.chunk_id;
        lanes.push_front(first);
        assert_eq!(lanes.take().await.0.chunk.chunk_id, id);
        assert_eq!(lanes.remove_if(|_| true).len(), 1);
        assert_eq!(lanes.len(Lane::Normal), 0);
    }

    #[tokio::test]
    async fn a_lane_says_once_that_it_runs_low() {
        let lanes = Lanes::default();
        lanes.extend((0..LOW_WATER + 2).map(|_| item(Lane::Bulk)).collect());
        lanes.push(item(Lane::Urgent));
        let mut said = Vec::new();
        for number in 0..LOW_WATER + 3 {
            if lanes.take().await.1 {
                said.push(number);
            }
        }
        assert_eq!(
            said,
            [3],
            "one of the other lane, two above the mark, and the one at it"
        );
    }

    #[tokio::test]
    async fn what_is_set_aside_comes_back_or_ends() {
        let lanes = Lanes::default();
        lanes.extend((0..2).map(|_| item(Lane::Normal)).collect());
        let (first, _) = lanes.take().await;
        let id = first.chunk.chunk_id;
        lanes.park(first);
        lanes.park(lanes.take().await.0);
        assert_eq!(lanes.len(Lane::Normal), 0);
        lanes.unpark_if(|item| item.chunk.chunk_id == id);
        assert_eq!(lanes.take().await.0.chunk.chunk_id, id);
        assert_eq!(lanes.remove_if(|_| true).len(), 1);
        lanes.unpark_if(|_| true);
        assert_eq!(lanes.len(Lane::Normal), 0);
    }
}
