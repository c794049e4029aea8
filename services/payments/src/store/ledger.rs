//! Accounts, transfers and movements.
//!
//! [`post`] is the only way money moves: it locks every account of a group in one statement,
//! decides in memory, and writes each touched account once.

use std::collections::{BTreeMap, BTreeSet};

use publica_store::{StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use crate::domain::ids::{AccountId, GROUP_LIMIT, GroupId, TransferId};
use crate::domain::ledger::{Account, Action, Books, Counters, Refusal, Transfer};
use crate::error::Error;
use crate::store::Ask;
use crate::store::columns::bind_columns;
use crate::store::period;

statements! {
    // FOR UPDATE is a syntax error on SQLite, whose writer is alone anyway.
    LOCK = {
        sqlite: "SELECT account_id, code, currency, kind, debits_pending, debits_posted, \
            credits_pending, credits_posted, floor_minor, closed, version, moved_at, closed_to \
            FROM ledger_account WHERE account_id IN (SELECT unhex(value) FROM json_each($1)) \
            ORDER BY account_id",
        postgres: "SELECT account_id, code, currency, kind, debits_pending, debits_posted, \
            credits_pending, credits_posted, floor_minor, closed, version, moved_at, closed_to \
            FROM ledger_account WHERE account_id = ANY($1::uuid[]) \
            ORDER BY account_id FOR UPDATE",
    },
    // Periods that are being closed do not know it, so nothing moves it inside them.
    OPEN = "INSERT INTO ledger_account (account_id, code, currency, kind, floor_minor, closed, \
        created_at, closed_to) VALUES ($1, $2, $3, $4, $5, $6, $7, \
        (SELECT MAX(ends_at) FROM ledger_period WHERE state <> 1)) ON CONFLICT DO NOTHING",
    FIND = "SELECT account_id, code, currency, kind, debits_pending, debits_posted, \
        credits_pending, credits_posted, floor_minor, closed, version, moved_at, closed_to \
        FROM ledger_account WHERE account_id = $1",
    FIND_BY_CODE = "SELECT account_id, code, currency, kind, debits_pending, debits_posted, \
        credits_pending, credits_posted, floor_minor, closed, version, moved_at, closed_to \
        FROM ledger_account WHERE code = $1",
    LIST = "SELECT account_id, code, currency, kind, debits_pending, debits_posted, \
        credits_pending, credits_posted, floor_minor, closed, version, moved_at, closed_to \
        FROM ledger_account WHERE code > $1 AND substr(code, 1, length($2)) = $2 \
        ORDER BY code LIMIT $3",
    AS_OF = "SELECT group_id, moved_at, version, debits_pending, debits_posted, \
        credits_pending, credits_posted FROM account_movement \
        WHERE account_id = $1 AND moved_at <= $2 ORDER BY moved_at DESC, version DESC LIMIT 1",
    MOVEMENTS = "SELECT group_id, moved_at, version, debits_pending, debits_posted, \
        credits_pending, credits_posted FROM account_movement \
        WHERE account_id = $1 AND (moved_at, version) > ($2, $3) \
        ORDER BY moved_at, version LIMIT $4",
    // Lists: an array on PostgreSQL, JSON on SQLite.
    FIND_PENDING = {
        sqlite: "SELECT transfer_id, debit_id, credit_id, amount_minor, kind, made_at, \
            pending_id, reason FROM transfer \
            WHERE transfer_id IN (SELECT unhex(value) FROM json_each($1))",
        postgres: "SELECT transfer_id, debit_id, credit_id, amount_minor, kind, made_at, \
            pending_id, reason FROM transfer WHERE transfer_id = ANY($1::uuid[])",
    },
    FIND_RESOLVED = {
        sqlite: "SELECT pending_id FROM transfer_resolution \
            WHERE pending_id IN (SELECT unhex(value) FROM json_each($1))",
        postgres: "SELECT pending_id FROM transfer_resolution \
            WHERE pending_id = ANY($1::uuid[])",
    },
    FIND_TRANSFER = "SELECT transfer_id, debit_id, credit_id, amount_minor, kind, made_at, \
        pending_id, reason FROM transfer WHERE transfer_id = $1",
    RESOLUTION = "SELECT outcome FROM transfer_resolution WHERE pending_id = $1",
    INSERT_TRANSFERS = {
        sqlite: "INSERT INTO transfer (transfer_id, debit_id, credit_id, amount_minor, kind, \
            made_at, pending_id, reason) SELECT unhex(value ->> 0), unhex(value ->> 1), \
            unhex(value ->> 2), value ->> 3, value ->> 4, $1, unhex(value ->> 5), value ->> 6 \
            FROM json_each($2)",
        postgres: "INSERT INTO transfer (transfer_id, debit_id, credit_id, amount_minor, kind, \
            made_at, pending_id, reason) SELECT a, b, c, d, e, $1, f, g \
            FROM UNNEST($2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[], \
            $7::uuid[], $8::text[]) AS v (a, b, c, d, e, f, g)",
    },
    INSERT_RESOLUTION = "INSERT INTO transfer_resolution (pending_id, outcome, amount_minor, \
        transfer_id, resolved_at) VALUES ($1, $2, $3, $4, $5)",
    INSERT_DUE = "INSERT INTO transfer_due (pending_id, expires_at) VALUES ($1, $2)",
    DELETE_DUE = "DELETE FROM transfer_due WHERE pending_id = $1",
    LIST_DUE = "SELECT pending_id FROM transfer_due WHERE expires_at <= $1 \
        ORDER BY expires_at, pending_id LIMIT $2",
    INSERT_MOVEMENTS = {
        sqlite: "INSERT INTO account_movement (group_id, account_id, moved_at, version, \
            debits_pending, debits_posted, credits_pending, credits_posted) \
            SELECT $1, unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
            value ->> 5, value ->> 6 FROM json_each($2)",
        postgres: "INSERT INTO account_movement (group_id, account_id, moved_at, version, \
            debits_pending, debits_posted, credits_pending, credits_posted) \
            SELECT $1, a, b, c, d, e, f, g FROM UNNEST($2::uuid[], $3::timestamptz[], \
            $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) \
            AS v (a, b, c, d, e, f, g)",
    },
    UPDATE_BALANCES = {
        sqlite: "UPDATE ledger_account SET moved_at = v.b, version = v.c, debits_pending = v.d, \
            debits_posted = v.e, credits_pending = v.f, credits_posted = v.g FROM (SELECT \
            unhex(value ->> 0) AS a, value ->> 1 AS b, value ->> 2 AS c, value ->> 3 AS d, \
            value ->> 4 AS e, value ->> 5 AS f, value ->> 6 AS g FROM json_each($1)) AS v \
            WHERE account_id = v.a",
        postgres: "UPDATE ledger_account SET moved_at = v.b, version = v.c, \
            debits_pending = v.d, debits_posted = v.e, credits_pending = v.f, \
            credits_posted = v.g FROM UNNEST($1::uuid[], $2::timestamptz[], $3::bigint[], \
            $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) \
            AS v (a, b, c, d, e, f, g) WHERE account_id = v.a",
    },
    CHECK_CURRENCIES = "SELECT currency, CAST(SUM(debits_posted) AS BIGINT) AS debits_posted, \
        CAST(SUM(credits_posted) AS BIGINT) AS credits_posted, \
        CAST(SUM(debits_pending) AS BIGINT) AS debits_pending, \
        CAST(SUM(credits_pending) AS BIGINT) AS credits_pending, \
        COUNT(*) AS account_count FROM ledger_account GROUP BY currency ORDER BY currency",
    CHECK_ACCOUNTS = "SELECT a.code FROM ledger_account a \
        LEFT JOIN (SELECT debit_id AS account_id, \
            SUM(CASE WHEN t.kind IN (0, 2) THEN t.amount_minor ELSE 0 END) AS posted, \
            SUM(CASE WHEN t.kind = 1 AND r.pending_id IS NULL THEN t.amount_minor ELSE 0 END) \
            AS pending FROM transfer t \
            LEFT JOIN transfer_resolution r ON r.pending_id = t.transfer_id \
            GROUP BY debit_id) d ON d.account_id = a.account_id \
        LEFT JOIN (SELECT credit_id AS account_id, \
            SUM(CASE WHEN t.kind IN (0, 2) THEN t.amount_minor ELSE 0 END) AS posted, \
            SUM(CASE WHEN t.kind = 1 AND r.pending_id IS NULL THEN t.amount_minor ELSE 0 END) \
            AS pending FROM transfer t \
            LEFT JOIN transfer_resolution r ON r.pending_id = t.transfer_id \
            GROUP BY credit_id) c ON c.account_id = a.account_id \
        WHERE a.debits_posted <> COALESCE(d.posted, 0) \
            OR a.debits_pending <> COALESCE(d.pending, 0) \
            OR a.credits_posted <> COALESCE(c.posted, 0) \
            OR a.credits_pending <> COALESCE(c.pending, 0) \
        ORDER BY a.code LIMIT 100",
    COUNT_TRANSFERS = "SELECT COUNT(*) FROM transfer",
}

/// Outcomes of a hold in the store.
pub(crate) const POSTED: i64 = 2;
pub(crate) const VOIDED: i64 = 3;
pub(crate) const EXPIRED: i64 = 4;

/// An account as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct AccountRow {
    pub(crate) account_id: AccountId,
    pub(crate) code: String,
    pub(crate) currency: String,
    pub(crate) kind: i64,
    pub(crate) debits_pending: i64,
    pub(crate) debits_posted: i64,
    pub(crate) credits_pending: i64,
    pub(crate) credits_posted: i64,
    pub(crate) floor_minor: Option<i64>,
    pub(crate) closed: bool,
    pub(crate) version: i64,
    pub(crate) moved_at: Option<Timestamp>,
    pub(crate) closed_to: Option<Timestamp>,
}

impl AccountRow {
    pub(crate) const fn counters(&self) -> Counters {
        Counters {
            debits_pending: self.debits_pending,
            debits_posted: self.debits_posted,
            credits_pending: self.credits_pending,
            credits_posted: self.credits_posted,
        }
    }
}

impl TryFrom<AccountRow> for Account {
    type Error = Error;

    fn try_from(row: AccountRow) -> Result<Self, Error> {
        Ok(Self {
            account_id: row.account_id,
            currency: row
                .currency
                .parse()
                .map_err(|_| Error::corrupt("account currency"))?,
            floor: row.floor_minor,
            closed: row.closed,
            counters: row.counters(),
            version: row.version,
            moved_at: row.moved_at.unwrap_or(Timestamp::EPOCH),
            closed_to: row.closed_to,
        })
    }
}

/// A transfer as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct TransferRow {
    pub(crate) transfer_id: TransferId,
    pub(crate) debit_id: AccountId,
    pub(crate) credit_id: AccountId,
    pub(crate) amount_minor: i64,
    pub(crate) kind: i64,
    pub(crate) made_at: Timestamp,
    pub(crate) pending_id: Option<TransferId>,
    pub(crate) reason: String,
}

/// An account's counters after a group.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct MovementRow {
    pub(crate) group_id: GroupId,
    pub(crate) moved_at: Timestamp,
    pub(crate) version: i64,
    pub(crate) debits_pending: i64,
    pub(crate) debits_posted: i64,
    pub(crate) credits_pending: i64,
    pub(crate) credits_posted: i64,
}

/// The sums of one currency.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct CurrencyRow {
    pub(crate) currency: String,
    pub(crate) debits_posted: i64,
    pub(crate) credits_posted: i64,
    pub(crate) debits_pending: i64,
    pub(crate) credits_pending: i64,
    pub(crate) account_count: i64,
}

/// An account that is opened when it is first needed.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) account_id: AccountId,
    pub(crate) code: String,
    pub(crate) currency: String,
    pub(crate) kind: i64,
    pub(crate) floor: Option<i64>,
}

/// What the ledger is asked to do.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Makes a transfer of its own.
    Make(Transfer),
    /// Makes one that takes effect in the past.
    MakeAt(Transfer, Timestamp),
    /// Ends a hold, whose accounts and amount the ledger knows.
    End {
        pending: TransferId,
        ending: Ending,
        reason: String,
    },
}

impl Order {
    const fn effective_at(&self) -> Option<Timestamp> {
        match self {
            Self::MakeAt(_, effective_at) => Some(*effective_at),
            Self::Make(_) | Self::End { .. } => None,
        }
    }
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Moves so much, or all.
    Post(Option<i64>),
    Void,
    Expire,
}

/// A transfer that was made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) transfer_id: TransferId,
    pub(crate) transfer: Transfer,
    pub(crate) made_at: Timestamp,
    pub(crate) effective_at: Option<Timestamp>,
    pub(crate) currency: String,
}

/// Opens an account unless its code is taken; true if it was opened.
pub(crate) async fn open(tx: &mut Tx<'_>, opening: &Opening) -> Result<bool, StoreError> {
    let now = tx.now();
    let opened = tx
        .query(OPEN)
        .bind(opening.account_id)
        .bind(opening.code.as_str())
        .bind(opening.currency.as_str())
        .bind(opening.kind)
        .bind(opening.floor)
        .bind(false)
        .bind(now)
        .execute()
        .await?;
    Ok(opened == 1)
}

/// Makes transfers, each on its own: a refusal does not disturb its neighbours.
pub(crate) async fn post(
    tx: &mut Tx<'_>,
    group: GroupId,
    orders: &[Order],
) -> Result<Vec<Result<Made, Refusal>>, Error> {
    if orders.len() > GROUP_LIMIT {
        return Err(Error::corrupt("more transfers than a group may hold"));
    }
    let held = holds(tx, orders).await?;
    let mut books = lock(tx, orders, &held).await?;
    let mut resolved = resolved(tx, &held).await?;
    let closed_to = period::frontier(tx, orders).await?;
    let now = books.time(tx.now());
    let mut answers = Vec::with_capacity(orders.len());
    for (place, order) in orders.iter().enumerate() {
        let place = u16::try_from(place).unwrap_or(u16::MAX);
        let answer = decide(&mut books, order, &held, &mut resolved, closed_to);
        let answer = answer.map(|transfer| Made {
            transfer_id: group.transfer(place),
            currency: books
                .currency(transfer.debit)
                .map_or_else(String::new, |c| c.to_string()),
            transfer,
            made_at: now,
            effective_at: order.effective_at(),
        });
        answers.push(answer);
    }
    let made: Vec<(&Made, &Order)> = answers
        .iter()
        .zip(orders)
        .filter_map(|(answer, order)| Some((answer.as_ref().ok()?, order)))
        .collect();
    write(tx, group, &made, &books).await?;
    Ok(answers)
}

/// Makes all transfers or none.
pub(crate) async fn post_all(
    tx: &mut Tx<'_>,
    group: GroupId,
    orders: &[Order],
) -> Result<Vec<Made>, Error> {
    let answers = post(tx, group, orders).await?;
    answers
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(Error::Ledger)
}

type Holds = BTreeMap<TransferId, TransferRow>;

async fn holds(tx: &mut Tx<'_>, orders: &[Order]) -> Result<Holds, Error> {
    let ids: Vec<Uuid> = orders
        .iter()
        .filter_map(|order| match order {
            Order::End { pending, .. } => Some(pending.as_uuid()),
            Order::Make(_) | Order::MakeAt(..) => None,
        })
        .collect();
    if ids.is_empty() {
        return Ok(Holds::new());
    }
    let rows = tx
        .query(FIND_PENDING)
        .bind_list(&ids)
        .fetch_all::<TransferRow>()
        .await?;
    let pending = rows.into_iter().filter(|row| row.kind == 1);
    Ok(pending.map(|row| (row.transfer_id, row)).collect())
}

/// Locks the accounts of a group in order of their ids, so that groups cannot block each other.
async fn lock(tx: &mut Tx<'_>, orders: &[Order], held: &Holds) -> Result<Books, Error> {
    let mut ids: BTreeSet<Uuid> = BTreeSet::new();
    for order in orders {
        if let Order::Make(transfer) | Order::MakeAt(transfer, _) = order {
            ids.extend([transfer.debit.as_uuid(), transfer.credit.as_uuid()]);
        }
    }
    for hold in held.values() {
        ids.extend([hold.debit_id.as_uuid(), hold.credit_id.as_uuid()]);
    }
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let rows = tx
        .query(LOCK)
        .bind_list(&ids)
        .fetch_all::<AccountRow>()
        .await?;
    let accounts: Result<Vec<Account>, Error> = rows.into_iter().map(Account::try_from).collect();
    Ok(Books::new(accounts?))
}

/// Which holds have ended. Asked under the accounts' locks, so the answer stands.
async fn resolved(tx: &mut Tx<'_>, held: &Holds) -> Result<BTreeSet<TransferId>, Error> {
    if held.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids: Vec<Uuid> = held.keys().map(TransferId::as_uuid).collect();
    let rows = tx
        .query(FIND_RESOLVED)
        .bind_list(&ids)
        .fetch_scalars::<Uuid>()
        .await?;
    Ok(rows.into_iter().map(TransferId::from_uuid).collect())
}

fn decide(
    books: &mut Books,
    order: &Order,
    held: &Holds,
    resolved: &mut BTreeSet<TransferId>,
    closed_to: Timestamp,
) -> Result<Transfer, Refusal> {
    let transfer = match order {
        Order::Make(transfer) => transfer.clone(),
        Order::MakeAt(transfer, effective_at) => {
            if *effective_at < closed_to {
                return Err(Refusal::PeriodClosed);
            }
            books.effective(transfer, *effective_at)?;
            transfer.clone()
        }
        Order::End {
            pending,
            ending,
            reason,
        } => {
            let hold = held.get(pending).ok_or(Refusal::UnknownPending)?;
            if resolved.contains(pending) {
                return Err(Refusal::AlreadyResolved);
            }
            let (amount, action) = match ending {
                Ending::Post(amount) => {
                    let action = Action::Post {
                        pending: *pending,
                        held: hold.amount_minor,
                    };
                    (amount.unwrap_or(hold.amount_minor), action)
                }
                Ending::Void | Ending::Expire => {
                    (hold.amount_minor, Action::Void { pending: *pending })
                }
            };
            Transfer {
                debit: hold.debit_id,
                credit: hold.credit_id,
                amount_minor: amount,
                action,
                reason: reason.clone(),
            }
        }
    };
    books.apply(&transfer)?;
    if let Some(pending) = transfer.action.pending() {
        resolved.insert(pending);
    }
    Ok(transfer)
}

async fn write(
    tx: &mut Tx<'_>,
    group: GroupId,
    made: &[(&Made, &Order)],
    books: &Books,
) -> Result<(), Error> {
    if made.is_empty() {
        return Ok(());
    }
    let (now, engine) = (books.time(tx.now()), tx.engine());
    let all = || made.iter().map(|(made, _)| *made);
    let ids: Vec<Uuid> = all().map(|made| made.transfer_id.as_uuid()).collect();
    let debits: Vec<Uuid> = all().map(|made| made.transfer.debit.as_uuid()).collect();
    let credits: Vec<Uuid> = all().map(|made| made.transfer.credit.as_uuid()).collect();
    let amounts: Vec<i64> = all().map(|made| made.transfer.amount_minor).collect();
    let kinds: Vec<i64> = all().map(|made| made.transfer.action.code()).collect();
    let pending: Vec<Option<Uuid>> = all()
        .map(|made| made.transfer.action.pending().map(|id| id.as_uuid()))
        .collect();
    let reasons: Vec<String> = all().map(|made| made.transfer.reason.clone()).collect();
    let insert = tx.query(INSERT_TRANSFERS).bind(now);
    bind_columns!(
        engine, insert, &ids, &debits, &credits, &amounts, &kinds, &pending, &reasons
    )
    .execute()
    .await?;
    for (made, order) in made {
        write_hold(tx, made, order).await?;
        period::insert_effective(tx, made).await?;
    }
    write_balances(tx, group, &books.moved(now)).await
}

/// What a hold leaves beside its transfer: a date on which it lapses, or its end.
async fn write_hold(tx: &mut Tx<'_>, made: &Made, order: &Order) -> Result<(), Error> {
    let now = tx.now();
    if let Action::Pending {
        expires_at: Some(expires_at),
    } = made.transfer.action
    {
        tx.query(INSERT_DUE)
            .bind(made.transfer_id)
            .bind(expires_at)
            .execute()
            .await?;
    }
    let Order::End {
        pending, ending, ..
    } = order
    else {
        return Ok(());
    };
    let (outcome, amount) = match ending {
        Ending::Post(_) => (POSTED, made.transfer.amount_minor),
        Ending::Void => (VOIDED, 0),
        Ending::Expire => (EXPIRED, 0),
    };
    tx.query(INSERT_RESOLUTION)
        .bind(*pending)
        .bind(outcome)
        .bind(amount)
        .bind(made.transfer_id)
        .bind(now)
        .execute()
        .await?;
    tx.query(DELETE_DUE).bind(*pending).execute().await?;
    Ok(())
}

async fn write_balances(
    tx: &mut Tx<'_>,
    group: GroupId,
    accounts: &[Account],
) -> Result<(), Error> {
    let engine = tx.engine();
    let ids: Vec<Uuid> = accounts.iter().map(|a| a.account_id.as_uuid()).collect();
    let times: Vec<Timestamp> = accounts.iter().map(|a| a.moved_at).collect();
    let versions: Vec<i64> = accounts.iter().map(|a| a.version).collect();
    let column = |pick: fn(&Counters) -> i64| -> Vec<i64> {
        accounts
            .iter()
            .map(|account| pick(&account.counters))
            .collect()
    };
    let debits_pending = column(|c| c.debits_pending);
    let debits_posted = column(|c| c.debits_posted);
    let credits_pending = column(|c| c.credits_pending);
    let credits_posted = column(|c| c.credits_posted);
    let insert = tx.query(INSERT_MOVEMENTS).bind(group);
    bind_columns!(
        engine,
        insert,
        &ids,
        &times,
        &versions,
        &debits_pending,
        &debits_posted,
        &credits_pending,
        &credits_posted
    )
    .execute()
    .await?;
    let update = tx.query(UPDATE_BALANCES);
    bind_columns!(
        engine,
        update,
        &ids,
        &times,
        &versions,
        &debits_pending,
        &debits_posted,
        &credits_pending,
        &credits_posted
    )
    .execute()
    .await?;
    Ok(())
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    id: AccountId,
) -> Result<Option<AccountRow>, StoreError> {
    ask.ask(FIND).bind(id).fetch_optional().await
}

pub(crate) async fn find_by_code(
    ask: &mut impl Ask,
    code: &str,
) -> Result<Option<AccountRow>, StoreError> {
    ask.ask(FIND_BY_CODE).bind(code).fetch_optional().await
}

pub(crate) async fn find_transfer(
    ask: &mut impl Ask,
    id: TransferId,
) -> Result<Option<TransferRow>, StoreError> {
    ask.ask(FIND_TRANSFER).bind(id).fetch_optional().await
}
