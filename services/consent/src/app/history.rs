//! What happened to a person's consent and who asked to use their data, read from the journal.

use publica_journal::EntryRow;
use publica_proto::consent::v1 as pb;
use publica_rpc::{PageToken, page_size};
use serde_json::Value;

use super::policies::check_id;
use super::records::READ;
use super::{App, PAGE_DEFAULT, PAGE_MAX, Shop, Who};
use crate::error::{Error, Why};
use crate::store::{self, Page};

/// The most delegations of a person, over them or held by them, whose events are looked for. Who
/// has more is an organisation, for which this is no account of one person's data.
const MAX_DELEGATIONS: i64 = 1_000;

/// What is done on somebody's word, which the revision names that it makes.
const ON_A_WORD: [&str; 7] = [
    "consent.record.given",
    "consent.record.refused",
    "consent.record.withdrawn",
    "consent.record.signed",
    "consent.delegation.created",
    "consent.delegation.changed",
    "consent.delegation.revoked",
];

impl App {
    /// Lists a person's history, newest first.
    pub(crate) async fn list_history(
        &self,
        who: &Who,
        mut request: pb::ListConsentHistoryRequest,
    ) -> Result<pb::ListConsentHistoryResponse, Error> {
        check_id("individual_id", &request.individual_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        request.individual_id = who.resolve(&shop, &request.individual_id).await?;
        let id = request.individual_id.as_str();
        let who = &who.acts_for(&shop, id, READ).await?;
        if who.delegate().is_some() {
            // A delegation is about agreements; the whole history is the person's.
            return Err(Why::NotYours.about(""));
        }
        let limit = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let arguments = ("history", id);
        let before = PageToken::decode::<i64>(&arguments, &request.page_token)?;
        let known = store::individual::find(&shop.db, id).await?;
        known.ok_or_else(|| Why::IndividualNotFound.about(id))?;
        if before.is_none() {
            // Entries are read in the order of the log, which follows commits after a moment.
            self.journal().catch_up(&who.origin.tenant).await?;
        }
        let subjects = subjects(&shop, id).await?;
        // That somebody looked is not part of what happened; it stands in the journal.
        let mut found = publica_journal::about(
            &shop.db,
            &subjects,
            "consent.data.read",
            before.unwrap_or(i64::MAX),
            limit + 1,
        )
        .await?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > most;
        found.truncate(most);
        let last = found.last().filter(|_| more);
        let next_page_token = last
            .map(|(position, _)| PageToken::encode(&arguments, position))
            .unwrap_or_default();
        let mut events = Vec::with_capacity(found.len());
        for (_, entry) in &found {
            let body = body(entry);
            let mut event = event(entry, &body);
            event.by_individual_id = author(&shop, who, id, entry, &body).await?;
            if event.delegate_individual_id == id && event.actor != who.origin.actor {
                // Whom a delegate acts for is named by id alone, and so are others.
                event.actor.clear();
            }
            events.push(event);
        }
        self.journal_read(who, "consent_history", id).await?;
        Ok(pb::ListConsentHistoryResponse {
            events,
            next_page_token,
            individual_id: id.to_owned(),
        })
    }
}

/// What a person's history is about: the person, their records, and the delegations over them and
/// held by them.
async fn subjects(shop: &Shop, id: &str) -> Result<Vec<String>, Error> {
    let page = Page {
        ascending: true,
        after: None,
        limit: MAX_DELEGATIONS,
        skip: 0,
    };
    let over = store::delegation::of_person(&shop.db, id, "", &page).await?;
    let held = store::delegation::of_delegate(&shop.db, id, &page).await?;
    let mut subjects = store::record::ids_of_person(&shop.db, id).await?;
    subjects.push(id.to_owned());
    subjects.extend(over.into_iter().chain(held).map(|row| row.delegation_id));
    Ok(subjects)
}

/// The person on whose word something was done; empty where it is that of a system.
async fn author(
    shop: &Shop,
    who: &Who,
    id: &str,
    entry: &EntryRow,
    body: &Value,
) -> Result<String, Error> {
    let revision_id = body.get("revision_id").and_then(Value::as_str);
    let Some(revision_id) = revision_id.filter(|_| ON_A_WORD.contains(&entry.action.as_str()))
    else {
        return Ok(String::new());
    };
    // A person who looks knows their own hand, also where the revision names it as a caller.
    if who.is_person() && who.is_self(id) && actor(entry) == who.origin.actor {
        return Ok(id.to_owned());
    }
    let revision = store::revision::find(&shop.db, revision_id).await?;
    Ok(revision.map(|row| row.by_individual).unwrap_or_default())
}

fn actor(entry: &EntryRow) -> &str {
    entry.on_behalf_of.as_ref().unwrap_or(&entry.actor)
}

fn body(entry: &EntryRow) -> Value {
    let bytes = entry.body.as_deref();
    bytes
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default()
}

fn event(entry: &EntryRow, body: &Value) -> pb::ConsentEvent {
    let text = |name: &str| {
        let value = body.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let own = entry.subject_kind == "consent_record";
    let delegation = entry.subject_kind == "delegation";
    let reasons = body.get("reasons").and_then(Value::as_array);
    pb::ConsentEvent {
        entry_id: entry.entry_id.to_string(),
        time: Some(publica_rpc::timestamp(entry.time)),
        action: entry.action.clone(),
        actor: actor(entry).to_owned(),
        consent_record_id: if own {
            entry.subject_id.clone()
        } else {
            text("record_id")
        },
        data_agreement_id: text("agreement_id"),
        consumer: text("consumer"),
        allowed: body.get("allowed").and_then(Value::as_bool),
        reasons: reasons
            .map(|all| {
                all.iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default(),
        by_individual_id: String::new(),
        delegation_id: if delegation {
            entry.subject_id.clone()
        } else {
            String::new()
        },
        delegate_individual_id: if delegation {
            text("delegate_id")
        } else {
            String::new()
        },
    }
}
