//! Statements of rails and banks: taking them in, and dealing with what does not agree.

mod matching;
mod resolving;

use aws_lc_rs::digest::{Context, SHA256};
use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, from_timestamp, page_size, timestamp};
use publica_store::{Db, StoreError};
use publica_types::{Origin, Timestamp, Uuid};
use publica_work::{Job, enqueue_ordered};
use serde_json::json;

use crate::app::account::next;
use crate::app::validation::{Messages, next_message};
use crate::app::{App, check_text, entry, wire};
use crate::domain::currency;
use crate::domain::reconcile::AGES;
use crate::error::Error;
use crate::jobs::MATCH_STATEMENT;
use crate::store::reconciliation::{self as items, ItemRow};
use crate::store::statement::{self as sql, Header, NewLine, StatementRow};

const ID_CHARS: usize = 64;
const REFERENCE_CHARS: usize = 35;
/// ISO 20022 has 35 for an end-to-end id and 36 for a UETR; ours is a UUID, with or without
/// hyphens.
const END_TO_END_CHARS: usize = 36;
/// Lines in one unit of work, in one message, and in one statement.
const AT_ONCE: usize = 2_000;
const MOST_AT_ONCE: usize = 10_000;
const MOST: i64 = 1_000_000;
/// The longest time that a statement may be about.
const MOST_DAYS: u64 = 366;
const DAY_HOURS: u64 = 24;

/// A statement on its way in.
struct Upload {
    row: StatementRow,
    fingerprint: Context,
    waiting: Vec<NewLine>,
    line_count: i64,
}

impl Upload {
    fn put(&mut self, text: &[u8]) {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.fingerprint.update(&length.to_be_bytes());
        self.fingerprint.update(text);
    }

    /// Takes a line in; the fingerprint covers all that it says.
    fn take(&mut self, line: &pb::StatementLine) -> Result<(), Error> {
        if self.line_count >= MOST {
            return Err(Invalid::new()
                .add("lines", "must be at most 1000000")
                .into());
        }
        let new = read_line(&self.row, self.line_count, line)?;
        self.put(line.reference.as_bytes());
        self.put(line.end_to_end_id.as_bytes());
        self.put(&new.direction.to_be_bytes());
        self.put(&new.amount_minor.to_be_bytes());
        self.put(&new.booked_at.micros().to_be_bytes());
        self.waiting.push(new);
        self.line_count += 1;
        Ok(())
    }
}

impl App {
    pub(crate) async fn upload_statement(
        &self,
        origin: &Origin,
        mut stream: impl Messages<pb::UploadStatementRequest>,
    ) -> Result<pb::UploadStatementResponse, Error> {
        self.confine(origin, &[]).await?;
        let missing = || Invalid::new().add("header", "is required in the first message");
        let mut message = next_message(&mut stream).await?.ok_or_else(missing)?;
        let header = read_header(message.header.take().ok_or_else(missing)?)?;
        let db = self.db(origin).await?;
        let mut upload = self.begin(&db, &header).await?;
        let fresh = upload.row.state == sql::RECEIVING;
        loop {
            if message.lines.len() > MOST_AT_ONCE {
                let most = "must be at most 10000 a message";
                return Err(Invalid::new().add("lines", most).into());
            }
            for line in &message.lines {
                upload.take(line)?;
                if upload.waiting.len() == AT_ONCE {
                    store(&db, &mut upload, fresh).await?;
                }
            }
            if message.complete {
                break;
            }
            let incomplete = || Invalid::new().add("complete", "must be true in the last message");
            message = next_message(&mut stream).await?.ok_or_else(incomplete)?;
        }
        store(&db, &mut upload, fresh).await?;
        self.end(&db, origin, upload, fresh).await?;
        let row = sql::find(&mut db.clone(), &header.statement_id).await?;
        let row = row.ok_or(Error::corrupt("a statement is missing"))?;
        Ok(pb::UploadStatementResponse {
            statement: Some(on_wire(row)),
        })
    }

    /// Announces a statement. One that was cut short begins anew, without what it left.
    async fn begin(&self, db: &Db, header: &Header) -> Result<Upload, Error> {
        let begun = db.write("payments.begin_statement", header.clone(), |tx, header| {
            Box::pin(async move { Ok::<_, Error>(sql::begin(tx, header).await?) })
        });
        let row = begun.await?;
        if row.state == sql::RECEIVING {
            let step = i64::try_from(MOST_AT_ONCE).unwrap_or(i64::MAX);
            for part in 1.. {
                let input = (row.statement_id.clone(), part * step);
                let cleared = db.write("payments.clear_statement", input, |tx, (id, below)| {
                    Box::pin(async move { Ok::<_, Error>(sql::clear(tx, id, *below).await?) })
                });
                if cleared.await? == 0 {
                    break;
                }
            }
        }
        let mut upload = Upload {
            row,
            fingerprint: Context::new(&SHA256),
            waiting: Vec::new(),
            line_count: 0,
        };
        upload.put(header.currency.as_bytes());
        upload.put(&header.from_at.micros().to_be_bytes());
        upload.put(&header.to_at.micros().to_be_bytes());
        Ok(upload)
    }

    async fn end(
        &self,
        db: &Db,
        origin: &Origin,
        upload: Upload,
        fresh: bool,
    ) -> Result<(), Error> {
        let fingerprint = upload.fingerprint.finish().as_ref().to_vec();
        let row = upload.row;
        if !fresh {
            return match row.fingerprint == Some(fingerprint) {
                true => Ok(()),
                false => Err(Error::Exists { kind: "statement" }),
            };
        }
        let input = (origin.clone(), row, fingerprint, upload.line_count);
        db.write("payments.end_statement", input, |tx, input| {
            Box::pin(async move {
                let (origin, row, fingerprint, count) = input;
                let id = row.statement_id.as_str();
                if !sql::complete(tx, (id, row.attempt), fingerprint).await? {
                    return Err(Error::Store(StoreError::Conflict { source: None }));
                }
                // One after the other, so that none looks at what another is looking at.
                let job = Job::new(MATCH_STATEMENT, id, id.as_bytes());
                let number = tx.now().micros();
                enqueue_ordered(tx, origin, job, &row.currency, number).await?;
                let body = json!({"lines": count, "currency": row.currency});
                let received = entry("payments.statement.received", "statement", id, body);
                append(tx, origin, received);
                Ok(())
            })
        })
        .await
    }

    pub(crate) async fn get_statement(
        &self,
        origin: &Origin,
        request: pb::GetStatementRequest,
    ) -> Result<pb::GetStatementResponse, Error> {
        self.confine(origin, &[]).await?;
        let mut db = self.db(origin).await?;
        let row = sql::find(&mut db, &request.statement_id).await?;
        let row = row.ok_or(Error::not_found("statement"))?;
        Ok(pb::GetStatementResponse {
            statement: Some(on_wire(row)),
        })
    }

    pub(crate) async fn list_statements(
        &self,
        origin: &Origin,
        request: pb::ListStatementsRequest,
    ) -> Result<pb::ListStatementsResponse, Error> {
        self.confine(origin, &[]).await?;
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&"statements", &request.page_token)?;
        let mut rows = sql::list(&mut db, &after.unwrap_or_default(), limit + 1).await?;
        let token = |row: &StatementRow| PageToken::encode(&"statements", &row.statement_id);
        let next_page_token = next(&mut rows, limit, token);
        Ok(pb::ListStatementsResponse {
            statements: rows.into_iter().map(on_wire).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn list_reconciliation_items(
        &self,
        origin: &Origin,
        request: pb::ListReconciliationItemsRequest,
    ) -> Result<pb::ListReconciliationItemsResponse, Error> {
        self.confine(origin, &[]).await?;
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let wanted = (i64::from(request.state), i64::from(request.kind));
        let after: Option<(i64, Uuid)> = PageToken::decode(&wanted, &request.page_token)?;
        let (since, id) = after.unwrap_or((0, Uuid::nil()));
        let after = (Timestamp::from_micros(since), id);
        let mut rows = items::list(&mut db, after, wanted, limit + 1).await?;
        let next_page_token = next(&mut rows, limit, |row: &ItemRow| {
            PageToken::encode(&wanted, &(row.since.micros(), row.item_id))
        });
        Ok(pb::ListReconciliationItemsResponse {
            items: rows.into_iter().map(item_on_wire).collect(),
            next_page_token,
        })
    }

    pub(crate) async fn get_reconciliation_ageing(
        &self,
        origin: &Origin,
        request: pb::GetReconciliationAgeingRequest,
    ) -> Result<pb::GetReconciliationAgeingResponse, Error> {
        self.confine(origin, &[]).await?;
        if currency::known(&request.currency).is_none() {
            let unknown = Invalid::new().add("currency", "is not a currency that can be paid");
            return Err(unknown.into());
        }
        let now = self.clock.now();
        // An item is of a bucket until the day after its last is over.
        let after = [1, 7, 30, 90].map(|days: u64| {
            let span = std::time::Duration::from_hours((days + 1) * DAY_HOURS);
            now.minus(span)
        });
        let rows = items::ages(&mut self.db(origin).await?, &request.currency, after).await?;
        let bucket = |row: items::AgeRow| {
            let at = usize::try_from(row.bucket).unwrap_or_default();
            let (from_days, to_days) = AGES.get(at).copied().unwrap_or_default();
            pb::AgeingBucket {
                kind: wire::small(row.kind),
                from_days,
                to_days,
                tally: Some(wire::tally(row.item_count, row.amount_minor)),
            }
        };
        Ok(pb::GetReconciliationAgeingResponse {
            buckets: rows.into_iter().map(bucket).collect(),
        })
    }
}

/// Stores the lines that wait, unless the statement is there already.
async fn store(db: &Db, upload: &mut Upload, fresh: bool) -> Result<(), Error> {
    let lines = std::mem::take(&mut upload.waiting);
    if !fresh || lines.is_empty() {
        return Ok(());
    }
    let input = (upload.row.statement_id.clone(), upload.row.attempt, lines);
    db.write("payments.statement_lines", input, |tx, input| {
        Box::pin(async move {
            let (id, attempt, lines) = input;
            let stored = sql::add_lines(tx, (id, *attempt), lines).await?;
            let stored = stored.ok_or(Error::Store(StoreError::Conflict { source: None }))?;
            match usize::try_from(stored) == Ok(lines.len()) {
                true => Ok(()),
                false => Err(Invalid::new()
                    .add("lines.reference", "is used twice in the statement")
                    .into()),
            }
        })
    })
    .await
}

fn read_header(given: pb::StatementHeader) -> Result<Header, Error> {
    let mut invalid = Invalid::new();
    let id = &given.statement_id;
    check_text(&mut invalid, "header.statement_id", id, ID_CHARS);
    if currency::known(&given.currency).is_none() {
        invalid.push("header.currency", "is not a currency that can be paid");
    }
    let time = |field: &str, time: Option<&prost_types::Timestamp>| match time {
        Some(time) => Ok(from_timestamp(field, time)?),
        None => Err(Error::from(Invalid::new().add(field, "is required"))),
    };
    let from_at = time("header.from_time", given.from_time.as_ref())?;
    let to_at = time("header.to_time", given.to_time.as_ref())?;
    let most = std::time::Duration::from_hours(MOST_DAYS * DAY_HOURS);
    if to_at <= from_at || to_at.since(from_at) > most {
        let wrong = "must be after from_time, by at most 366 days";
        invalid.push("header.to_time", wrong);
    }
    invalid.check()?;
    Ok(Header {
        statement_id: given.statement_id,
        currency: given.currency,
        from_at,
        to_at,
    })
}

fn read_line(
    statement: &StatementRow,
    line_no: i64,
    given: &pb::StatementLine,
) -> Result<NewLine, Error> {
    let mut invalid = Invalid::new();
    let field = |name: &str| format!("lines[{line_no}].{name}");
    let name = field("reference");
    check_text(&mut invalid, &name, &given.reference, REFERENCE_CHARS);
    if given.end_to_end_id.chars().count() > END_TO_END_CHARS {
        let name = field("end_to_end_id");
        invalid.push(name, "must have at most 36 characters");
    }
    if given.direction() == pb::StatementDirection::Unspecified {
        invalid.push(field("direction"), "must be debit or credit");
    }
    if given.amount_minor <= 0 {
        invalid.push(field("amount_minor"), "must be above zero");
    }
    let booked_at = match &given.book_time {
        Some(time) => from_timestamp(&field("book_time"), time)?,
        None => Timestamp::EPOCH,
    };
    if booked_at < statement.from_at || booked_at >= statement.to_at {
        invalid.push(field("book_time"), "must be within the statement's time");
    }
    invalid.check()?;
    Ok(NewLine {
        line_no,
        reference: given.reference.clone(),
        // Only an id of the form that ours have can be one.
        end_to_end: given.end_to_end_id.parse().unwrap_or(Uuid::nil()),
        direction: i64::from(given.direction),
        amount_minor: given.amount_minor,
        booked_at,
    })
}

fn on_wire(row: StatementRow) -> pb::Statement {
    pb::Statement {
        state: wire::small(row.state + 1),
        paid_out: Some(wire::tally(row.debit_count, row.debit_minor)),
        paid_in: Some(wire::tally(row.credit_count, row.credit_minor)),
        matched_count: row.matched_count,
        item_count: row.item_count,
        from_time: Some(timestamp(row.from_at)),
        to_time: Some(timestamp(row.to_at)),
        create_time: Some(timestamp(row.created_at)),
        statement_id: row.statement_id,
        currency: row.currency,
    }
}

fn item_on_wire(row: ItemRow) -> pb::ReconciliationItem {
    let text = |id: Option<String>| id.unwrap_or_default();
    pb::ReconciliationItem {
        item_id: row.item_id.to_string(),
        kind: wire::small(row.kind),
        currency: row.currency,
        expected_minor: row.expected_minor,
        found_minor: row.found_minor,
        batch_id: text(row.batch_id.map(|id| id.to_string())),
        ordinal: row.ordinal.unwrap_or_default(),
        statement_id: match row.line_no {
            Some(_) => row.statement_id,
            None => String::new(),
        },
        reference: text(row.reference),
        since_time: Some(timestamp(row.since)),
        state: wire::small(row.state),
        resolution: wire::small(row.resolution),
        maker: row.maker,
        checker: row.checker,
        transfer_id: text(row.transfer_id.map(|id| id.to_string())),
    }
}
