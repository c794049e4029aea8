//! Which of several next hops takes the next message: those of the lowest tier of which any
//! answers, each by its weight.
//!
//! Whoever is free asks for its turn. One of them at a time has it and waits for a message, and
//! gives it up when another has a better claim meanwhile. So a hop that is busy or slow holds
//! nobody up, and one that is free gets its share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Shared;
use super::lanes::Item;

/// What a message costs a hop of weight 1.
const COST: u64 = 1 << 20;

/// A hop's place among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Later tiers serve while no hop of an earlier one answers.
    pub(crate) tier: u32,
    /// Its part of the messages of its tier.
    pub(crate) weight: u32,
}

#[derive(Debug)]
struct Route {
    share: Share,
    /// Connections that are up. A hop that was never tried counts as one that answers.
    links: usize,
    tried: bool,
    /// Who asks for a turn, or has it.
    waiting: usize,
    /// What it has cost so far.
    spent: u64,
}

impl Route {
    fn answers(&self) -> bool {
        self.links > 0 || !self.tried
    }
}

#[derive(Debug)]
struct State {
    routes: Vec<Route>,
    /// Whose turn it is.
    turn: Option<usize>,
    /// Where those that were served lately stand; a hop that comes back begins there.
    level: u64,
}

impl State {
    /// Who has the best claim to the next message.
    fn best(&self) -> Option<usize> {
        let answering = self.routes.iter().filter(|route| route.answers());
        let tier = answering.map(|route| route.share.tier).min()?;
        let fit =
            self.routes.iter().enumerate().filter(|(_, route)| {
                route.answers() && route.share.tier == tier && route.waiting > 0
            });
        fit.min_by_key(|(index, route)| (route.spent, *index))
            .map(|(index, _)| index)
    }
}

/// The next hops of an engine.
#[derive(Debug)]
pub(crate) struct Routes {
    state: Mutex<State>,
    /// Wakes one of those of a hop that wait for a turn.
    free: Vec<Notify>,
    /// Wakes whoever has the turn.
    better: Notify,
}

/// The turn to take a message; dropping it gives it up.
struct Turn<'a> {
    routes: &'a Routes,
    me: usize,
    has: bool,
}

impl Routes {
    pub(crate) fn new(shares: impl Iterator<Item = Share>) -> Self {
        let routes: Vec<Route> = shares
            .map(|share| Route {
                share,
                links: 0,
                tried: false,
                waiting: 0,
                spent: 0,
            })
            .collect();
        Self {
            free: routes.iter().map(|_| Notify::new()).collect(),
            state: Mutex::new(State {
                routes,
                turn: None,
                level: 0,
            }),
            better: Notify::new(),
        }
    }

    /// One more connection of a hop is up, or one less, or none could be opened.
    pub(crate) fn linked(&self, me: usize, change: isize) {
        let mut state = self.lock();
        let route = &mut state.routes[me];
        route.tried = true;
        route.links = route.links.saturating_add_signed(change);
        self.wake(&state);
    }

    /// The next message for a hop; waits for one.
    pub(super) async fn take(&self, me: usize, shared: &Shared) -> Item {
        loop {
            let mut turn = self.turn(me).await;
            tokio::select! {
                () = turn.is_over() => {}
                item = shared.take() => {
                    turn.took();
                    return item;
                }
            }
        }
    }

    async fn turn(&self, me: usize) -> Turn<'_> {
        let mut turn = self.ask(me);
        while !turn.claim() {
            self.free[me].notified().await;
        }
        turn
    }

    fn ask(&self, me: usize) -> Turn<'_> {
        let mut state = self.lock();
        let level = state.level;
        let route = &mut state.routes[me];
        if route.waiting == 0 {
            // What it did not take while it was away is not made up for.
            route.spent = route.spent.max(level);
        }
        route.waiting += 1;
        self.wake(&state);
        let has = false;
        Turn {
            routes: self,
            me,
            has,
        }
    }

    /// Tells whoever has to know what follows from a change.
    fn wake(&self, state: &State) {
        let best = state.best();
        match (state.turn, best) {
            (None, Some(best)) => self.free[best].notify_one(),
            (Some(_), best) if best != state.turn => self.better.notify_one(),
            _ => {}
        }
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Takes the turn if it is free and ours.
    fn claim(&mut self) -> bool {
        let mut state = self.routes.lock();
        self.has = state.turn.is_none() && state.best() == Some(self.me);
        if self.has {
            state.turn = Some(self.me);
        } else {
            self.routes.wake(&state);
        }
        self.has
    }

    /// Once somebody else has a better claim.
    async fn is_over(&self) {
        while self.routes.lock().best() == Some(self.me) {
            self.routes.better.notified().await;
        }
    }

    fn took(&mut self) {
        let mut state = self.routes.lock();
        let route = &mut state.routes[self.me];
        let before = route.spent;
        route.spent = before.saturating_add(COST / u64::from(route.share.weight.max(1)));
        state.level = state.level.max(before);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.routes.lock();
        state.routes[self.me].waiting -= 1;
        if self.has {
            state.turn = None;
        }
        self.routes.wake(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(shares: &[(u32, u32)]) -> Routes {
        let shares = shares.iter().map(|(tier, weight)| Share {
            tier: *tier,
            weight: *weight,
        });
        Routes::new(shares)
    }

    /// Serves some messages to hops that always have somebody free.
    fn serve(routes: &Routes, free: &[usize], count: usize) -> Vec<usize> {
        let mut order = Vec::new();
        for _ in 0..count {
            let mut asking: Vec<_> = free.iter().map(|me| routes.ask(*me)).collect();
            let Some(turn) = asking.iter_mut().find_map(|one| one.claim().then_some(one)) else {
                break;
            };
            turn.took();
            order.push(turn.me);
        }
        order
    }

    fn count(order: &[usize], me: usize) -> usize {
        order.iter().filter(|one| **one == me).count()
    }

    #[test]
    fn weights_share_what_there_is() {
        let routes = routes(&[(1, 3), (1, 1)]);
        let order = serve(&routes, &[0, 1], 400);
        assert_eq!((count(&order, 0), count(&order, 1)), (300, 100));
        // Mixed, rather than one after the other.
        assert_eq!(count(&order[..8], 1), 2);
        // Who is alone free takes all, and gets nothing back for it later.
        assert_eq!(serve(&routes, &[1], 50), [1; 50]);
        let after = serve(&routes, &[0, 1], 40);
        assert!(count(&after, 1) >= 9, "{after:?}");
    }

    #[test]
    fn a_later_tier_serves_while_no_earlier_one_answers() {
        let routes = routes(&[(1, 1), (2, 1)]);
        // Nobody knows yet whether the first answers.
        assert!(serve(&routes, &[1], 1).is_empty());
        routes.linked(0, 0);
        assert_eq!(serve(&routes, &[0, 1], 2), [1, 1]);
        routes.linked(0, 1);
        assert_eq!(serve(&routes, &[0, 1], 2), [0, 0]);
        // Busy is not down.
        assert!(serve(&routes, &[1], 1).is_empty());
        routes.linked(0, -1);
        assert_eq!(serve(&routes, &[1], 1), [1]);
    }

    #[tokio::test]
    async fn a_turn_ends_when_a_better_hop_comes() {
        let routes = routes(&[(1, 1), (2, 1)]);
        routes.linked(0, 0);
        let late = routes.turn(1).await;
        let first = async {
            routes.linked(0, 1);
            routes.turn(0).await
        };
        let yielding = async {
            late.is_over().await;
            drop(late);
        };
        let (turn, ()) = tokio::join!(first, yielding);
        assert_eq!(turn.me, 0);
    }
}
