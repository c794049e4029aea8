//! Use cases: load, decide with the domain, save, and leave an entry in the journal.

pub(crate) mod application;
pub(crate) mod catalog;
pub(crate) mod document;
pub(crate) mod import;
pub(crate) mod register;
pub(crate) mod statistics;
pub(crate) mod task;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use publica_auth::{Caller, CallerKind};
use publica_gate::Gate;
use publica_journal::{Call, Journal};
use publica_seal::Keyring;
use publica_store::{Db, Stores};
use publica_types::{Origin, SharedClock, SharedEntropy, Tenant, Timestamp, new_uuid};
use tonic::Request;

use crate::domain::definition::Definition;
use crate::error::Error;
use crate::store;
use crate::store::catalog::Services;

/// The most definitions that are kept compiled.
const MAX_COMPILED: usize = 256;

/// What every use case works with.
pub(crate) struct App {
    pub(crate) stores: Stores,
    pub(crate) keyring: Keyring,
    pub(crate) journal: Journal,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) gate: Gate,
    pub(crate) compiled: Mutex<HashMap<(Tenant, String, i64), Arc<Definition>>>,
    /// The services of each tenant whose store has been asked for one.
    pub(crate) services: RwLock<BTreeMap<Tenant, Services>>,
}

/// Who calls, as far as the rules of this block care.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) origin: Origin,
    caller: Arc<Caller>,
}

impl Who {
    /// Reads it from a request that passed the layers.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let caller = publica_rpc::caller(request)
            .cloned()
            .unwrap_or_else(|| Arc::new(Caller::anonymous()));
        Self {
            origin: publica_rpc::origin(request),
            caller,
        }
    }

    /// The party that acts.
    pub(crate) fn party(&self) -> &str {
        self.origin
            .on_behalf_of
            .as_deref()
            .unwrap_or(&self.origin.actor)
    }

    /// A person may only act for themselves, unless they work here.
    pub(crate) fn may_act_for(&self, applicant_id: &str) -> bool {
        self.caller.kind != CallerKind::Person
            || self.party() == applicant_id
            || self.works_on_files()
    }

    /// Whether the caller works on other people's files.
    pub(crate) fn works_on_files(&self) -> bool {
        self.caller.allows("registration:task:write")
    }

    /// Whether the caller holds a processing role.
    pub(crate) fn holds_role(&self, role_id: &str) -> bool {
        self.caller.allows(&format!("{ROLE}{role_id}"))
    }

    /// The processing roles that the caller holds; all of them, if none are named.
    pub(crate) fn roles(&self) -> Option<Vec<String>> {
        if self.caller.allows(&format!("{ROLE}*")) {
            return None;
        }
        let held = self.caller.scopes.iter();
        Some(
            held.filter_map(|scope| scope.strip_prefix(ROLE))
                .map(str::to_owned)
                .collect(),
        )
    }

    /// Which files the caller sees besides their own: those of these roles, or all, if none are
    /// named. Other systems see what their scope lets them ask for.
    pub(crate) fn sees_files_of(&self) -> Option<Vec<String>> {
        if self.caller.kind != CallerKind::Person {
            return None;
        }
        if self.works_on_files() {
            self.roles()
        } else {
            Some(Vec::new())
        }
    }
}

/// Whether a text can be found in a store: ids and names hold no control characters, and not
/// every database takes them.
pub(crate) fn is_findable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What a scope starts with that stands for a processing role.
const ROLE: &str = "registration:role:";

/// A mutation under the caller's request id.
pub(crate) fn call<'a>(
    name: &'static str,
    rpc: &'static str,
    origin: &'a Origin,
    request_id: &str,
    request: &impl prost::Message,
) -> Call<'a> {
    let request_id = (!request_id.is_empty()).then(|| request_id.to_owned());
    Call {
        name,
        origin,
        rpc,
        request_id,
        fingerprint: publica_journal::fingerprint(request),
    }
}

/// The name under which an applicant's key is kept.
pub(crate) fn subject(applicant_id: &str) -> String {
    format!("applicant:{applicant_id}")
}

impl App {
    /// The caller's store.
    pub(crate) async fn db(&self, origin: &Origin) -> Result<Db, Error> {
        Ok(self.stores.of(&origin.tenant).await?)
    }

    /// The services of a tenant.
    pub(crate) fn services(&self, db: &Db) -> Services {
        let known = self.services.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(services) = known.get(db.tenant()) {
            return services.clone();
        }
        drop(known);
        let mut known = self
            .services
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let services = known.entry(db.tenant().clone());
        services
            .or_insert_with(|| store::catalog::services(db))
            .clone()
    }

    pub(crate) fn new_id(&self) -> String {
        new_uuid(&*self.clock, &*self.entropy).to_string()
    }

    /// Today, as `YYYY-MM-DD` in UTC.
    pub(crate) fn today(&self) -> String {
        day_text(self.clock.now())
    }

    /// A published version of a service, compiled once.
    pub(crate) async fn definition(
        &self,
        db: &Db,
        service_id: &str,
        version: i64,
    ) -> Result<Arc<Definition>, Error> {
        let key = (db.tenant().clone(), service_id.to_owned(), version);
        let known = self
            .compiled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        if let Some(definition) = known {
            return Ok(definition);
        }
        let bytes = store::catalog::definition(db, service_id, version)
            .await?
            .ok_or(Error::Corrupt("a file's service version is missing"))?;
        let definition = Definition::read(&bytes)
            .map_err(|_| Error::Corrupt("a published definition is not sound"))?;
        let definition = Arc::new(definition);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= MAX_COMPILED {
            compiled.clear();
        }
        compiled.insert(key, definition.clone());
        Ok(definition)
    }
}

/// A time's day, as `YYYY-MM-DD` in UTC.
pub(crate) fn day_text(time: Timestamp) -> String {
    time.to_string().chars().take(10).collect()
}

/// Days from 1970-01-01 to a time.
pub(crate) fn day_number(time: Timestamp) -> i64 {
    time.micros().div_euclid(86_400_000_000)
}
