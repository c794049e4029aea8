//! Bringing messages out as files. A file comes out once: it is written where nobody looks,
//! its name is recorded, and only the file of that name is ever let out.

use publica_store::Db;

use crate::app::App;
use crate::config::FileRailConfig;
use crate::domain::iso20022::initiation::{Initiation, Payment, short, write};
use crate::error::Error;
use crate::rail::folder::Folder;
use crate::store::outbox::{self as sql, ItemRow, MessageRow};

impl App {
    /// Brings a message out as a file.
    pub(super) async fn write_out(
        &self,
        db: &Db,
        files: &FileRailConfig,
        mut row: MessageRow,
    ) -> Result<(), Error> {
        let id = short(row.message_id);
        let folder = Folder::open(&files.folder, db.tenant()).await?;
        if row.state == sql::TO_SEND {
            let items = sql::items(&mut db.clone(), row.message_id).await?;
            // Where all were rejected beforehand, there is nothing to send.
            if items.iter().any(|item| item.state == sql::NEW) {
                match self.stage(db, files, &folder, &row, &items).await? {
                    Some(staged) => (row.state, row.staged) = (sql::STAGED, staged),
                    // Somebody else has brought it further; the next attempt sees how far.
                    None => return Err(Error::RailSilent),
                }
            }
        }
        if row.state == sql::STAGED {
            let name = format!("pain.001-{id}.xml");
            folder.let_out(&row.staged, &name).await?;
        }
        self.end_message(db, row).await?;
        Ok(folder.clear_staged(&format!("{id}.")).await?)
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
        let addresses = self.addresses_of(row, items.len())?;
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
