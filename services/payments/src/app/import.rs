//! Bringing entities in from another system: state only, never money on its way.

use publica_journal::append;
use publica_json::read_entity;
use publica_rpc::{Fault as _, Invalid};
use publica_seal::Keyring;
use publica_store::{Db, Tx};
use publica_types::{Currency, Money, Origin, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::app::partner::check_clients;
use crate::app::programme::{self, NewFunding, NewProgramme, deposit, open_funding};
use crate::app::source::{self, SOURCE_CHARS};
use crate::app::voucher_setup::{create_block, create_group, create_merchant};
use crate::app::{App, beneficiary, check_short, check_text, entry};
use crate::domain::address::within;
use crate::domain::currency;
use crate::domain::ids::{GroupId, ProgrammeId};
use crate::domain::partner::Kind;
use crate::domain::voucher::{State, digits};
use crate::error::Error;
use crate::sealed::NUMBER;
use crate::store::partner;
use crate::store::programme as programmes;
use crate::store::voucher::{self as vouchers, NewMerchant, NewVoucher};

/// The most characters of what others are named by, and of names for people.
const NAME_CHARS: usize = 64;
const TITLE_CHARS: usize = 200;

/// One line of an import.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) line: u64,
    pub(crate) entity: Result<Entity, Problem>,
}

/// Why an entity was refused.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) field: String,
    pub(crate) description: String,
}

/// What became of some lines.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    pub(crate) accepted: u64,
    pub(crate) repeated: u64,
    pub(crate) problems: Vec<(u64, Problem)>,
}

/// An entity of good form.
#[derive(Debug, Clone)]
pub(crate) enum Entity {
    CallingBlock(String, Vec<String>),
    Funding(NewFunding, i64, GroupId),
    Programme(NewProgramme),
    Source(Source),
    Group(Group),
    Merchant(NewMerchant),
    Voucher(Box<NewVoucher>),
    /// A voucher that is said not to exist: nothing to store.
    NoVoucher,
    Beneficiary(Box<beneficiary::import::Imported>),
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Source {
    source_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    programme: String,
    /// Callers that may speak for it.
    #[serde(default)]
    clients: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Group {
    name: String,
    #[serde(default)]
    stock: Option<i64>,
    #[serde(default)]
    programme: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    clients: Vec<String>,
}

#[derive(Deserialize)]
struct Funding {
    #[serde(default)]
    name: String,
    #[serde(default)]
    voucher_group: String,
    currency: String,
    #[serde(default)]
    balance: Scalar,
}

#[derive(Deserialize)]
struct Programme {
    code: String,
    name: String,
    currency: String,
    funding_account: String,
    #[serde(default)]
    fallback_voucher_group: String,
    #[serde(default)]
    approvals_needed: i32,
    #[serde(default)]
    batch_ceiling_minor: i64,
}

#[derive(Deserialize)]
struct Merchant {
    merchant_name: String,
    merchant_bank_details: String,
    merchant_voucher_group: String,
    #[serde(default)]
    agent_id: String,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct Voucher {
    voucher_number: Scalar,
    voucher_serial_number: Scalar,
    #[serde(rename = "Gov_Stack_BB", alias = "gov_stack_bb")]
    calling_block: String,
    voucher_status: String,
    voucher_amount: Scalar,
    currency: String,
    voucher_group: String,
    #[serde(default)]
    expiry: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Beneficiary {
    source_id: String,
    functional_id: String,
    #[serde(default)]
    modality: String,
    #[serde(default)]
    institution: String,
    #[serde(default)]
    financial_address: String,
}

/// A text, or a whole number written as one.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Scalar {
    #[default]
    Absent,
    Number(i64),
    Text(String),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

fn problem(field: &str, description: impl Into<String>) -> Problem {
    Problem {
        field: field.to_owned(),
        description: description.into(),
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    read_entity(json).map_err(|(field, description)| Problem { field, description })
}

/// An error of the rules as a problem of the line.
fn as_problem(error: &Error) -> Problem {
    let violation = error.violations().into_iter().next();
    match violation {
        Some((field, description)) => Problem { field, description },
        None => problem("", error.public_message().into_owned()),
    }
}

impl App {
    /// Reads an entity, as far as that goes without the store.
    pub(crate) fn read_entity(&self, kind: &str, json: &[u8]) -> Result<Entity, Problem> {
        match kind {
            "payments.calling_block" => {
                let named: Named = read(json)?;
                let clients = clients(named.clients)?;
                check(|invalid| check_text(invalid, "name", &named.name, NAME_CHARS))?;
                Ok(Entity::CallingBlock(named.name, clients))
            }
            "payments.funding_account" => self.read_funding(read(json)?),
            "payments.programme" => self.read_programme(read(json)?),
            "payments.source_block" => {
                let mut source: Source = read(json)?;
                source.clients = clients(source.clients)?;
                check(|invalid| {
                    check_short(invalid, "name", &source.name, TITLE_CHARS);
                    check_short(invalid, "programme", &source.programme, NAME_CHARS);
                })?;
                match within(&source.source_id, SOURCE_CHARS) {
                    true => Ok(Entity::Source(source)),
                    false => Err(problem("source_id", "must have 1 to 20 characters")),
                }
            }
            "payments.voucher_group" => {
                let group: Group = read(json)?;
                check(|invalid| {
                    check_text(invalid, "name", &group.name, NAME_CHARS);
                    check_short(invalid, "programme", &group.programme, NAME_CHARS);
                    if group.stock.is_some_and(|stock| stock < 0) {
                        invalid.push("stock", "must not be negative");
                    }
                })?;
                Ok(Entity::Group(group))
            }
            "payments.merchant" => {
                let given: Merchant = read(json)?;
                let blocked = match given.status.as_str() {
                    "" | "active" => false,
                    "blocked" => true,
                    _ => return Err(problem("status", "must be active or blocked")),
                };
                let bank = given.merchant_bank_details;
                let group = given.merchant_voucher_group;
                let new =
                    self.new_merchant(given.merchant_name, &bank, group, blocked, given.agent_id);
                new.map(Entity::Merchant)
                    .map_err(|error| as_problem(&error))
            }
            "payments.voucher" => self.read_voucher(read(json)?),
            "payments.beneficiary" => {
                let given: Beneficiary = read(json)?;
                if !within(&given.source_id, SOURCE_CHARS) {
                    return Err(problem("source_id", "must have 1 to 20 characters"));
                }
                let read = self.read_beneficiary(
                    &given.source_id,
                    &given.functional_id,
                    [
                        &given.modality,
                        &given.institution,
                        &given.financial_address,
                    ],
                );
                let read = read.map_err(|error| problem("", error.to_string()))?;
                Ok(Entity::Beneficiary(Box::new(read)))
            }
            _ => Err(problem("kind", "is not a kind of this block")),
        }
    }

    fn read_funding(&self, given: Funding) -> Result<Entity, Problem> {
        let (name, voucher_group) = (given.name, given.voucher_group);
        let new = NewFunding {
            name,
            currency: given.currency,
            voucher_group,
        };
        let new = new.check().map_err(|error| as_problem(&error))?;
        let balance = match given.balance.text().as_str() {
            "" | "0" => 0,
            text => money("balance", text, &new.currency)?.amount_minor,
        };
        if balance < 0 {
            return Err(problem("balance", "must not be negative"));
        }
        Ok(Entity::Funding(new, balance, self.group()))
    }

    fn read_programme(&self, given: Programme) -> Result<Entity, Problem> {
        let new = NewProgramme {
            programme_id: ProgrammeId::new(&*self.clock, &*self.entropy),
            code: given.code,
            name: given.name,
            currency: given.currency,
            funding_account: given.funding_account,
            fallback_group: given.fallback_voucher_group,
            approvals_needed: given.approvals_needed,
            batch_ceiling_minor: given.batch_ceiling_minor,
        };
        new.check()
            .map(Entity::Programme)
            .map_err(|error| as_problem(&error))
    }

    fn read_voucher(&self, given: Voucher) -> Result<Entity, Problem> {
        if given.voucher_status == "Not Existing" {
            return Ok(Entity::NoVoucher);
        }
        let state = State::parse(&given.voucher_status)
            .ok_or_else(|| problem("voucher_status", "is not a known status"))?;
        let (number, serial) = (
            given.voucher_number.text(),
            given.voucher_serial_number.text(),
        );
        check(|invalid| {
            check_text(invalid, "Gov_Stack_BB", &given.calling_block, NAME_CHARS);
            check_text(invalid, "voucher_group", &given.voucher_group, NAME_CHARS);
        })?;
        for (field, text) in [
            ("voucher_number", &number),
            ("voucher_serial_number", &serial),
        ] {
            if !digits(text) || text.len() > 25 {
                return Err(problem(field, "must have 1 to 25 digits"));
            }
        }
        let amount_text = given.voucher_amount.text();
        let money = money("voucher_amount", &amount_text, &given.currency)?;
        if money.amount_minor <= 0 {
            return Err(problem("voucher_amount", "must be above zero"));
        }
        let now = self.clock.now();
        let until = |span| Some(given.expiry.unwrap_or_else(|| now.plus(span)));
        let (hold_until, expires_at) = match state {
            State::Preactivated => (until(self.config.voucher_hold()), None),
            State::Activated | State::Suspended => (None, until(self.config.voucher_validity())),
            _ => (None, given.expiry),
        };
        let keep = state != State::Purged;
        Ok(Entity::Voucher(Box::new(NewVoucher {
            serial,
            number_hash: keep.then(|| self.keyring.lookup(NUMBER.name(), &number)),
            number_sealed: keep.then(|| self.keyring.seal_block(&NUMBER, number.as_bytes())),
            calling_block: given.calling_block,
            voucher_group: given.voucher_group,
            currency: given.currency,
            amount_minor: money.amount_minor,
            amount_text,
            state,
            hold_until,
            expires_at,
            redeemed_at: None,
        })))
    }

    /// Stores some lines in one unit; a refused one does not disturb the others.
    pub(crate) async fn import(
        &self,
        db: &Db,
        origin: &Origin,
        lines: Vec<Line>,
    ) -> Result<Imported, Error> {
        let input = (origin.clone(), self.keyring.clone(), lines);
        db.write("payments.import", input, |tx, (origin, keyring, lines)| {
            Box::pin(async move {
                let mut imported = Imported::default();
                for Line { line, entity } in lines {
                    let stored = match entity {
                        Ok(entity) => store(tx, origin, keyring, entity).await?,
                        Err(problem) => Err(problem.clone()),
                    };
                    match stored {
                        Ok(true) => imported.accepted += 1,
                        Ok(false) => imported.repeated += 1,
                        Err(problem) => imported.problems.push((*line, problem)),
                    }
                }
                if imported.accepted > 0 {
                    let body = json!({
                        "accepted": imported.accepted,
                        "refused": imported.problems.len(),
                        "first_line": lines.first().map(|line| line.line),
                    });
                    append(
                        tx,
                        origin,
                        entry("payments.import.stored", "import", "lines", body),
                    );
                }
                Ok(imported)
            })
        })
        .await
    }
}

/// The first thing that checks find.
fn check(checks: impl FnOnce(&mut Invalid)) -> Result<(), Problem> {
    let mut invalid = Invalid::new();
    checks(&mut invalid);
    let sound = invalid.check();
    sound.map_err(|invalid| as_problem(&invalid.into()))
}

/// Callers that may speak for a partner, in order.
fn clients(mut given: Vec<String>) -> Result<Vec<String>, Problem> {
    check(|invalid| check_clients(invalid, "clients", &given))?;
    given.sort_unstable();
    given.dedup();
    Ok(given)
}

fn money(field: &str, text: &str, code: &str) -> Result<Money, Problem> {
    let currency: Currency = currency::known(code)
        .ok_or_else(|| problem("currency", "is not a currency that can be paid"))?;
    Money::parse(text, currency).map_err(|error| problem(field, error.to_string()))
}

/// `Ok(Ok(true))` for an entity that is new, `Ok(Ok(false))` for one that is there with the
/// same content.
async fn store(
    tx: &mut Tx<'_>,
    origin: &Origin,
    keyring: &Keyring,
    entity: &Entity,
) -> Result<Result<bool, Problem>, Error> {
    let done = match entity {
        Entity::CallingBlock(name, clients) => {
            match create_block(tx, origin, name, clients).await {
                Ok(false) => return Ok(Ok(false)),
                other => other.map(drop),
            }
        }
        Entity::NoVoucher => return Ok(Ok(true)),
        Entity::Funding(new, balance, group) => {
            store_funding(tx, origin, new, *balance, *group).await
        }
        Entity::Programme(new) => programme::create_programme(tx, origin, new).await.map(drop),
        Entity::Source(new) => {
            let name = if new.name.is_empty() {
                &new.source_id
            } else {
                &new.name
            };
            let (programme, clients) = (&new.programme, &new.clients);
            source::create_source(tx, origin, &new.source_id, name, programme, clients)
                .await
                .map(drop)
        }
        Entity::Group(new) => create_group(tx, origin, &new.name, new.stock, &new.programme)
            .await
            .map(drop),
        Entity::Merchant(new) => create_merchant(tx, origin, new).await,
        Entity::Voucher(new) => store_voucher(tx, new).await,
        Entity::Beneficiary(new) => beneficiary::import::store(tx, keyring, new).await,
    };
    match done {
        Ok(()) => Ok(Ok(true)),
        Err(Error::Exists { .. }) => match same(tx, entity).await? {
            true => Ok(Ok(false)),
            false => Ok(Err(problem("", "is stored already with other content"))),
        },
        Err(error @ (Error::Store(_) | Error::Journal(_) | Error::Seal(_))) => Err(error),
        Err(error) => Ok(Err(as_problem(&error))),
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

async fn store_voucher(tx: &mut Tx<'_>, new: &NewVoucher) -> Result<(), Error> {
    if !vouchers::knows_block(tx, &new.calling_block).await? {
        return Err(Error::not_found("building block"));
    }
    if vouchers::find_group(tx, &new.voucher_group)
        .await?
        .is_none()
    {
        return Err(Error::not_found("voucher group"));
    }
    match vouchers::insert(tx, new).await? {
        true => Ok(()),
        false => Err(Error::Exists { kind: "voucher" }),
    }
}

/// Whether what is stored under the entity's key is the entity.
async fn same(tx: &mut Tx<'_>, entity: &Entity) -> Result<bool, Error> {
    Ok(match entity {
        Entity::CallingBlock(..) => false,
        Entity::NoVoucher => true,
        Entity::Funding(new, _, _) => {
            let row = programmes::find_funding_by(tx, &new.name).await?;
            row.is_some_and(|row| {
                row.currency == new.currency && row.voucher_group == new.voucher_group
            })
        }
        Entity::Programme(new) => {
            let row = programmes::find_programme_by(tx, &new.code).await?;
            row.is_some_and(|row| {
                row.name == new.name
                    && row.currency == new.currency
                    && row.fallback_group == new.fallback_group
                    && row.batch_ceiling_minor == new.batch_ceiling_minor
                    && row.approvals_needed == i64::from(new.approvals_needed.max(1))
            })
        }
        Entity::Source(new) => {
            let row = programmes::find_source(tx, &new.source_id).await?;
            let name = if new.name.is_empty() {
                &new.source_id
            } else {
                &new.name
            };
            let clients = partner::clients(tx, Kind::Block, &new.source_id).await?;
            let alike = new.clients.is_empty() || clients == new.clients;
            row.is_some_and(|row| row.name == *name) && alike
        }
        Entity::Group(new) => vouchers::find_group(tx, &new.name).await?.is_some(),
        Entity::Merchant(new) => {
            let row = vouchers::find_merchant(tx, &new.lookup).await?;
            row.is_some_and(|row| row.blocked == new.blocked)
        }
        Entity::Voucher(new) => {
            let row = vouchers::find(tx, &new.serial).await?;
            let named = match &new.number_hash {
                Some(hash) => vouchers::lock_by_number(tx, hash)
                    .await?
                    .map(|row| row.serial),
                None => Some(new.serial.clone()),
            };
            row.is_some_and(|row| {
                named.as_deref() == Some(&row.serial)
                    && row.state == new.state.code()
                    && row.amount_minor == new.amount_minor
                    && row.currency == new.currency
                    && row.voucher_group == new.voucher_group
                    && row.calling_block == new.calling_block
            })
        }
        Entity::Beneficiary(new) => beneficiary::import::is_stored(tx, new).await?,
    })
}
