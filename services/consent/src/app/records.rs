//! Consent records: drafts, answers, changes, lists.

use std::sync::Arc;

use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::Timestamp;
use serde_json::json;

use super::age::check_age_of;
use super::delegations::{Acting, Matter, acting, hold, word};
use super::policies::check_id;
use super::revisions::{self, Change, revise};
use super::revocations::{About, revoke};
use super::shown::{fill, key_of, present, present_all, seal_circumstances, with_text};
use super::texts::{Text, text, text_in};
use super::{
    App, Input, Paging, Shop, Who, by, call, entry, next_token, notices, record_keys, time,
};
use crate::domain::agreement;
use crate::domain::delegation::Act;
use crate::domain::record;
use crate::domain::signature;
use crate::domain::snapshot::{By, snapshot};
use crate::error::{Error, Why};
use crate::store::record::{Filter, Row};
use crate::store::{self, Cursor, Span};

/// The scopes that systems need.
pub(crate) const READ: &str = "consent:record:read";
pub(crate) const WRITE: &str = "consent:record:write";

/// An answer that is about to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Intended {
    /// The record as sent, choices by attribute id.
    pub(crate) record: pb::ConsentRecord,
    /// The text that it answers.
    pub(crate) text: Arc<Text>,
    /// On whose word, when it is not the person's own.
    pub(crate) acting: Option<Acting>,
}

/// Checks that an agreement takes this answer, and fills the record with what is known.
pub(crate) async fn intend(shop: &Shop, sent: pb::ConsentRecord) -> Result<Intended, Error> {
    check_id("consentRecord.individualId", &sent.individual_id)?;
    check_id("consentRecord.dataAgreementId", &sent.data_agreement_id)?;
    record::check_texts(&sent)?;
    let row = store::agreement::find(&shop.db, &sent.data_agreement_id).await?;
    let row = row.ok_or_else(|| Why::AgreementNotFound.about(&*sent.data_agreement_id))?;
    intend_for(shop, &row, sent).await
}

/// The same for an agreement at hand.
pub(crate) async fn intend_for(
    shop: &Shop,
    row: &store::agreement::Row,
    mut sent: pb::ConsentRecord,
) -> Result<Intended, Error> {
    let id = &row.agreement_id;
    match row.lifecycle() {
        pb::AgreementLifecycle::Complete => {}
        pb::AgreementLifecycle::Terminated => return Err(Why::AgreementTerminated.about(id)),
        _ => return Err(Why::AgreementInactive.about(id)),
    }
    let published = text(shop, &row.published_revision_id).await?;
    if published.agreement.active != Some(true) {
        return Err(Why::AgreementInactive.about(id));
    }
    // On some other grounds people may object; there is nothing to say yes to.
    let objects = sent.opt_in == Some(false) && agreement::may_be_objected(&published.agreement);
    if !agreement::rests_on_consent(&published.agreement) && !objects {
        return Err(Why::BasisNotConsent.about(id));
    }
    let asked = sent.data_agreement_revision_id.as_str();
    let answered = if asked.is_empty() || asked == row.published_revision_id {
        published
    } else {
        let earlier = text(shop, asked).await?;
        if earlier.agreement.data_agreement_id != *id {
            return Err(Why::RevisionMismatch.about(asked));
        }
        if !agreement::carries_over(&published.agreement, asked) {
            return Err(Why::RevisionSuperseded.about(asked));
        }
        earlier
    };
    let hash = sent.data_agreement_revision_hash.as_str();
    let hashes = [
        &answered.revision.serialized_hash,
        &answered.revision.serialized_hash_sha256,
    ];
    if !hash.is_empty() && !hashes.iter().any(|one| one.eq_ignore_ascii_case(hash)) {
        return Err(Why::HashMismatch.about(""));
    }
    if hash.is_empty() {
        sent.data_agreement_revision_hash
            .clone_from(&answered.revision.serialized_hash);
    }
    sent.data_agreement_revision_id
        .clone_from(&answered.revision.revision_id);
    sent.attributes = record::choices(&answered.agreement, &sent.attributes)?;
    Ok(Intended {
        record: sent,
        text: answered,
        acting: None,
    })
}

/// The row of a new record that is the current answer from now on.
pub(crate) fn fresh_row(
    intended: &Intended,
    record_id: &str,
    key: &SubjectKey,
    now: Timestamp,
) -> Result<Row, Error> {
    let record = &intended.record;
    let from = time("validFrom", record.valid_from_time.as_ref())?.unwrap_or(now);
    let asked = time("validUntil", record.valid_until_time.as_ref())?;
    Ok(Row {
        record_id: record_id.to_owned(),
        individual_id: record.individual_id.clone(),
        agreement_id: record.data_agreement_id.clone(),
        agreement_revision_id: record.data_agreement_revision_id.clone(),
        agreement_revision_hash: record.data_agreement_revision_hash.clone(),
        opt_in: record.opt_in,
        ever_given: record.opt_in == Some(true),
        state: i64::from(pb::RecordState::Unsigned as i32),
        is_current: true,
        valid_from: from,
        valid_until: record::valid_until(&intended.text.agreement, from, asked),
        sealed: seal_circumstances(key, record),
        revision_id: String::new(),
        revision_sha256: String::new(),
        signature_id: String::new(),
        created: now,
        updated: now,
        delegation_id: intended
            .acting
            .as_ref()
            .map(|one| one.delegation_id.clone())
            .unwrap_or_default(),
        reconfirm_from: intended.acting.as_ref().and_then(|one| one.ends),
        delegation_void: false,
        lifecycle: i64::from(pb::AgreementLifecycle::Complete as i32),
        published_revision_id: record.data_agreement_revision_id.clone(),
    })
}

/// Makes the next revision of a record.
pub(crate) async fn record_revision(
    tx: &mut Tx<'_>,
    shop: &Shop,
    key: &SubjectKey,
    shown: &pb::ConsentRecord,
    by: By<'_>,
    predecessor_signature: &str,
) -> Result<pb::Revision, Error> {
    let change = Change {
        schema: pb::Schema::ConsentRecord,
        object_id: &shown.consent_record_id,
        data: record::data(shown),
        by,
        body: None,
        subject: Some(key),
        predecessor_signature,
    };
    revise(tx, shop, change).await
}

/// Who causes an answer: the person, the delegate on whose word it is, or whoever writes it down.
pub(crate) fn by_word<'a>(
    who: &'a Who,
    individual_id: &'a str,
    acting: Option<&'a Acting>,
) -> By<'a> {
    match acting {
        Some(acting) => By::Individual(&acting.delegate_id),
        None => by(who, individual_id),
    }
}

/// The journal's name for what an answer does.
pub(crate) fn action(opt_in: Option<bool>, ever_given: bool) -> &'static str {
    match (opt_in, ever_given) {
        (Some(true), _) => "consent.record.given",
        (_, true) => "consent.record.withdrawn",
        _ => "consent.record.refused",
    }
}

impl App {
    /// Writes down what a person would sign.
    pub(crate) async fn draft_record(
        &self,
        who: &Who,
        mut request: pb::DraftConsentRecordRequest,
    ) -> Result<pb::DraftConsentRecordResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        check_id("individual_id", &request.individual_id)?;
        request.individual_id = who.resolve(&shop, &request.individual_id).await?;
        let who = &who.acts_for(&shop, &request.individual_id, WRITE).await?;
        let known = store::individual::find(&shop.db, &request.individual_id).await?;
        known.ok_or_else(|| Why::IndividualNotFound.about(&*request.individual_id))?;
        let named = request.delegate_individual_id;
        let intended = intend(
            &shop,
            pb::ConsentRecord {
                individual_id: request.individual_id,
                data_agreement_id: request.data_agreement_id,
                data_agreement_revision_id: request.data_agreement_revision_id,
                opt_in: Some(request.opt_in.unwrap_or(true)),
                attributes: request.attributes,
                language: request.language,
                collection_method: request.collection_method,
                channel: request.channel,
                ..pb::ConsentRecord::default()
            },
        );
        let Intended {
            record: mut drafted,
            text,
            ..
        } = intended.await?;
        let (act, matter) = (Act::of(drafted.opt_in), Matter::of(&text.agreement));
        let acting = word(&shop, who, &drafted.individual_id, &named, act, matter).await?;
        let method = request.verification_method;
        if !method.is_empty() {
            signature::Method::of(&method)?;
        }
        let mut known = pb::Signature {
            verification_method: method,
            ..pb::Signature::default()
        };
        if acting.is_some() {
            signature::DELEGATE.clone_into(&mut known.verification_signed_as);
        }
        let signer = acting
            .as_ref()
            .map_or(&drafted.individual_id, |one| &one.delegate_id);
        let locked = snapshot(
            pb::Schema::ConsentRecord,
            None,
            record::data(&drafted),
            shop.now(),
            By::Individual(signer),
        );
        let now = publica_rpc::timestamp(shop.now());
        let signature = signature::draft(known, &locked.text, None, now);
        drafted.state = pb::RecordState::Unsigned.into();
        drafted.effective_status = pb::EffectiveStatus::Requested.into();
        drafted.data_agreement = Some(text.agreement.clone());
        drafted.data_agreement_revision = Some(text.revision.clone());
        Ok(pb::DraftConsentRecordResponse {
            consent_record: Some(drafted),
            signature: Some(signature),
        })
    }

    /// Stores an unsigned yes.
    pub(crate) async fn create_record(
        &self,
        who: &Who,
        mut request: pb::CreateConsentRecordRequest,
    ) -> Result<pb::CreateConsentRecordResponse, Error> {
        const RPC: &str = "/publica.consent.v1.ConsentRecordService/CreateConsentRecord";
        let shop = self.shop(&who.origin.tenant).await?;
        check_id("individual_id", &request.individual_id)?;
        request.individual_id = who.resolve(&shop, &request.individual_id).await?;
        let who = &who.acts_for(&shop, &request.individual_id, WRITE).await?;
        let call = call(
            "consent.create_record",
            RPC,
            who,
            &request,
            &request.request_id,
        );
        let own = who.is_self(&request.individual_id) || who.delegate().is_some();
        let assisted = if own {
            String::new()
        } else {
            who.origin.actor.clone()
        };
        let named = request.delegate_individual_id;
        let mut intended = intend(
            &shop,
            pb::ConsentRecord {
                individual_id: request.individual_id,
                data_agreement_id: request.data_agreement_id,
                data_agreement_revision_id: request.data_agreement_revision_id,
                opt_in: Some(true),
                attributes: request.attributes,
                language: request.language,
                collection_method: request.collection_method,
                channel: request.channel,
                assisted_by: assisted,
                ..pb::ConsentRecord::default()
            },
        )
        .await?;
        let text = Arc::clone(&intended.text);
        let person = intended.record.individual_id.as_str();
        let matter = Matter::of(&text.agreement);
        intended.acting = word(&shop, who, person, &named, Act::Give, matter).await?;
        if intended.acting.is_none() {
            check_age_of(&shop, person, &text.agreement).await?;
        }
        let input: Input<Intended> = (Arc::clone(&shop), who.clone(), intended);
        let written = publica_journal::write(&shop.db, call, input, |tx, (shop, who, one)| {
            Box::pin(create(tx, shop, who, one))
        });
        let mut answer: pb::CreateConsentRecordResponse = written.await?;
        answer.consent_record = with_text(answer.consent_record, &text);
        Ok(answer)
    }

    /// Returns one record.
    pub(crate) async fn get_record(
        &self,
        who: &Who,
        mut request: pb::GetConsentRecordRequest,
    ) -> Result<pb::GetConsentRecordResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let row = if request.consent_record_id.is_empty() {
            check_id("individual_id", &request.individual_id)?;
            check_id("data_agreement_id", &request.data_agreement_id)?;
            request.individual_id = who.resolve(&shop, &request.individual_id).await?;
            let who = &who.acts_for(&shop, &request.individual_id, READ).await?;
            within(
                &shop,
                who,
                &request.individual_id,
                &request.data_agreement_id,
                Act::View,
            )
            .await?;
            let (person, agreement) = (&request.individual_id, &request.data_agreement_id);
            store::record::current(&shop.db, person, agreement).await?
        } else {
            check_id("consent_record_id", &request.consent_record_id)?;
            let id = request.consent_record_id.as_str();
            Some(
                self.own_row(&shop, who, id, &request.individual_id, READ)
                    .await?
                    .1,
            )
        };
        let row = row.ok_or_else(|| Why::RecordNotFound.about(request.consent_record_id))?;
        let key = key_of(&shop, &row.individual_id).await?;
        let full = request.view == i32::from(pb::RecordView::Full);
        let record = present(&shop, &row, key.as_ref(), full).await?;
        let revision = revisions::read(&shop, &row.revision_id).await?;
        self.journal_read(who, "consent_record", &row.record_id)
            .await?;
        Ok(pb::GetConsentRecordResponse {
            consent_record: Some(record),
            revision: Some(revision),
        })
    }

    /// A record that the caller may see. What is somebody else's looks to people as if it did
    /// not exist for them.
    pub(crate) async fn own_row(
        &self,
        shop: &Shop,
        who: &Who,
        record_id: &str,
        individual_id: &str,
        scope: &'static str,
    ) -> Result<(Who, Row), Error> {
        let row = store::record::find(&shop.db, record_id).await?;
        let Some(row) = row else {
            // Who may not see all records learns nothing from the difference.
            if !who.may("consent:audit:read") {
                who.need(scope)?;
            }
            return Err(Why::RecordNotFound.about(record_id));
        };
        let who = who.acts_for(shop, &row.individual_id, scope).await?;
        // Withdrawing is the least of what lets somebody write.
        let act = if scope == READ {
            Act::View
        } else {
            Act::Withdraw
        };
        within(shop, &who, &row.individual_id, &row.agreement_id, act).await?;
        if !individual_id.is_empty() && row.individual_id != individual_id {
            return Err(Why::NotYours.about(""));
        }
        Ok((who, row))
    }

    /// Lists records.
    pub(crate) async fn list_records(
        &self,
        who: &Who,
        mut request: pb::ListConsentRecordsRequest,
    ) -> Result<pb::ListConsentRecordsResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let all = who.may(READ) || who.may("consent:audit:read");
        if !all || !request.individual_id.is_empty() {
            check_id("individual_id", &request.individual_id)?;
            request.individual_id = who.resolve(&shop, &request.individual_id).await?;
        }
        let who = &who.acts_for(&shop, &request.individual_id, READ).await?;
        within(
            &shop,
            who,
            &request.individual_id,
            &request.data_agreement_id,
            Act::View,
        )
        .await?;
        let arguments = (
            (
                "records",
                &request.individual_id,
                &request.data_agreement_id,
            ),
            (
                &request.data_agreement_revision_id,
                request.opt_in,
                request.state,
            ),
            (
                &request.policy_id,
                request.lawful_basis,
                request.current_only,
                request.order,
            ),
            request.from_time.map(|time| (time.seconds, time.nanos)),
            request.to_time.map(|time| (time.seconds, time.nanos)),
        );
        let paging = Paging {
            size: request.page_size,
            token: &request.page_token,
            skip: request.skip,
            ascending: request.order == i32::from(pb::SortOrder::Ascending),
        };
        let page = paging.page(&arguments)?;
        let filter = filter(&request)?;
        let mut rows = store::record::list(&shop.db, &filter, &page).await?;
        let next_page_token = next_token(&mut rows, &page, &arguments, |row| Cursor {
            at: row.created.micros(),
            id: row.record_id.clone(),
        });
        let total_size = if request.include_total {
            Some(store::record::count(&shop.db, &filter).await?)
        } else {
            None
        };
        let full = request.view == i32::from(pb::RecordView::Full);
        let consent_records = present_all(&shop, &rows, full).await?;
        self.journal_read(who, "consent_records", &request.individual_id)
            .await?;
        Ok(pb::ListConsentRecordsResponse {
            consent_records,
            next_page_token,
            total_size,
        })
    }
}

/// Checks that a delegate may do this with what was answered under this agreement, or under any.
async fn within(
    shop: &Shop,
    who: &Who,
    individual_id: &str,
    agreement_id: &str,
    act: Act,
) -> Result<(), Error> {
    let Some(delegate) = who.delegate() else {
        return Ok(());
    };
    let row = store::agreement::find(&shop.db, agreement_id).await?;
    let code = row
        .map(|row| row.published_purpose_code)
        .unwrap_or_default();
    let matter = Matter {
        agreement_id,
        purpose_code: &code,
    };
    acting(shop, individual_id, delegate, act, matter).await?;
    Ok(())
}

fn filter(request: &pb::ListConsentRecordsRequest) -> Result<Filter, Error> {
    Ok(Filter {
        individual_id: request.individual_id.clone(),
        agreement_id: request.data_agreement_id.clone(),
        agreement_revision_id: request.data_agreement_revision_id.clone(),
        opt_in: request.opt_in,
        state: request.state,
        policy_id: request.policy_id.clone(),
        lawful_basis: request.lawful_basis,
        current_only: request.current_only,
        span: Span {
            from: time("from_time", request.from_time.as_ref())?,
            to: time("to_time", request.to_time.as_ref())?,
        },
    })
}

async fn create(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    intended: &Intended,
) -> Result<pb::CreateConsentRecordResponse, Error> {
    let now = tx.now();
    let person = intended.record.individual_id.as_str();
    let known = store::individual::find_in(tx, person).await?;
    known.ok_or_else(|| Why::IndividualNotFound.about(person))?;
    let text = text_in(tx, shop, &intended.record.data_agreement_revision_id).await?;
    let key = shop.keyring.subject(tx, person).await?;
    let (acting, matter) = (intended.acting.as_ref(), Matter::of(&text.agreement));
    hold(tx, who, &key, acting, Act::Give, matter).await?;
    let mut shown = intended.record.clone();
    shown.consent_record_id = shop.id();
    let mut row = fresh_row(intended, &shown.consent_record_id, &key, now)?;
    let retired = retire(tx, &row, now).await?;
    let by = by_word(who, person, acting);
    let own = record_keys::make(tx, &key, &row.record_id).await?;
    let revision = record_revision(tx, shop, &own, &shown, by, "").await?;
    row.revision_id.clone_from(&revision.revision_id);
    row.revision_sha256
        .clone_from(&revision.serialized_hash_sha256);
    if !store::record::insert(tx, &row).await? {
        return Err(Why::RecordExists.about(&*row.agreement_id));
    }
    tell(tx, &row, retired).await?;
    note(tx, who, &row, action(row.opt_in, row.ever_given));
    if acting.is_some() || !who.is_self(person) {
        notices::answered(tx, shop, who, &row).await?;
    }
    fill(&mut shown, &row, Some(&text.agreement), now);
    Ok(pb::CreateConsentRecordResponse {
        consent_record: Some(shown),
        revision: Some(revision),
    })
}

/// Makes the person's earlier answers to other texts of the agreement history; whether there
/// were any.
pub(crate) async fn retire(tx: &mut Tx<'_>, row: &Row, now: Timestamp) -> Result<bool, Error> {
    let (person, agreement) = (&row.individual_id, &row.agreement_id);
    let answered = &row.agreement_revision_id;
    let retired = store::record::retire(tx, person, agreement, answered, now).await?;
    Ok(retired > 0)
}

/// Tells of an answer that takes something back: a no, or one in place of an earlier answer.
pub(crate) async fn tell(tx: &mut Tx<'_>, row: &Row, replaces: bool) -> Result<(), Error> {
    if row.opt_in == Some(true) && !replaces {
        return Ok(());
    }
    let about = About {
        individual_id: &row.individual_id,
        agreement_id: &row.agreement_id,
        record_id: &row.record_id,
    };
    revoke(tx, about, pb::RevocationCause::AnswerChanged).await
}

/// Journals what became of a record.
pub(crate) fn note(tx: &mut Tx<'_>, who: &Who, row: &Row, action: &'static str) {
    let body = json!({
        "agreement_id": row.agreement_id,
        "agreement_revision_id": row.agreement_revision_id,
        "individual_id": row.individual_id,
        "revision_id": row.revision_id,
        "revision_sha256": row.revision_sha256,
    });
    append(
        tx,
        &who.origin,
        entry(action, "consent_record", &row.record_id, body),
    );
}
