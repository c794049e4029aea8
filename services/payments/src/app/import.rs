//! Bringing entities in from another system: state only, never money on its way.
//!
//! A chunk is one unit of work with one journal entry for all of it.

mod reading;
mod vouchers;

use publica_imports::{Outcome, Problem};
use publica_journal::append;
use publica_journal::merkle::{Frontier, leaf_hash};
use publica_rpc::Fault as _;
use publica_seal::Keyring;
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::programme::{self, NewFunding, NewProgramme, deposit, open_funding};
use crate::app::voucher_setup::{create_block, create_group, create_merchant};
use crate::app::{App, beneficiary, entry, source};
use crate::domain::ids::{GroupId, ProgrammeId};
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::store::partner;
use crate::store::programme as programmes;
use crate::store::voucher::{self as sql, NewMerchant, NewVoucher};

/// A line of good form.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// What the journal's root covers: what kind of entity, and which one.
    leaf: String,
    entity: Entity,
}

/// An entity of good form.
#[derive(Debug, Clone)]
enum Entity {
    CallingBlock(String, Vec<String>),
    Funding(NewFunding, i64, GroupId),
    Programme(NewProgramme),
    Source(Source),
    Group(Group),
    Merchant(NewMerchant),
    Voucher(Box<VoucherLine>),
    /// A voucher that is said not to exist: nothing to store.
    NoVoucher(String),
    Beneficiary(Box<beneficiary::import::Imported>),
}

#[derive(Debug, Clone)]
struct Source {
    source_id: String,
    name: String,
    programme: String,
    /// Callers that may speak for it.
    clients: Vec<String>,
}

#[derive(Debug, Clone)]
struct Group {
    name: String,
    stock: Option<i64>,
    programme: String,
}

#[derive(Debug, Clone)]
struct VoucherLine {
    new: NewVoucher,
    /// When it ends, if the line says so.
    told_expiry: Option<Timestamp>,
}

impl App {
    /// Stores lines of good form in one unit; a refused one does not disturb the others.
    pub(crate) async fn import(
        &self,
        db: &Db,
        origin: &Origin,
        lines: Vec<Line>,
    ) -> Result<Vec<Outcome>, Error> {
        let input = (origin.clone(), self.keyring.clone(), lines);
        db.write("payments.import", input, |tx, (origin, keyring, lines)| {
            Box::pin(store_all(tx, origin, keyring, lines))
        })
        .await
    }
}

async fn store_all(
    tx: &mut Tx<'_>,
    origin: &Origin,
    keyring: &Keyring,
    lines: &[Line],
) -> Result<Vec<Outcome>, Error> {
    let mut outcomes = Vec::with_capacity(lines.len());
    let mut rest = lines;
    while let [line, following @ ..] = rest {
        rest = following;
        if let Entity::Voucher(first) = &line.entity {
            // Vouchers stand in long runs; each run takes as many statements as one of them.
            let run = vouchers::run(first, following);
            rest = &following[run.len() - 1..];
            outcomes.extend(vouchers::store(tx, &run).await?);
        } else {
            outcomes.push(store(tx, origin, keyring, &line.entity).await?);
        }
    }
    let mut tree = Frontier::default();
    for (line, outcome) in lines.iter().zip(&outcomes) {
        if *outcome == Outcome::Stored {
            tree.push(leaf_hash(line.leaf.as_bytes()), |_, _| {});
        }
    }
    if tree.size() > 0 {
        let body = json!({"count": tree.size(), "root": hex::encode(tree.root())});
        let imported = entry("payments.import.stored", "import", "lines", body);
        append(tx, origin, imported);
    }
    Ok(outcomes)
}

async fn store(
    tx: &mut Tx<'_>,
    origin: &Origin,
    keyring: &Keyring,
    entity: &Entity,
) -> Result<Outcome, Error> {
    let done = match entity {
        Entity::CallingBlock(name, clients) => {
            match create_block(tx, origin, name, clients).await {
                Ok(false) => return Ok(Outcome::Repeated),
                other => other.map(drop),
            }
        }
        Entity::NoVoucher(serial) => {
            let exists = sql::find(tx, serial).await?.is_some();
            return Ok(if exists {
                Outcome::refused(
                    "voucher_status",
                    "says that a stored voucher does not exist",
                )
            } else {
                Outcome::Repeated
            });
        }
        Entity::Funding(new, balance, group) => {
            store_funding(tx, origin, new, *balance, *group).await
        }
        Entity::Programme(new) => programme::create_programme(tx, origin, new).await.map(drop),
        Entity::Source(new) => {
            let (programme, clients) = (&new.programme, &new.clients);
            source::create_source(tx, origin, &new.source_id, &new.name, programme, clients)
                .await
                .map(drop)
        }
        Entity::Group(new) => create_group(tx, origin, &new.name, new.stock, &new.programme)
            .await
            .map(drop),
        Entity::Merchant(new) => create_merchant(tx, origin, new).await,
        Entity::Voucher(one) => return vouchers::only(tx, one).await,
        Entity::Beneficiary(new) => beneficiary::import::store(tx, keyring, new).await,
    };
    match done {
        Ok(()) => Ok(Outcome::Stored),
        Err(Error::Exists { .. }) => Ok(match same(tx, keyring, entity).await? {
            true => Outcome::Repeated,
            false => Outcome::differs(""),
        }),
        Err(error @ (Error::Store(_) | Error::Journal(_) | Error::Seal(_))) => Err(error),
        Err(error) => Ok(Outcome::Refused(problems(entity, &error))),
    }
}

async fn store_funding(
    tx: &mut Tx<'_>,
    origin: &Origin,
    new: &NewFunding,
    balance: i64,
    group: GroupId,
) -> Result<(), Error> {
    let row = open_funding(tx, origin, new).await?;
    if balance > 0 {
        deposit(tx, origin, group, &row, balance, "imported balance").await?;
    }
    Ok(())
}

/// An error of the rules as problems of the line, each with its member.
fn problems(entity: &Entity, error: &Error) -> Vec<Problem> {
    let violations = error.violations();
    if !violations.is_empty() {
        return violations;
    }
    let field = match (error, entity) {
        (Error::NotFound { kind: "programme" }, _) => "programme",
        (Error::NotFound { .. }, Entity::Merchant(_)) => "merchant_voucher_group",
        (
            Error::NotFound {
                kind: "funding account",
            },
            _,
        ) => "funding_account",
        (Error::NotFound { .. }, Entity::Programme(_)) => "fallback_voucher_group",
        (Error::SourceUnknown, _) => "source_id",
        _ => "",
    };
    vec![(field.to_owned(), error.public_message().into_owned())]
}

/// The programme that a code names; nothing for none.
async fn programme_id(tx: &mut Tx<'_>, code: &str) -> Result<Option<ProgrammeId>, Error> {
    if code.is_empty() {
        return Ok(None);
    }
    let found = programmes::find_programme_by(tx, code).await?;
    Ok(found.map(|row| row.programme_id))
}

/// Whether what is stored under the entity's key is the entity, as far as use does not change it:
/// stocks and balances move.
async fn same(tx: &mut Tx<'_>, keyring: &Keyring, entity: &Entity) -> Result<bool, Error> {
    Ok(match entity {
        Entity::CallingBlock(..) | Entity::Voucher(_) | Entity::NoVoucher(_) => false,
        Entity::Funding(new, _, _) => {
            let row = programmes::find_funding_by(tx, &new.name).await?;
            row.is_some_and(|row| {
                row.currency == new.currency && row.voucher_group == new.voucher_group
            })
        }
        Entity::Programme(new) => {
            let funding = programmes::find_funding_by(tx, &new.funding_account).await?;
            let funding = funding.map(|row| row.account_id);
            let row = programmes::find_programme_by(tx, &new.code).await?;
            row.is_some_and(|row| {
                row.name == new.name
                    && row.currency == new.currency
                    && Some(row.funding_account_id) == funding
                    && row.fallback_group == new.fallback_group
                    && row.batch_ceiling_minor == new.batch_ceiling_minor
                    && row.approvals_needed == i64::from(new.approvals_needed.max(1))
            })
        }
        Entity::Source(new) => {
            let row = programmes::find_source(tx, &new.source_id).await?;
            let programme = programme_id(tx, &new.programme).await?;
            let clients = partner::clients(tx, Kind::Block, &new.source_id).await?;
            let alike = new.clients.is_empty() || clients == new.clients;
            let same = row.is_some_and(|row| {
                // Who says nothing about the programme changes none.
                let told = new.programme.is_empty() || row.programme_id == programme;
                row.name == new.name && told
            });
            same && alike
        }
        Entity::Group(new) => {
            let programme = programme_id(tx, &new.programme).await?;
            let row = sql::find_group(tx, &new.name).await?;
            row.is_some_and(|row| {
                row.stock.is_some() == new.stock.is_some() && row.programme_id == programme
            })
        }
        Entity::Merchant(new) => {
            // What a merchant is looked up by holds its name, its account and its group.
            let row = sql::find_merchant(tx, &new.lookup).await?;
            row.is_some_and(|row| row.blocked == new.blocked && row.agent_id == new.agent_id)
        }
        Entity::Beneficiary(new) => beneficiary::import::is_stored(tx, keyring, new).await?,
    })
}
