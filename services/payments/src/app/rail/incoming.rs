//! Taking files in: each of them once, by its bytes and by its sender's id. What is noted from a
//! file only moves forward, so one whose taking was cut short is taken again from its beginning.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::{Fault as _, timestamp};
use publica_store::Db;
use publica_types::Uuid;
use serde_json::json;

use super::{Ending, Fact, Noted, system, wake};
use crate::app::{App, entry};
use crate::config::FileRailConfig;
use crate::domain::currency;
use crate::domain::iso20022::account::{Booking, Sheet};
use crate::domain::iso20022::status::{Report, Said};
use crate::domain::iso20022::{self, Document};
use crate::error::Error;
use crate::rail::folder::{Content, Folder};
use crate::store::outbox::{self as sql, ItemRow, NewFile};
use crate::store::statement;

/// Lines in one message to ourselves.
const LINES_AT_ONCE: usize = 2_000;

/// What stops a file.
enum Stop {
    /// The file is not taken, for this reason.
    Refused(String),
    /// Something else is wrong: the file is looked at again.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl App {
    /// Takes in what a bank has put into a rail's folder.
    pub(crate) async fn take_in(
        &self,
        db: &Db,
        rail: &str,
        files: &FileRailConfig,
    ) -> Result<(), Error> {
        let folder = Folder::open(&files.folder, db.tenant()).await?;
        for name in folder.incoming().await? {
            let bytes = match folder.read(&name, files.max_file_bytes).await? {
                Content::Gone => continue,
                Content::TooLarge => Err(Stop::Refused(format!(
                    "the file has more than {} bytes",
                    files.max_file_bytes
                ))),
                Content::Bytes(bytes) => Ok(bytes),
            };
            let taken = match bytes {
                Ok(bytes) => self.take_file(db, rail, bytes).await,
                Err(stop) => Err(stop),
            };
            match taken {
                Ok(()) => folder.set_done(&name).await?,
                Err(Stop::Refused(reason)) => {
                    self.note_refusal(db, rail, &reason).await?;
                    folder.set_refused(&name, &reason).await?;
                }
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Ok(())
    }

    async fn take_file(&self, db: &Db, rail: &str, bytes: Vec<u8>) -> Result<(), Stop> {
        let fingerprint = digest(&SHA256, &bytes).as_ref().to_vec();
        if sql::has_file(&mut db.clone(), &fingerprint).await? {
            return Ok(());
        }
        // A large file takes a while to read.
        let read = tokio::task::spawn_blocking(move || iso20022::read(&bytes)).await;
        let document = match read.map_err(std::io::Error::other)? {
            Ok(document) => document,
            Err(fault) => return Err(Stop::Refused(fault.to_string())),
        };
        let new = NewFile {
            digest: fingerprint,
            rail: rail.to_owned(),
            kind: document.kind(),
            file_id: document.id().to_owned(),
        };
        let known = (rail, new.kind, new.file_id.as_str());
        if sql::file_of(&mut db.clone(), known).await?.is_some() {
            let other = "another file of the same message id was taken in before";
            return Err(Stop::Refused(other.to_owned()));
        }
        let (noted, statements) = match &document {
            Document::Status(report) => {
                let facts = self.facts_of_report(db, rail, report).await?;
                (self.note(db, rail, &facts).await?, 0)
            }
            Document::Notice(notice) => {
                let sheets = self.spread(db, rail, &notice.sheets).await?;
                (self.note(db, rail, &facts_of(&sheets)).await?, 0)
            }
            Document::Statement(notice) => {
                let sheets = self.spread(db, rail, &notice.sheets).await?;
                (self.take_statements(db, rail, &sheets).await?, sheets.len())
            }
        };
        self.record(db, new, noted, statements).await?;
        Ok(())
    }

    /// Remembers a file, and has the batches looked at that it is about.
    async fn record(
        &self,
        db: &Db,
        new: NewFile,
        noted: Noted,
        statements: usize,
    ) -> Result<(), Error> {
        let input = (system(db), new, noted, statements);
        db.write("payments.rail_file", input, |tx, input| {
            Box::pin(async move {
                let (origin, new, noted, statements) = input;
                sql::insert_file(tx, new).await?;
                wake(tx, &noted.batches).await?;
                let body = json!({
                    "rail": new.rail,
                    "kind": new.kind,
                    "settled": noted.settled,
                    "rejected": noted.rejected,
                    "unchanged": noted.unchanged,
                    "unknown": noted.unknown,
                    "differing": noted.differing,
                    "contradicting": noted.contradicting,
                    "statements": statements,
                });
                let id = hex::encode(&new.digest);
                append(
                    tx,
                    origin,
                    entry("payments.rail.file_taken", "rail_file", id, body),
                );
                Ok(())
            })
        })
        .await
    }

    async fn note_refusal(&self, db: &Db, rail: &str, reason: &str) -> Result<(), Error> {
        tracing::warn!(rail, reason, "a file of a rail was refused");
        let input = (system(db), rail.to_owned(), reason.to_owned());
        db.write(
            "payments.rail_refused",
            input,
            |tx, (origin, rail, reason)| {
                Box::pin(async move {
                    let body = json!({"reason": reason});
                    append(
                        tx,
                        origin,
                        entry("payments.rail.file_refused", "rail", rail, body),
                    );
                    Ok(())
                })
            },
        )
        .await
    }

    /// What a report says, payment by payment.
    async fn facts_of_report(
        &self,
        db: &Db,
        rail: &str,
        report: &Report,
    ) -> Result<Vec<Fact>, Error> {
        let mut facts: Vec<Fact> = report
            .payments
            .iter()
            .map(|payment| Fact {
                end_to_end_id: payment.end_to_end_id,
                ending: ending(&payment.said),
                amount: payment.amount,
            })
            .collect();
        let (Some(of_all), Some(message_id)) = (ending(&report.group), report.original) else {
            return Ok(facts);
        };
        let named: BTreeSet<Uuid> = facts.iter().filter_map(|fact| fact.end_to_end_id).collect();
        let rest = self.items_of(db, rail, message_id).await?;
        let rest = rest
            .into_iter()
            .filter(|item| !named.contains(&item.end_to_end));
        facts.extend(rest.map(|item| Fact {
            end_to_end_id: Some(item.end_to_end),
            ending: Some(of_all.clone()),
            amount: None,
        }));
        Ok(facts)
    }

    /// The items of a message of this rail that may have been paid.
    async fn items_of(&self, db: &Db, rail: &str, message_id: Uuid) -> Result<Vec<ItemRow>, Error> {
        let row = sql::find(&mut db.clone(), message_id).await?;
        if row.is_none_or(|row| row.rail != rail) {
            return Ok(Vec::new());
        }
        let mut items = sql::items(&mut db.clone(), message_id).await?;
        items.retain(|item| item.state != sql::REJECTED);
        Ok(items)
    }

    /// Puts the payments of a message in place of a booking of all of them, if they add up to it.
    async fn spread(&self, db: &Db, rail: &str, sheets: &[Sheet]) -> Result<Vec<Sheet>, Error> {
        let mut spread = Vec::with_capacity(sheets.len());
        for sheet in sheets {
            let mut bookings = Vec::with_capacity(sheet.bookings.len());
            for booking in &sheet.bookings {
                match booking.whole {
                    Some((message_id, count)) if booking.out => {
                        let items = self.items_of(db, rail, message_id).await?;
                        bookings.extend(parts(booking, count, &items));
                    }
                    _ => bookings.push(booking.clone()),
                }
            }
            spread.push(Sheet {
                bookings,
                ..sheet.clone()
            });
        }
        Ok(spread)
    }

    /// Takes statements in: outcomes first, so that matching finds them.
    async fn take_statements(&self, db: &Db, rail: &str, sheets: &[Sheet]) -> Result<Noted, Stop> {
        let mut uploads = Vec::new();
        for sheet in sheets {
            uploads.extend(upload(rail, sheet)?);
        }
        let mut fresh = Vec::new();
        for (id, messages) in uploads {
            let row = statement::find(&mut db.clone(), &id).await?;
            match row.is_some_and(|row| row.state != statement::RECEIVING) {
                // Nothing is changed by a file that contradicts what is on record.
                true => self.send_statement(db, messages).await?,
                false => fresh.push(messages),
            }
        }
        let noted = self.note(db, rail, &facts_of(sheets)).await?;
        for messages in fresh {
            self.send_statement(db, messages).await?;
        }
        Ok(noted)
    }

    async fn send_statement(
        &self,
        db: &Db,
        messages: Vec<pb::UploadStatementRequest>,
    ) -> Result<(), Stop> {
        let stream = futures::stream::iter(messages.into_iter().map(Ok));
        match self.upload_statement(&system(db), stream).await {
            Ok(_) => Ok(()),
            Err(Error::Exists { .. }) => {
                let other = "a statement of the same id and other content is on record";
                Err(Stop::Refused(other.to_owned()))
            }
            Err(Error::Invalid(invalid)) => {
                let first = invalid.violations().into_iter().next();
                let (field, what) = first.unwrap_or_default();
                Err(Stop::Refused(format!("{field}: {what}")))
            }
            Err(error) => Err(Stop::Failed(error)),
        }
    }
}

fn ending(said: &Said) -> Option<Ending> {
    match said {
        Said::Settled => Some(Ending::Settled),
        Said::Rejected { reason_code } => Some(Ending::Rejected(reason_code.clone())),
        Said::Pending => None,
    }
}

fn facts_of(sheets: &[Sheet]) -> Vec<Fact> {
    let bookings = sheets.iter().flat_map(|sheet| &sheet.bookings);
    let ours = bookings.filter(|booking| booking.end_to_end_id.is_some());
    ours.map(|booking| Fact {
        end_to_end_id: booking.end_to_end_id,
        ending: Some(match booking.out {
            true => Ending::Settled,
            false => Ending::Returned(booking.reason_code.clone()),
        }),
        amount: Some(booking.amount),
    })
    .collect()
}

/// The payments that a booking of all of them stands for; the booking itself if it does not.
fn parts(booking: &Booking, count: usize, items: &[ItemRow]) -> Vec<Booking> {
    let sum: i128 = items.iter().map(|item| i128::from(item.amount_minor)).sum();
    if items.len() != count || sum != i128::from(booking.amount.amount_minor) {
        return vec![booking.clone()];
    }
    let part = |item: &ItemRow| {
        let mut amount = booking.amount;
        amount.amount_minor = item.amount_minor;
        Booking {
            reference: String::new(),
            end_to_end_id: Some(item.end_to_end),
            whole: None,
            amount,
            ..booking.clone()
        }
    };
    items.iter().map(part).collect()
}

/// A statement as if it were uploaded, under an id that is the rail's own; nothing if it says
/// of no currency or time what it is about.
fn upload(
    rail: &str,
    sheet: &Sheet,
) -> Result<Option<(String, Vec<pb::UploadStatementRequest>)>, Stop> {
    let (Some(unit), Some((from, to))) = (sheet.currency, sheet.period()) else {
        return Ok(None);
    };
    if currency::known(unit.code()).is_none() {
        return Err(Stop::Refused(
            "Acct/Ccy: is not a currency that can be paid".to_owned(),
        ));
    }
    if sheet
        .bookings
        .iter()
        .any(|line| line.amount.currency != unit)
    {
        let other = "Ntry/Amt: is in another currency than the account";
        return Err(Stop::Refused(other.to_owned()));
    }
    let id = format!("{rail}:{}", sheet.id);
    let mut messages = vec![pb::UploadStatementRequest {
        header: Some(pb::StatementHeader {
            statement_id: id.clone(),
            currency: unit.code().to_owned(),
            from_time: Some(timestamp(from)),
            to_time: Some(timestamp(to)),
        }),
        ..Default::default()
    }];
    let lines: Vec<pb::StatementLine> = sheet
        .bookings
        .iter()
        .zip(sheet.references())
        // Nothing moved.
        .filter(|(booking, _)| booking.amount.amount_minor > 0)
        .map(|(booking, reference)| line(booking, reference))
        .collect();
    let parts = lines.chunks(LINES_AT_ONCE);
    messages.extend(parts.map(|part| pb::UploadStatementRequest {
        lines: part.to_vec(),
        ..Default::default()
    }));
    messages.push(pb::UploadStatementRequest {
        complete: true,
        ..Default::default()
    });
    Ok(Some((id, messages)))
}

fn line(booking: &Booking, reference: String) -> pb::StatementLine {
    let direction = match booking.out {
        true => pb::StatementDirection::Debit,
        false => pb::StatementDirection::Credit,
    };
    let id = booking.end_to_end_id.map(|id| id.to_string());
    pb::StatementLine {
        reference,
        end_to_end_id: id.unwrap_or_default(),
        direction: direction.into(),
        amount_minor: booking.amount.amount_minor,
        book_time: Some(timestamp(booking.at)),
    }
}
