//! Lines of an import: their shapes, and all that can be said about them without the store.

use publica_imports::Problem;
use publica_json::read_entity;
use publica_rpc::{Fault as _, Invalid};
use publica_types::{Money, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Entity, Group, Line, Source, VoucherLine};
use crate::app::partner::check_clients;
use crate::app::programme::{NewFunding, NewProgramme};
use crate::app::source::SOURCE_CHARS;
use crate::app::{App, check_short, check_text};
use crate::domain::address::{AddressError, within};
use crate::domain::currency;
use crate::domain::ids::ProgrammeId;
use crate::domain::voucher::{State, digits};
use crate::error::Error;
use crate::sealed::NUMBER;
use crate::store::voucher::NewVoucher;

/// The most characters of what others are named by, and of names for people.
const NAME_CHARS: usize = 64;
const TITLE_CHARS: usize = 200;
const NUMBER_DIGITS: usize = 25;

/// The shapes of lines. Each may repeat its kind.
macro_rules! lines {
    ($($(#[$outer:meta])* $name:ident {
        $($(#[$inner:meta])* $field:ident: $type:ty,)+
    })+) => {$(
        $(#[$outer])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            #[serde(default, rename = "kind")]
            _kind: Option<String>,
            $($(#[$inner])* $field: $type,)+
        }
    )+};
}

lines! {
    BlockLine {
        name: String,
        #[serde(default)]
        clients: Vec<String>,
    }
    SourceLine {
        source_id: String,
        #[serde(default)]
        name: String,
        #[serde(default)]
        programme: String,
        #[serde(default)]
        clients: Vec<String>,
    }
    GroupLine {
        name: String,
        #[serde(default)]
        stock: Option<i64>,
        #[serde(default)]
        programme: String,
    }
    FundingLine {
        #[serde(default)]
        name: String,
        #[serde(default)]
        voucher_group: String,
        currency: String,
        #[serde(default)]
        balance: Scalar,
    }
    ProgrammeLine {
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
    MerchantLine {
        merchant_name: String,
        merchant_bank_details: String,
        merchant_voucher_group: String,
        #[serde(default)]
        agent_id: String,
        #[serde(default)]
        status: String,
    }
    RawVoucher {
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
    BeneficiaryLine {
        source_id: String,
        functional_id: String,
        #[serde(default)]
        modality: String,
        #[serde(default)]
        institution: String,
        #[serde(default)]
        financial_address: String,
    }
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
    fn text(self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

type Read<T> = Result<T, Vec<Problem>>;

fn read<T: DeserializeOwned>(json: &[u8]) -> Read<T> {
    read_entity(json).map_err(|problem| vec![problem])
}

fn told(invalid: Invalid) -> Read<()> {
    invalid.check().map_err(|invalid| invalid.violations())
}

impl App {
    /// Reads a line of a kind, or says all that is wrong with it without the store.
    pub(crate) fn read_line(&self, kind: &str, json: &[u8]) -> Read<Line> {
        let (id, entity) = match kind {
            "payments.calling_block" => calling_block(read(json)?)?,
            "payments.funding_account" => self.funding(read(json)?)?,
            "payments.programme" => self.programme(read(json)?)?,
            "payments.source_block" => source_block(read(json)?)?,
            "payments.voucher_group" => group(read(json)?)?,
            "payments.merchant" => self.merchant(read(json)?)?,
            "payments.voucher" => self.voucher_line(read(json)?)?,
            "payments.beneficiary" => self.beneficiary(read(json)?)?,
            _ => {
                let what = "is not a kind of this block";
                return Err(vec![("kind".to_owned(), what.to_owned())]);
            }
        };
        let leaf = format!("{kind} {id}");
        Ok(Line { leaf, entity })
    }

    fn funding(&self, given: FundingLine) -> Read<(String, Entity)> {
        let balance = given.balance.text();
        let new = NewFunding {
            name: given.name,
            currency: given.currency,
            voucher_group: given.voucher_group,
        };
        let mut invalid = Invalid::new();
        let balance = match balance.as_str() {
            "" | "0" => Some(0),
            // Without a currency there is nothing to say about an amount.
            text => currency::known(&new.currency).and_then(|currency| {
                let money = invalid.parse("balance", Money::parse(text, currency));
                money.map(|money| money.amount_minor)
            }),
        };
        if balance.is_some_and(|balance| balance < 0) {
            invalid.push("balance", "must not be negative");
        }
        let checked = new.check();
        let new = joined(invalid, checked)?;
        let id = new.name.clone();
        Ok((
            id,
            Entity::Funding(new, balance.unwrap_or_default(), self.group()),
        ))
    }

    fn programme(&self, given: ProgrammeLine) -> Read<(String, Entity)> {
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
        let new = joined(Invalid::new(), new.check())?;
        Ok((new.code.clone(), Entity::Programme(new)))
    }

    fn merchant(&self, given: MerchantLine) -> Read<(String, Entity)> {
        let mut invalid = Invalid::new();
        if !matches!(given.status.as_str(), "" | "active" | "blocked") {
            invalid.push("status", "must be active or blocked");
        }
        let blocked = given.status == "blocked";
        let new = self.new_merchant(
            given.merchant_name,
            &given.merchant_bank_details,
            given.merchant_voucher_group,
            blocked,
            given.agent_id,
        );
        let new = match new {
            Err(error) => Err(merchant_fault(invalid, &error)),
            Ok(new) => told(invalid).map(|()| new),
        }?;
        Ok((hex::encode(&new.lookup), Entity::Merchant(new)))
    }

    fn beneficiary(&self, given: BeneficiaryLine) -> Read<(String, Entity)> {
        let mut invalid = Invalid::new();
        if !within(&given.source_id, SOURCE_CHARS) {
            invalid.push("source_id", "must have 1 to 20 characters");
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
        match read {
            Ok(read) => {
                told(invalid)?;
                Ok((read.leaf(), Entity::Beneficiary(Box::new(read))))
            }
            Err(errors) => {
                for error in errors {
                    invalid.push(member(error), error.to_string());
                }
                Err(invalid.violations())
            }
        }
    }

    fn voucher_line(&self, given: RawVoucher) -> Read<(String, Entity)> {
        let serial = given.voucher_serial_number.text();
        let number = given.voucher_number.text();
        let amount_text = given.voucher_amount.text();
        let mut invalid = Invalid::new();
        for (field, text) in [
            ("voucher_number", &number),
            ("voucher_serial_number", &serial),
        ] {
            if !digits(text) || text.len() > NUMBER_DIGITS {
                invalid.push(field, "must have 1 to 25 digits");
            }
        }
        if given.voucher_status == "Not Existing" {
            told(invalid)?;
            return Ok((serial.clone(), Entity::NoVoucher(serial)));
        }
        let state = State::parse(&given.voucher_status);
        if state.is_none() {
            invalid.push("voucher_status", "is not a known status");
        }
        let (block, group) = (&given.calling_block, &given.voucher_group);
        check_text(&mut invalid, "Gov_Stack_BB", block, NAME_CHARS);
        check_text(&mut invalid, "voucher_group", group, NAME_CHARS);
        let amount_minor = amount(&mut invalid, &amount_text, &given.currency);
        told(invalid)?;
        let state = state.unwrap_or(State::Purged);
        let now = self.clock.now();
        let until = |span| Some(given.expiry.unwrap_or_else(|| now.plus(span)));
        let (hold_until, expires_at) = match state {
            State::Preactivated => (until(self.config.voucher_hold()), None),
            State::Activated | State::Suspended => (None, until(self.config.voucher_validity())),
            _ => (None, given.expiry),
        };
        let keep = state != State::Purged;
        let new = NewVoucher {
            number_hash: keep.then(|| self.keyring.lookup(NUMBER.name(), &number)),
            number_sealed: keep.then(|| self.keyring.seal_block(&NUMBER, number.as_bytes())),
            serial: serial.clone(),
            calling_block: given.calling_block,
            voucher_group: given.voucher_group,
            currency: given.currency,
            amount_minor,
            amount_text,
            state,
            hold_until,
            expires_at,
            redeemed_at: None,
        };
        let told_expiry = given.expiry;
        Ok((
            serial,
            Entity::Voucher(Box::new(VoucherLine { new, told_expiry })),
        ))
    }
}

/// What one check made, unless it or an earlier one found something; then all of it.
fn joined<T>(mut invalid: Invalid, made: Result<T, Error>) -> Read<T> {
    match made {
        Ok(made) => told(invalid).map(|()| made),
        Err(error) => {
            let violations = error.violations();
            if violations.is_empty() {
                invalid.push("", error.public_message().into_owned());
            }
            for (field, description) in violations {
                invalid.push(field, description);
            }
            Err(invalid.violations())
        }
    }
}

/// What is wrong with a merchant, under the names that a line has for the fields of a call.
fn merchant_fault(mut invalid: Invalid, error: &Error) -> Vec<Problem> {
    for (field, description) in error.violations() {
        let field = match field.as_str() {
            "name" | "bank_details" | "voucher_group" => format!("merchant_{field}"),
            _ => field,
        };
        invalid.push(field, description);
    }
    invalid.violations()
}

/// The member that an address is wrong in.
fn member(error: AddressError) -> &'static str {
    match error {
        AddressError::FunctionalId => "functional_id",
        AddressError::Modality => "modality",
        AddressError::Institution => "institution",
        _ => "financial_address",
    }
}

fn amount(invalid: &mut Invalid, text: &str, code: &str) -> i64 {
    let Some(currency) = currency::known(code) else {
        invalid.push("currency", "is not a currency that can be paid");
        return 0;
    };
    let money = invalid.parse("voucher_amount", Money::parse(text, currency));
    if money.is_some_and(|money| money.amount_minor <= 0) {
        invalid.push("voucher_amount", "must be above zero");
    }
    money.map_or(0, |money| money.amount_minor)
}

fn calling_block(given: BlockLine) -> Read<(String, Entity)> {
    let mut invalid = Invalid::new();
    check_text(&mut invalid, "name", &given.name, NAME_CHARS);
    let clients = clients(&mut invalid, given.clients);
    told(invalid)?;
    let name = given.name;
    Ok((name.clone(), Entity::CallingBlock(name, clients)))
}

fn source_block(given: SourceLine) -> Read<(String, Entity)> {
    let mut invalid = Invalid::new();
    if !within(&given.source_id, SOURCE_CHARS) {
        invalid.push("source_id", "must have 1 to 20 characters");
    }
    check_short(&mut invalid, "name", &given.name, TITLE_CHARS);
    check_short(&mut invalid, "programme", &given.programme, NAME_CHARS);
    let clients = clients(&mut invalid, given.clients);
    told(invalid)?;
    let source_id = given.source_id;
    let name = match given.name.is_empty() {
        true => source_id.clone(),
        false => given.name,
    };
    let source = Source {
        source_id: source_id.clone(),
        name,
        programme: given.programme,
        clients,
    };
    Ok((source_id, Entity::Source(source)))
}

fn group(given: GroupLine) -> Read<(String, Entity)> {
    let mut invalid = Invalid::new();
    check_text(&mut invalid, "name", &given.name, NAME_CHARS);
    check_short(&mut invalid, "programme", &given.programme, NAME_CHARS);
    if given.stock.is_some_and(|stock| stock < 0) {
        invalid.push("stock", "must not be negative");
    }
    told(invalid)?;
    let group = Group {
        name: given.name.clone(),
        stock: given.stock,
        programme: given.programme,
    };
    Ok((given.name, Entity::Group(group)))
}

/// Callers that may speak for a partner, in order.
fn clients(invalid: &mut Invalid, mut given: Vec<String>) -> Vec<String> {
    check_clients(invalid, "clients", &given);
    given.sort_unstable();
    given.dedup();
    given
}
