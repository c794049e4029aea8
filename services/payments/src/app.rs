//! Use cases: load, decide with the domain, save, and leave an entry in the journal.

pub(crate) mod account;
pub(crate) mod bank;
pub(crate) mod batch;
pub(crate) mod beneficiary;
pub(crate) mod bill;
pub(crate) mod callback;
mod forecast;
pub(crate) mod import;
pub(crate) mod intake;
pub(crate) mod issuance;
pub(crate) mod partner;
pub(crate) mod period;
pub(crate) mod programme;
pub(crate) mod progress;
pub(crate) mod rail;
mod receipt;
pub(crate) mod reconcile;
pub(crate) mod redemption;
pub(crate) mod release;
pub(crate) mod report;
pub(crate) mod send;
pub(crate) mod settle;
pub(crate) mod source;
pub(crate) mod transfer;
pub(crate) mod validation;
pub(crate) mod voucher;
pub(crate) mod voucher_setup;
pub(crate) mod wire;

use std::collections::HashMap;
use std::sync::Mutex;

use publica_journal::{Call, Entry, Journal};
use publica_rpc::Invalid;
use publica_seal::Keyring;
use publica_store::{Db, Stores};
use publica_types::{Origin, SharedClock, SharedEntropy, Tenant, Uuid, new_uuid};
use serde_json::Value;

use crate::app::transfer::Gatherer;
use crate::config::Config;
use crate::domain::guess::Guesses;
use crate::domain::ids::GroupId;
use crate::error::Error;
use crate::rail::Rails;

/// What every use case works with.
pub(crate) struct App {
    pub(crate) stores: Stores,
    pub(crate) keyring: Keyring,
    pub(crate) journal: Journal,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) config: Config,
    pub(crate) rails: Rails,
    pub(crate) guesses: Guesses,
    /// Whether callbacks may go inside a network where the settings do not say.
    pub(crate) open_targets: bool,
    /// Whether anybody may speak for a partner that names no callers.
    pub(crate) open_partners: bool,
    pub(crate) gathers: Mutex<HashMap<Tenant, Gatherer>>,
}

/// Longest free text that a caller may leave: a reason, a reference.
const TEXT_CHARS: usize = 200;

impl App {
    /// The caller's store.
    pub(crate) async fn db(&self, origin: &Origin) -> Result<Db, Error> {
        Ok(self.stores.of(&origin.tenant).await?)
    }

    /// A new id for transfers that commit together.
    pub(crate) fn group(&self) -> GroupId {
        GroupId::of_uuid(self.uuid())
    }

    pub(crate) fn uuid(&self) -> Uuid {
        new_uuid(&*self.clock, &*self.entropy)
    }

    /// The keyed hash under which a payee of a source block is found.
    pub(crate) fn payee(&self, functional_id: &str) -> Vec<u8> {
        self.keyring.lookup("payments.functional_id", functional_id)
    }
}

/// The name under which a payee's key is kept: it says nothing about the payee.
pub(crate) fn subject(source_no: i64, payee: &[u8]) -> String {
    let half = payee.get(..16).unwrap_or(payee);
    format!("payee:{source_no:x}:{}", hex::encode(half))
}

/// The party behind a call: whom a block speaks for, or who called.
pub(crate) fn party(origin: &Origin) -> &str {
    origin.on_behalf_of.as_deref().unwrap_or(&origin.actor)
}

/// A mutation under the caller's request id.
pub(crate) fn call<'a>(
    name: &'static str,
    rpc: &'static str,
    origin: &'a Origin,
    request_id: &str,
    request: &impl prost::Message,
) -> Call<'a> {
    let request_id = match request_id {
        "" => None,
        given => Some(given.to_owned()),
    };
    let fingerprint = publica_journal::fingerprint(request);
    Call {
        name,
        origin,
        rpc,
        request_id,
        fingerprint,
    }
}

/// An entry about one thing.
pub(crate) fn entry(
    action: &'static str,
    kind: &'static str,
    id: impl ToString,
    body: Value,
) -> Entry {
    Entry::new(action).subject(kind, id).body(body)
}

/// A text that must be there and be short.
pub(crate) fn check_text(invalid: &mut Invalid, field: &str, text: &str, most: usize) {
    if text.trim().is_empty() {
        invalid.push(field, "is required");
    } else {
        check_short(invalid, field, text, most);
    }
}

/// A text that may be absent but must be short.
pub(crate) fn check_short(invalid: &mut Invalid, field: &str, text: &str, most: usize) {
    if text.chars().count() > most {
        invalid.push(field, format!("must have at most {most} characters"));
    } else if text.chars().any(char::is_control) {
        invalid.push(field, "must not have control characters");
    }
}

/// A reason for the journal.
pub(crate) fn check_reason(reason: &str) -> Result<(), Invalid> {
    let mut invalid = Invalid::new();
    check_text(&mut invalid, "reason", reason, TEXT_CHARS);
    invalid.check()
}

/// Reads an id or says that there is no such thing.
pub(crate) fn parse_id<T: std::str::FromStr>(text: &str, kind: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::not_found(kind))
}
