//! Bringing messages out as files. A file comes out once: it is written where nobody looks,
//! its name is recorded, and only the file of that name is ever let out.

use publica_journal::append;
use publica_store::Db;
use publica_types::Uuid;
use serde_json::json;

use super::system;
use crate::app::{App, entry};
use crate::config::FileRailConfig;
use crate::domain::iso20022::initiation::{Initiation, Payment, short, write};
use crate::error::Error;
use crate::rail::folder::Folder;
use crate::sealed::ADDRESSES;
use crate::store::outbox::{self as sql, ItemRow, MessageRow};

impl App {
    /// Brings a message out; a repeat finds its place again.
    pub(crate) async fn bring_out(&self, db: &Db, message_id: Uuid) -> Result<(), Error> {
        let row = sql::find(&mut db.clone(), message_id).await?;
        let mut row = row.ok_or(Error::corrupt("a message of a rail is missing"))?;
        let settings = self.rails.settings().get(&row.rail);
        let files = settings.and_then(|settings| settings.files.as_ref());
        let files = files.ok_or(Error::RailMissing)?;
        let folder = Folder::open(&files.folder, db.tenant()).await?;
        if row.state == sql::SENT {
            return Ok(folder
                .clear_staged(&format!("{}.", short(message_id)))
                .await?);
        }
        let items = sql::items(&mut db.clone(), message_id).await?;
        let count = items.iter().filter(|item| item.state == sql::NEW).count();
        if row.state == sql::TO_SEND && count > 0 {
            match self.stage(db, files, &folder, &row, &items).await? {
                Some(staged) => (row.state, row.staged) = (sql::STAGED, staged),
                // Somebody else has brought it further; the next attempt sees how far.
                None => return Err(Error::RailSilent),
            }
        }
        if row.state == sql::STAGED {
            let name = format!("pain.001-{}.xml", short(message_id));
            folder.let_out(&row.staged, &name).await?;
        }
        let sums = (count, items.len() - count);
        let input = (system(db), row, sums);
        db.write("payments.rail_sent", input, |tx, (origin, row, sums)| {
            Box::pin(async move {
                if sql::end(tx, row.message_id).await? {
                    let body = json!({
                        "rail": row.rail,
                        "batch": row.batch_id.to_string(),
                        "items": sums.0,
                        "rejected": sums.1,
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
        .await?;
        folder
            .clear_staged(&format!("{}.", short(message_id)))
            .await?;
        Ok(())
    }

    /// Writes a message's file and records its name; nothing if one is recorded already.
    async fn stage(
        &self,
        db: &Db,
        files: &FileRailConfig,
        folder: &Folder,
        row: &MessageRow,
        items: &[ItemRow],
    ) -> Result<Option<String>, Error> {
        let addresses = self.keyring.open_block(&ADDRESSES, &row.addresses)?;
        let addresses: Vec<String> =
            serde_json::from_slice(&addresses).map_err(|_| Error::corrupt("addresses"))?;
        if addresses.len() != items.len() {
            return Err(Error::corrupt("addresses"));
        }
        let both = items.iter().zip(addresses);
        let payments: Vec<Payment> = both
            .filter(|(item, _)| item.state == sql::NEW)
            .map(|(item, account)| Payment {
                end_to_end_id: item.end_to_end,
                account,
                amount_minor: item.amount_minor,
            })
            .collect();
        let initiation = Initiation {
            message_id: row.message_id,
            created_at: row.created_at,
            institution: &row.institution,
            currency: row
                .currency
                .parse()
                .map_err(|_| Error::corrupt("the currency of a message"))?,
            payments: &payments,
        };
        let text = write(&files.terms(), &initiation);
        // Whoever comes after a worker that stalled has a file of another name.
        let staged = format!("{}.{}", short(row.message_id), short(self.uuid()));
        folder.stage(&staged, text.as_bytes()).await?;
        let input = (row.message_id, staged.clone());
        let first = db.write("payments.rail_stage", input, |tx, (id, staged)| {
            Box::pin(async move { Ok::<_, Error>(sql::stage(tx, *id, staged).await?) })
        });
        Ok(first.await?.then_some(staged))
    }
}
