//! A rail outside, as the block sees it: what it was handed is kept in the block's own store,
//! brought out by background work, and marked when the rail says what became of it.
//!
//! Handing over is one unit, so a message is there as a whole or not at all.

use publica_seal::Keyring;
use publica_store::{BoxFuture, Stores, Tx};
use publica_types::{Money, Origin, Tenant, Uuid};
use publica_work::{Job, enqueue};

use super::{Message, Rail, RailError, Report, Status, fee};
use crate::config::RailSettings;
use crate::jobs::RAIL_MESSAGE;
use crate::sealed::ADDRESSES;
use crate::store::outbox::{self as sql, ItemRow, NewMessage};

/// See the module's description.
pub(super) struct Outbox {
    stores: Stores,
    keyring: Keyring,
    name: String,
    settings: RailSettings,
}

impl Outbox {
    pub(super) fn new(
        stores: Stores,
        keyring: Keyring,
        name: String,
        settings: RailSettings,
    ) -> Self {
        Self {
            stores,
            keyring,
            name,
            settings,
        }
    }

    fn prepare(&self, message: &Message) -> NewMessage {
        let row = |(place, item): (usize, &super::Item)| {
            // What cannot be said to the rail is rejected before it is sent.
            let money = Money::new(item.amount_minor, message.currency);
            let unfit = self.settings.unfit(item.address.expose(), &money);
            ItemRow {
                end_to_end: item.end_to_end_id,
                place: i64::try_from(place).unwrap_or(i64::MAX),
                amount_minor: item.amount_minor,
                state: unfit.map_or(sql::NEW, |_| sql::REJECTED),
                reason_code: unfit.unwrap_or_default().to_owned(),
                reference: String::new(),
            }
        };
        let addresses: Vec<&String> = message.items.iter().map(|i| i.address.expose()).collect();
        // Texts alone are always JSON.
        let addresses = serde_json::to_vec(&addresses).unwrap_or_default();
        NewMessage {
            message_id: message.message_id,
            rail: self.name.clone(),
            batch_id: message.batch_id,
            institution: message.institution.clone(),
            currency: message.currency.code().to_owned(),
            addresses: self.keyring.seal_block(&ADDRESSES, &addresses),
            items: message.items.iter().enumerate().map(row).collect(),
        }
    }
}

async fn submit(tx: &mut Tx<'_>, new: &NewMessage) -> Result<(), RailError> {
    if sql::insert(tx, new).await? {
        let id = new.message_id.to_string();
        let job = Job::new(RAIL_MESSAGE, id.clone(), id.into_bytes());
        enqueue(tx, &Origin::system("payments.rail"), job).await?;
    }
    Ok(())
}

fn report(row: ItemRow) -> Report {
    let status = match row.state {
        sql::SETTLED => Status::Settled,
        sql::REJECTED => Status::Rejected {
            reason_code: row.reason_code,
        },
        _ => Status::Unknown,
    };
    Report {
        end_to_end_id: row.end_to_end,
        amount_minor: row.amount_minor,
        status,
    }
}

impl Rail for Outbox {
    fn submit<'a>(
        &'a self,
        tenant: &'a Tenant,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), RailError>> {
        Box::pin(async move {
            let db = self.stores.of(tenant).await?;
            let new = self.prepare(message);
            db.write("payments.rail_submit", new, |tx, new| {
                Box::pin(submit(tx, new))
            })
            .await
        })
    }

    fn fee(&self, item_count: i64, amount_minor: i64) -> i64 {
        let fees = (self.settings.fee_minor, self.settings.fee_per_mille);
        fee(fees, item_count, amount_minor)
    }

    fn query<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Option<Vec<Report>>, RailError>> {
        Box::pin(async move {
            let mut db = self.stores.of(tenant).await?;
            let rows = sql::items(&mut db, message_id).await?;
            // A message has at least one item.
            let reports: Vec<Report> = rows.into_iter().map(report).collect();
            Ok(Some(reports).filter(|reports| !reports.is_empty()))
        })
    }

    fn statement<'a>(
        &'a self,
        tenant: &'a Tenant,
        message_id: Uuid,
    ) -> BoxFuture<'a, Result<Vec<Report>, RailError>> {
        Box::pin(async move {
            let mut lines = self.query(tenant, message_id).await?.unwrap_or_default();
            lines.retain(|line| line.status == Status::Settled);
            Ok(lines)
        })
    }
}
