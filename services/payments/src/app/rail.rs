//! Rails that pay: bringing out what they were handed, and noting what becomes of it.

mod files;
mod incoming;
mod mobile;

use std::collections::{BTreeMap, BTreeSet};

use publica_journal::append;
use publica_store::{Db, Tx};
use publica_types::{Money, Origin, Uuid};
use serde_json::json;

use crate::app::{App, batch, entry};
use crate::domain::ids::BatchId;
use crate::domain::iso20022::initiation::short;
use crate::error::Error;
use crate::sealed::ADDRESSES;
use crate::store::batch as batches;
use crate::store::outbox::{self as sql, KnownRow, MessageRow};

/// Items in one unit of work.
const AT_ONCE: usize = 2_000;

/// What somebody says became of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Nothing if the payment cannot be one of ours.
    pub(crate) end_to_end_id: Option<Uuid>,
    /// Nothing if that is still open.
    pub(crate) ending: Option<Ending>,
    /// The amount that it is said of, where it is told.
    pub(crate) amount: Option<Money>,
}

/// How a payment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Settled,
    Rejected(String),
    /// It came back: it has failed, unless it was settled before. Then it is an operator's case.
    Returned(String),
}

/// What facts came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) settled: usize,
    pub(crate) rejected: usize,
    /// Told before, or still open.
    pub(crate) unchanged: usize,
    /// About no payment of this rail.
    pub(crate) unknown: usize,
    /// About another amount or currency than the payment's.
    pub(crate) differing: usize,
    /// The opposite of what was told before, which stays.
    pub(crate) contradicting: usize,
    pub(crate) batches: BTreeSet<BatchId>,
}

impl Noted {
    fn add(&mut self, other: Self) {
        self.settled += other.settled;
        self.rejected += other.rejected;
        self.unchanged += other.unchanged;
        self.unknown += other.unknown;
        self.differing += other.differing;
        self.contradicting += other.contradicting;
        self.batches.extend(other.batches);
    }
}

impl App {
    /// Brings a message out over its rail; true if it has to be looked at again. A repeat finds
    /// its place again.
    pub(crate) async fn bring_out(&self, db: &Db, message_id: Uuid) -> Result<bool, Error> {
        let row = sql::find(&mut db.clone(), message_id).await?;
        let row = row.ok_or(Error::corrupt("a message of a rail is missing"))?;
        let settings = self.rails.settings().get(&row.rail);
        let settings = settings.ok_or(Error::RailMissing)?;
        if let Some(files) = &settings.files {
            self.write_out(db, files, row).await?;
            return Ok(false);
        }
        let mobile = settings.mobile_money.as_ref().ok_or(Error::RailMissing)?;
        if row.state == sql::SENT {
            return Ok(false);
        }
        let open = self.call_out(db, &row, mobile).await?;
        if !open {
            self.end_message(db, row).await?;
        }
        Ok(open)
    }

    /// Notes that nothing more is to be sent of a message.
    async fn end_message(&self, db: &Db, row: MessageRow) -> Result<(), Error> {
        let items = sql::items(&mut db.clone(), row.message_id).await?;
        let rejected = items
            .iter()
            .filter(|item| item.state == sql::REJECTED)
            .count();
        let input = (system(db), row, items.len(), rejected);
        db.write("payments.rail_sent", input, |tx, input| {
            Box::pin(async move {
                let (origin, row, all, rejected) = input;
                if sql::end(tx, row.message_id).await? {
                    let body = json!({
                        "rail": row.rail,
                        "batch": row.batch_id.to_string(),
                        "items": all,
                        "rejected": rejected,
                    });
                    let id = short(row.message_id);
                    append(
                        tx,
                        origin,
                        entry("payments.rail.sent", "rail_message", id, body),
                    );
                }
                Ok::<_, Error>(())
            })
        })
        .await
    }

    /// Where the payments of a message go.
    fn addresses_of(&self, row: &MessageRow, count: usize) -> Result<Vec<String>, Error> {
        let addresses = self.keyring.open_block(&ADDRESSES, &row.addresses)?;
        let addresses: Vec<String> =
            serde_json::from_slice(&addresses).map_err(|_| Error::corrupt("addresses"))?;
        match addresses.len() == count {
            true => Ok(addresses),
            false => Err(Error::corrupt("addresses")),
        }
    }

    /// Notes what a rail says of its payments; a repeat changes nothing.
    async fn note(&self, db: &Db, rail: &str, facts: &[Fact]) -> Result<Noted, Error> {
        let mut noted = Noted::default();
        for part in facts.chunks(AT_ONCE) {
            let input = (rail.to_owned(), part.to_vec());
            let done = db.write("payments.rail_note", input, |tx, (rail, facts)| {
                Box::pin(note(tx, rail, facts))
            });
            noted.add(done.await?);
        }
        Ok(noted)
    }
}

async fn note(tx: &mut Tx<'_>, rail: &str, facts: &[Fact]) -> Result<Noted, Error> {
    let ids: Vec<Uuid> = facts.iter().filter_map(|fact| fact.end_to_end_id).collect();
    let mut known = sql::known(tx, &ids).await?;
    known.retain(|_, row| row.rail == rail);
    let (noted, changes) = weigh(&mut known, facts);
    sql::set_items(tx, &changes).await?;
    Ok(noted)
}

/// What facts change. Nothing that has ended ends otherwise.
fn weigh(
    known: &mut BTreeMap<Uuid, KnownRow>,
    facts: &[Fact],
) -> (Noted, Vec<(Uuid, i64, String)>) {
    let (mut noted, mut changes) = (Noted::default(), Vec::new());
    for fact in facts {
        let row = fact.end_to_end_id.and_then(|id| known.get_mut(&id));
        let Some(row) = row else {
            noted.unknown += 1;
            continue;
        };
        let agrees = |amount: Money| {
            amount.amount_minor == row.amount_minor && amount.currency.code() == row.currency
        };
        if !fact.amount.is_none_or(agrees) {
            noted.differing += 1;
            continue;
        }
        let (state, reason) = match &fact.ending {
            None => {
                noted.unchanged += 1;
                continue;
            }
            Some(Ending::Settled) => (sql::SETTLED, String::new()),
            Some(Ending::Rejected(reason) | Ending::Returned(reason)) => {
                (sql::REJECTED, reason.clone())
            }
        };
        match (row.state, &fact.ending) {
            (ended, _) if ended == state => noted.unchanged += 1,
            (sql::SETTLED, Some(Ending::Returned(_))) => noted.unchanged += 1,
            (sql::SETTLED | sql::REJECTED, _) => noted.contradicting += 1,
            _ => {
                match state {
                    sql::SETTLED => noted.settled += 1,
                    _ => noted.rejected += 1,
                }
                row.state = state;
                noted.batches.insert(row.batch_id);
                changes.push((row.end_to_end, state, reason));
            }
        }
    }
    (noted, changes)
}

/// Has batches looked at, since something became known of them.
async fn wake(tx: &mut Tx<'_>, ids: &BTreeSet<BatchId>) -> Result<(), Error> {
    for id in ids {
        if let Some(row) = batches::find(tx, *id).await? {
            batch::release(tx, &row).await?;
        }
    }
    Ok(())
}

/// Background work of rails, in its tenant.
fn system(db: &Db) -> Origin {
    Origin::system("payments.rail").in_tenant(db.tenant().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: i64) -> BTreeMap<Uuid, KnownRow> {
        let row = KnownRow {
            end_to_end: Uuid::from_u128(1),
            amount_minor: 1_000,
            state,
            rail: "bank".to_owned(),
            batch_id: BatchId::from_uuid(Uuid::from_u128(9)),
            currency: "USD".to_owned(),
        };
        BTreeMap::from([(row.end_to_end, row)])
    }

    fn fact(ending: Option<Ending>, minor: i64, currency: &str) -> Fact {
        Fact {
            end_to_end_id: Some(Uuid::from_u128(1)),
            ending,
            amount: Some(Money::new(minor, currency.parse().unwrap())),
        }
    }

    #[test]
    fn what_has_ended_stays() {
        let rejected = || Some(Ending::Rejected("AC04".to_owned()));
        let returned = || Some(Ending::Returned("AC06".to_owned()));
        let settled = || Some(Ending::Settled);
        for (state, ending, after) in [
            (sql::NEW, settled(), Some((sql::SETTLED, ""))),
            (sql::NEW, rejected(), Some((sql::REJECTED, "AC04"))),
            (sql::NEW, returned(), Some((sql::REJECTED, "AC06"))),
            (sql::NEW, None, None),
            (sql::SETTLED, settled(), None),
            (sql::SETTLED, rejected(), None),
            (sql::SETTLED, returned(), None),
            (sql::REJECTED, settled(), None),
            (sql::REJECTED, returned(), None),
        ] {
            let (_, changes) = weigh(&mut row(state), &[fact(ending.clone(), 1_000, "USD")]);
            let changes: Vec<(i64, &str)> = changes
                .iter()
                .map(|(_, state, reason)| (*state, reason.as_str()))
                .collect();
            assert_eq!(changes, Vec::from_iter(after), "{state} {ending:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let settled = || Some(Ending::Settled);
        let facts = [
            fact(settled(), 999, "USD"),
            fact(settled(), 1_000, "EUR"),
            fact(settled(), 1_000, "USD"),
            fact(Some(Ending::Rejected("AC04".to_owned())), 1_000, "USD"),
            fact(settled(), 1_000, "USD"),
            Fact {
                end_to_end_id: None,
                ..fact(settled(), 1_000, "USD")
            },
        ];
        let (noted, changes) = weigh(&mut row(sql::NEW), &facts);
        assert_eq!(changes.len(), 1);
        let counts = (noted.settled, noted.differing, noted.contradicting);
        assert_eq!(counts, (1, 2, 1));
        assert_eq!((noted.unchanged, noted.unknown), (1, 1));
        assert_eq!(noted.batches.len(), 1);
    }
}
