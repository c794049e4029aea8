//! From answers of the next hop to outcomes of messages.

use std::time::Duration;

use publica_types::Timestamp;

use crate::domain::counters::State;
use crate::domain::member::Member;
use crate::domain::reply::{Class, Reply};
use crate::domain::retry;

/// What became of one attempt for one recipient entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) state: State,
    pub(crate) code: i64,
    pub(crate) reason: &'static str,
    /// The entry for the next attempt, and when that is.
    pub(crate) again: Option<(Member, Timestamp)>,
    /// Addresses that turned out not to exist.
    pub(crate) dead: Vec<String>,
    /// Parts of a short message that the centre took in this attempt.
    pub(crate) parts: Vec<SentPart>,
    /// Until when receipts decide.
    pub(crate) until: Option<Timestamp>,
}

/// A part of a short message that a centre took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SentPart {
    /// Its place, counted from 1, and how many there are.
    pub(crate) part: i64,
    pub(crate) parts: i64,
    pub(crate) centre: String,
    pub(crate) centre_id: String,
}

/// What an attempt is judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) number: i64,
    pub(crate) now: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) noise: u8,
}

impl Attempt {
    fn next(&self, greylisted: bool) -> Option<Timestamp> {
        let at = self
            .now
            .plus(retry::pause(self.number, greylisted, self.noise));
        (at < self.expires).then_some(at)
    }
}

impl Outcome {
    /// Given up on our side.
    fn not_sent(reason: &'static str) -> Self {
        Self {
            state: State::NotSent,
            code: 0,
            reason,
            again: None,
            dead: Vec::new(),
            parts: Vec::new(),
            until: None,
        }
    }

    /// The centre took all parts. Receipts decide until a time, or nothing does any more.
    pub(crate) fn submitted(parts: Vec<SentPart>, until: Option<Timestamp>) -> Self {
        let state = match until {
            Some(_) => State::Processing,
            None => State::Delivered,
        };
        Self {
            state,
            parts,
            until,
            ..Self::not_sent("accepted")
        }
    }

    /// The centre took some parts and not all; the others are tried again.
    pub(crate) fn interrupted(
        member: Member,
        parts: Vec<SentPart>,
        reason: &'static str,
        attempt: &Attempt,
    ) -> Self {
        Self {
            parts,
            ..Self::again(member, Reply::new(0), reason, attempt)
        }
    }

    /// The centre refused a part for good, and so the message cannot arrive as a whole.
    pub(crate) fn refused_part(parts: Vec<SentPart>, status: u32, reason: &'static str) -> Self {
        Self {
            state: State::Bounced,
            code: i64::from(status),
            parts,
            ..Self::not_sent(reason)
        }
    }

    /// Given up on our side, after earlier attempts may have served some addresses.
    pub(crate) fn unsent(member: &Member, reason: &'static str) -> Self {
        if member.served.is_empty() {
            return Self::not_sent(reason);
        }
        Self {
            state: State::Delivered,
            ..Self::not_sent("partly_refused")
        }
    }

    /// To be tried again, unless its time is over.
    fn again(member: Member, reply: Reply, reason: &'static str, attempt: &Attempt) -> Self {
        match attempt.next(reply.is_greylisting()) {
            Some(at) => Self {
                state: State::Deferred,
                code: i64::from(reply.code),
                again: Some((member, at)),
                ..Self::not_sent(reason)
            },
            None => Self {
                code: i64::from(reply.code),
                ..Self::unsent(&member, "expired")
            },
        }
    }

    /// The connection broke too often before anything was sent.
    pub(crate) fn unreachable(member: Member, attempt: &Attempt) -> Self {
        Self::again(member, Reply::new(0), "connection_lost", attempt)
    }

    /// Nobody knows whether the message arrived: tried once more, and then given up.
    pub(crate) fn unknown(mut member: Member, attempt: &Attempt) -> Self {
        if member.unknown > 0 {
            return Self {
                state: State::Bounced,
                ..Self::not_sent("unknown")
            };
        }
        member.unknown += 1;
        Self::again(member, Reply::new(0), "no_answer", attempt)
    }

    /// The whole message was refused.
    pub(crate) fn refused(member: Member, reply: Reply, attempt: &Attempt) -> Self {
        if reply.class() == Class::Transient {
            return Self::again(member, reply, reply.reason(), attempt);
        }
        Self::settled(&member, reply, Vec::new())
    }

    /// Each recipient has an answer; `verdict` is the one to the message, where it was sent.
    pub(crate) fn answered(
        mut member: Member,
        recipients: &[(String, Reply)],
        verdict: Option<Reply>,
        attempt: &Attempt,
    ) -> Self {
        if let Some(verdict) = verdict
            && verdict.class() != Class::Success
        {
            return Self::refused(member, verdict, attempt);
        }
        let mut worst = verdict.unwrap_or(Reply::new(550));
        let mut later = None;
        let mut dead = Vec::new();
        for (address, reply) in recipients {
            match reply.class() {
                Class::Success => member.served.push(address.clone()),
                Class::Transient => later = Some(*reply),
                Class::Permanent => {
                    worst = *reply;
                    member.dropped.push(address.clone());
                    if reply.is_hard_bounce() {
                        dead.push(address.clone());
                    }
                }
            }
        }
        if let Some(reply) = later {
            let mut outcome = Self::again(member, reply, reply.reason(), attempt);
            outcome.dead = dead;
            return outcome;
        }
        Self::settled(&member, worst, dead)
    }

    /// No attempt follows: delivered when anybody got it.
    fn settled(member: &Member, reply: Reply, dead: Vec<String>) -> Self {
        let refused = reply.class() != Class::Success;
        let (state, reason) = match (member.served.is_empty(), refused) {
            (true, _) => (State::Bounced, reply.reason()),
            (false, true) => (State::Delivered, "partly_refused"),
            (false, false) => (State::Delivered, "accepted"),
        };
        Self {
            state,
            code: i64::from(reply.code),
            dead,
            ..Self::not_sent(reason)
        }
    }
}

/// How long a connection waits before it tries a hop that cannot be reached once more.
pub(crate) fn reconnect_pause(failures: u32) -> Duration {
    let seconds = 1_u64 << failures.saturating_sub(1).min(5);
    Duration::from_secs(seconds.min(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn attempt() -> Attempt {
        Attempt {
            number: 1,
            now: NOW,
            expires: NOW.plus(Duration::from_hours(1)),
            noise: 0,
        }
    }

    fn member(addresses: &[&str]) -> Member {
        Member {
            to: addresses.iter().map(|one| (*one).to_owned()).collect(),
            ..Member::default()
        }
    }

    fn reply(code: u16, status: Option<(u8, u16, u16)>) -> Reply {
        Reply { code, status }
    }

    fn to(address: &str, code: u16) -> (String, Reply) {
        (address.to_owned(), Reply::new(code))
    }

    #[test]
    fn one_recipient_has_one_fate() {
        let ok = Some(Reply::new(250));
        let done = Outcome::answered(member(&["a@x"]), &[to("a@x", 250)], ok, &attempt());
        assert_eq!(
            (done.state, done.reason, done.code),
            (State::Delivered, "accepted", 250)
        );

        let refused = Outcome::answered(member(&["a@x"]), &[to("a@x", 550)], None, &attempt());
        assert_eq!(
            (refused.state, refused.reason),
            (State::Bounced, "no_such_mailbox")
        );
        assert_eq!(refused.dead, ["a@x"]);

        let later = Outcome::answered(member(&["a@x"]), &[to("a@x", 451)], None, &attempt());
        assert_eq!((later.state, later.code), (State::Deferred, 451));
        assert!(later.again.unwrap().1 >= NOW.plus(Duration::from_mins(5)));

        let full = Outcome::refused(member(&["a@x"]), reply(552, Some((5, 2, 2))), &attempt());
        assert_eq!(full.state, State::Deferred);
        let policy = Outcome::refused(member(&["a@x"]), reply(554, Some((5, 7, 1))), &attempt());
        assert_eq!(
            (policy.state, policy.reason),
            (State::Bounced, "refused_by_policy")
        );
    }

    #[test]
    fn several_recipients_are_served_once_each() {
        let entry = member(&["a@x", "b@x", "c@x"]);
        let answers = [to("a@x", 250), to("b@x", 451), to("c@x", 550)];
        let first = Outcome::answered(entry, &answers, Some(Reply::new(250)), &attempt());
        assert_eq!(first.state, State::Deferred);
        let (again, _) = first.again.unwrap();
        assert_eq!(again.served, ["a@x"]);
        assert_eq!(again.pending(), ["b@x"]);
        assert_eq!(first.dead, ["c@x"]);

        let second = Outcome::answered(again, &[to("b@x", 550)], None, &attempt());
        assert_eq!(
            (second.state, second.reason),
            (State::Delivered, "partly_refused")
        );
    }

    #[test]
    fn time_runs_out() {
        let late = Attempt {
            expires: NOW.plus(Duration::from_secs(30)),
            ..attempt()
        };
        let outcome = Outcome::answered(member(&["a@x"]), &[to("a@x", 452)], None, &late);
        assert_eq!((outcome.state, outcome.reason), (State::NotSent, "expired"));
    }

    #[test]
    fn an_unknown_fate_is_tried_once_more() {
        let first = Outcome::unknown(member(&["a@x"]), &attempt());
        assert_eq!((first.state, first.reason), (State::Deferred, "no_answer"));
        let (again, _) = first.again.unwrap();
        let second = Outcome::unknown(again, &attempt());
        assert_eq!((second.state, second.reason), (State::Bounced, "unknown"));
    }
}
