//! What happened to a person's consent and who asked to use their data, read from the journal.

use publica_proto::consent::v1 as pb;
use publica_proto::journal::v1 as journal;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_rpc::{PageToken, page_size};
use serde_json::Value;
use tonic::Request;

use super::policies::check_id;
use super::records::READ;
use super::{App, PAGE_DEFAULT, PAGE_MAX, Who};
use crate::error::{Error, Why};
use crate::store;

/// Records of one person whose entries are read, and entries in all, at most.
const MAX_RECORDS: i64 = 1_000;
const MAX_ENTRIES: usize = 20_000;

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
        // Entries are read in the order of the log, which follows commits after a moment.
        self.journal().catch_up(&who.origin.tenant).await?;
        let mut subjects = store::record::ids_of_person(&shop.db, id, MAX_RECORDS).await?;
        subjects.push(id.to_owned());
        let mut found = Vec::new();
        for subject in subjects {
            self.entries_about(who, subject, &mut found).await?;
            if found.len() >= MAX_ENTRIES {
                break;
            }
        }
        found.retain(|entry| before.is_none_or(|before| entry.position < before));
        found.sort_by_key(|entry| std::cmp::Reverse(entry.position));
        found.dedup_by_key(|entry| entry.position);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > most;
        found.truncate(most);
        let last = found.last().filter(|_| more);
        let next_page_token = last
            .map(|last| PageToken::encode(&arguments, &last.position))
            .unwrap_or_default();
        self.journal_read(who, "consent_history", id).await?;
        Ok(pb::ListConsentHistoryResponse {
            events: found.iter().map(event).collect(),
            next_page_token,
        })
    }

    /// Entries about one subject, oldest first, appended to `found`.
    async fn entries_about(
        &self,
        who: &Who,
        subject_id: String,
        found: &mut Vec<journal::Entry>,
    ) -> Result<(), Error> {
        let mut client = JournalServiceClient::new(self.journal().service());
        let mut page_token = String::new();
        while found.len() < MAX_ENTRIES {
            let mut request = Request::new(journal::ListEntriesRequest {
                page_size: PAGE_MAX,
                page_token,
                subject_id: subject_id.clone(),
                ..journal::ListEntriesRequest::default()
            });
            if let Some(caller) = who.caller() {
                request.extensions_mut().insert(caller.clone());
            }
            let answer = client.list_entries(request).await.map_err(Error::History)?;
            let answer = answer.into_inner();
            let told = answer.entries.into_iter();
            // That somebody looked is not part of what happened; it stands in the journal.
            found.extend(told.filter(|entry| entry.action != "consent.data.read"));
            page_token = answer.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

fn event(entry: &journal::Entry) -> pb::ConsentEvent {
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
        entry_id: entry.entry_id.clone(),
        time: entry.create_time,
        action: entry.action.clone(),
        actor: if entry.on_behalf_of.is_empty() {
            entry.actor.clone()
        } else {
            entry.on_behalf_of.clone()
        },
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
