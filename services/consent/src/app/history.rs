//! What happened to a person's consent and who asked to use their data, read from the journal.

use publica_journal::EntryRow;
use publica_proto::consent::v1 as pb;
use publica_rpc::{PageToken, page_size};
use serde_json::Value;

use super::policies::check_id;
use super::records::READ;
use super::{App, PAGE_DEFAULT, PAGE_MAX, Who};
use crate::error::{Error, Why};
use crate::store;

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
        let mut subjects = store::record::ids_of_person(&shop.db, id).await?;
        subjects.push(id.to_owned());
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
        self.journal_read(who, "consent_history", id).await?;
        Ok(pb::ListConsentHistoryResponse {
            events: found.iter().map(|(_, entry)| event(entry)).collect(),
            next_page_token,
        })
    }
}

fn event(entry: &EntryRow) -> pb::ConsentEvent {
    let body: Value = entry
        .body
        .as_deref()
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .unwrap_or_default();
    let text = |name: &str| {
        let value = body.get(name).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let own = entry.subject_kind == "consent_record";
    let reasons = body.get("reasons").and_then(Value::as_array);
    pb::ConsentEvent {
        entry_id: entry.entry_id.to_string(),
        time: Some(publica_rpc::timestamp(entry.time)),
        action: entry.action.clone(),
        actor: entry.on_behalf_of.as_ref().unwrap_or(&entry.actor).clone(),
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
    }
}
