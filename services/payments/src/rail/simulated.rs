//! A rail that pays nobody, for try-outs and tests: outcomes follow from seed and address.
//!
//! It remembers messages in a table of its own, as a system outside would, so that it still
//! knows after a crash what it was sent before.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use publica_store::{BoxFuture, Stores};
use publica_types::{Tenant, Uuid};

use super::{Message, Rail, RailError, Report, Status, fee};
use crate::config::{RailConfig, RailOutcome};
use crate::store::rail as sql;

/// An item in the simulator's memory: id, amount, outcome, reason.
const RECORD: usize = 16 + 8 + 1 + 4;

/// See the module's description.
pub(super) struct Simulated {
    stores: Stores,
    config: RailConfig,
}

/// What will become of an item, and what is said at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fate {
    settled: bool,
    late: bool,
    reason: [u8; 4],
}

impl Simulated {
    pub(super) fn new(stores: Stores, config: RailConfig) -> Self {
        Self { stores, config }
    }

    fn fate(&self, address: &str) -> Fate {
        let rule = self
            .config
            .rules
            .iter()
            .find(|rule| address.ends_with(&rule.suffix));
        if let Some(rule) = rule {
            return fate(rule.outcome, &rule.reason);
        }
        let draw = self.draw(b"item", address.as_bytes());
        let reject = self.config.reject_per_mille;
        if draw < reject {
            fate(RailOutcome::Reject, "MS03")
        } else if draw < reject + self.config.unknown_per_mille {
            let settles = draw.is_multiple_of(2);
            match settles {
                true => fate(RailOutcome::UnknownThenSettle, ""),
                false => fate(RailOutcome::UnknownThenReject, "MS03"),
            }
        } else {
            fate(RailOutcome::Settle, "")
        }
    }

    /// A number from 0 to 999 that follows from the seed and a name.
    fn draw(&self, kind: &[u8], name: &[u8]) -> u64 {
        let mut context = Context::new(&SHA256);
        context.update(&self.config.seed.to_be_bytes());
        context.update(kind);
        context.update(name);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&context.finish().as_ref()[..8]);
        u64::from_be_bytes(bytes) % 1_000
    }

    async fn latency(&self) {
        if self.config.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.config.latency_ms)).await;
        }
    }

    async fn read(
        &self,
        tenant: &Tenant,
        message_id: Uuid,
    ) -> Result<Option<sql::MessageRow>, RailError> {
        let mut db = self.stores.of(tenant).await?;
        Ok(sql::find(&mut db, message_id).await?)
    }
}

fn fate(outcome: RailOutcome, reason: &str) -> Fate {
    let mut code = *b"MS03";
    if reason.len() == code.len() {
        code.copy_from_slice(reason.as_bytes());
    }
    let settled = matches!(
        outcome,
        RailOutcome::Settle | RailOutcome::UnknownThenSettle
    );
    let late = !matches!(outcome, RailOutcome::Settle | RailOutcome::Reject);
    Fate {
        settled,
        late,
        reason: code,
    }
}

fn record(message: &Message, fate: impl Fn(&str) -> Fate) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.items.len() * RECORD);
    for item in &message.items {
        let fate = fate(item.address.expose());
        bytes.extend_from_slice(item.end_to_end_id.as_bytes());
        bytes.extend_from_slice(&item.amount_minor.to_be_bytes());
        bytes.push(u8::from(fate.settled) | u8::from(fate.late) << 1);
        bytes.extend_from_slice(&fate.reason);
    }
    bytes
}

fn reports(items: &[u8], all_known: bool) -> Vec<Report> {
    let report = |bytes: &[u8]| {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (amount, rest) = rest.split_first_chunk::<8>()?;
        let (flags, reason) = rest.split_first()?;
        let status = match (flags & 2 != 0 && !all_known, flags & 1 != 0) {
            (true, _) => Status::Unknown,
            (false, true) => Status::Settled,
            (false, false) => {
                let reason_code = String::from_utf8_lossy(reason).into_owned();
                Status::Rejected { reason_code }
            }
        };
        Some(Report {
            end_to_end_id: Uuid::from_bytes(*id),
            amount_minor: i64::from_be_bytes(*amount),
            status,
        })
    };
    items.chunks(RECORD).filter_map(report).collect()
}

impl Rail for Simulated {
    fn submit<'a>(
        &'a self,
        tenant: &'a Tenant,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), RailError>> {
        Box::pin(async move {
            self.latency().await;
            if self.draw(b"arrival", message.message_id.as_bytes()) < self.config.drop_per_mille {
                return Err(RailError::NoAnswer);
            }
            let db = self.stores.of(tenant).await?;
            let items = record(message, |address| self.fate(address));
            db.write(
                "payments.simulate",
                (message.message_id, items),
                |tx, (id, items)| Box::pin(async move { sql::insert(tx, *id, items).await }),
            )
            .await?;
            match self.draw(b"message", message.message_id.as_bytes()) < self.config.lose_per_mille
            {
                true => Err(RailError::NoAnswer),
                false => Ok(()),
            }
        })
    }

    fn fee(&self, item_count: i64, amount_minor: i64) -> i64 {
        let fees = (self.config.fee_minor, self.config.fee_per_mille);
        fee(fees, item_count, amount_minor)
    }

    fn query<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Option<Vec<Report>>, RailError>> {
        Box::pin(async move {
            let Some(row) = self.read(tenant, message_id).await? else {
                return Ok(None);
            };
            let all_known = row.query_count >= self.config.unknown_queries;
            let answer = reports(&row.items, all_known);
            if answer.iter().any(|report| report.status == Status::Unknown) {
                let db = self.stores.of(tenant).await?;
                db.write("payments.simulate_query", message_id, |tx, id| {
                    Box::pin(async move { sql::count_query(tx, *id).await })
                })
                .await?;
            }
            Ok(Some(answer))
        })
    }

    fn statement<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Vec<Report>, RailError>> {
        Box::pin(async move {
            let row = self.read(tenant, message_id).await?;
            let known = |row: sql::MessageRow| {
                let all_known = row.query_count >= self.config.unknown_queries;
                reports(&row.items, all_known)
            };
            let mut lines = row.map(known).unwrap_or_default();
            lines.retain(|line| line.status == Status::Settled);
            Ok(lines)
        })
    }
}

#[cfg(test)]
mod tests {
    use publica_types::Secret;

    use super::*;
    use crate::domain::ids::BatchId;
    use crate::domain::ids::named;
    use crate::rail::Item;

    #[test]
    fn items_are_read_back_in_order() {
        let item = |name: &str, amount_minor| Item {
            end_to_end_id: named("item", name.as_bytes()),
            address: Secret::new(name.to_owned()),
            amount_minor,
        };
        let items = vec![item("good", 5), item("bad", 6), item("late", 7)];
        let message = Message {
            message_id: named("message", b"1"),
            batch_id: BatchId::from_uuid(named("batch", b"1")),
            institution: "BANK".to_owned(),
            currency: "USD".parse().unwrap(),
            items,
        };
        let fates = |address: &str| match address {
            "good" => fate(RailOutcome::Settle, ""),
            "bad" => fate(RailOutcome::Reject, "AC04"),
            _ => fate(RailOutcome::UnknownThenSettle, ""),
        };
        let bytes = record(&message, fates);
        let rejected = Status::Rejected {
            reason_code: "AC04".to_owned(),
        };
        let statuses: Vec<Status> = reports(&bytes, false)
            .into_iter()
            .map(|r| r.status)
            .collect();
        assert_eq!(
            statuses,
            [Status::Settled, rejected.clone(), Status::Unknown]
        );
        let later = reports(&bytes, true);
        let statuses: Vec<Status> = later.iter().map(|r| r.status.clone()).collect();
        assert_eq!(statuses, [Status::Settled, rejected, Status::Settled]);
        assert_eq!(later[2].amount_minor, 7);
        assert_eq!(later[2].end_to_end_id, named("item", b"late"));
    }
}
