//! The account mapper: registering, changing and forgetting beneficiaries.

pub(crate) mod import;
mod reading;

pub(crate) use reading::{addresses, functional_ids};

use std::collections::{BTreeMap, BTreeSet};

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_seal::{Keyring, SealError};
use publica_store::{Db, StoreError, Tx};
use publica_types::Origin;
use serde_json::{Value, json};

use crate::app::callback::{self, Content, Target, shapes};
use crate::app::source::{check_number, check_source_id};
use crate::app::{App, call, check_reason, entry, subject};
use crate::domain::address::{self, Mapping, functional_id};
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::sealed::ANSWER;
use crate::store::beneficiary::{self as sql, NewBeneficiary};
use crate::store::programme;
use crate::store::request::{self, Key};

/// Beneficiaries in one unit of work.
const AT_ONCE: usize = 500;
/// Beneficiaries in one request.
pub(crate) const MOST: usize = 100_000;
const FIELD_ID: &str = "payments.functional_id";
const FIELD_ADDRESS: &str = "payments.address";

/// A beneficiary of good form.
#[derive(Debug, Clone)]
struct Candidate {
    functional_id: String,
    payee: Vec<u8>,
    given: pb::Beneficiary,
    /// For registrations, whose mapping stands by itself.
    mapping: Option<Mapping>,
}

/// One unit's share of a request.
struct Share {
    keyring: Keyring,
    key: Key,
    candidates: Vec<Candidate>,
}

#[derive(Default)]
struct Tally {
    done: i64,
    failed: Vec<pb::FailedCase>,
}

fn failed(given: &pb::Beneficiary, reason: impl ToString) -> pb::FailedCase {
    pb::FailedCase {
        functional_id: given.functional_id.clone(),
        modality: given.modality.clone(),
        institution: given.institution.clone(),
        reason: reason.to_string(),
    }
}

fn check_request(
    source_id: &str,
    source_request: &str,
    beneficiaries: &[pb::Beneficiary],
) -> Result<(), Invalid> {
    let mut invalid = Invalid::new();
    check_source_id(&mut invalid, "source_id", source_id);
    check_number(&mut invalid, "source_request", source_request);
    if beneficiaries.is_empty() || beneficiaries.len() > MOST {
        invalid.push("beneficiaries", "must be from 1 to 100000");
    }
    invalid.check()
}

impl App {
    pub(crate) async fn register_beneficiaries(
        &self,
        origin: &Origin,
        mut request: pb::RegisterBeneficiariesRequest,
    ) -> Result<pb::RegisterBeneficiariesResponse, Error> {
        let target = self.target(request.callback.take(), &request.source_id)?;
        check_request(
            &request.source_id,
            &request.source_request,
            &request.beneficiaries,
        )?;
        let fingerprint = publica_journal::fingerprint(&request).to_vec();
        let source = self.source(origin, &request.source_id).await?;
        let db = self.db(origin).await?;
        let source_no = source.source_no;
        let key = Key {
            source_no,
            operation: "register",
            request: request.source_request,
        };
        if let Some(answer) = self.replay(&db, &key, &fingerprint).await? {
            return Ok(answer);
        }
        let mut tally = Tally::default();
        let candidates = self.candidates(request.beneficiaries, &mut tally, |given| {
            address::mapping(
                &given.modality,
                &given.institution,
                &given.financial_address,
            )
            .map(Some)
        });
        for part in candidates.chunks(AT_ONCE) {
            let share = self.share(&key, part);
            let done = db.write("payments.register", share, |tx, share| {
                Box::pin(register_share(tx, share))
            });
            add(&mut tally, done.await?);
        }
        let answer = pb::RegisterBeneficiariesResponse {
            registered_count: tally.done,
            failed_cases: tally.failed,
        };
        let counts = (answer.registered_count, answer.failed_cases.len());
        let letter = letter(target, &key, &answer.failed_cases);
        let kept = Kept {
            key,
            fingerprint,
            letter,
            counts,
        };
        self.keep(&db, origin, kept, answer).await
    }

    pub(crate) async fn update_beneficiaries(
        &self,
        origin: &Origin,
        mut request: pb::UpdateBeneficiariesRequest,
    ) -> Result<pb::UpdateBeneficiariesResponse, Error> {
        let target = self.target(request.callback.take(), &request.source_id)?;
        check_request(
            &request.source_id,
            &request.source_request,
            &request.beneficiaries,
        )?;
        let fingerprint = publica_journal::fingerprint(&request).to_vec();
        let source = self.source(origin, &request.source_id).await?;
        let db = self.db(origin).await?;
        let source_no = source.source_no;
        let key = Key {
            source_no,
            operation: "update",
            request: request.source_request,
        };
        if let Some(answer) = self.replay(&db, &key, &fingerprint).await? {
            return Ok(answer);
        }
        let mut tally = Tally::default();
        let candidates = self.candidates(request.beneficiaries, &mut tally, |_| Ok(None));
        for part in candidates.chunks(AT_ONCE) {
            let share = self.share(&key, part);
            let done = db.write("payments.update", share, |tx, share| {
                Box::pin(update_share(tx, share))
            });
            add(&mut tally, done.await?);
        }
        let answer = pb::UpdateBeneficiariesResponse {
            updated_count: tally.done,
            failed_cases: tally.failed,
        };
        let counts = (answer.updated_count, answer.failed_cases.len());
        let letter = letter(target, &key, &answer.failed_cases);
        let kept = Kept {
            key,
            fingerprint,
            letter,
            counts,
        };
        self.keep(&db, origin, kept, answer).await
    }

    fn share(&self, key: &Key, part: &[Candidate]) -> Share {
        let (keyring, key) = (self.keyring.clone(), key.clone());
        Share {
            keyring,
            key,
            candidates: part.to_vec(),
        }
    }

    /// Those of good form, in order of their keyed hash; the others are failed cases.
    fn candidates(
        &self,
        beneficiaries: Vec<pb::Beneficiary>,
        tally: &mut Tally,
        read: impl Fn(&pb::Beneficiary) -> Result<Option<Mapping>, address::AddressError>,
    ) -> Vec<Candidate> {
        let mut seen = BTreeSet::new();
        let mut candidates = Vec::with_capacity(beneficiaries.len());
        for given in beneficiaries {
            let id = given.functional_id.clone();
            if !functional_id(&id) {
                let error = address::AddressError::FunctionalId;
                tally.failed.push(failed(&given, error));
                continue;
            }
            match read(&given) {
                Err(error) => tally.failed.push(failed(&given, error)),
                Ok(_) if !seen.insert(id.clone()) => {
                    tally
                        .failed
                        .push(failed(&given, "listed twice in one request"));
                }
                Ok(mapping) => {
                    let payee = self.payee(&id);
                    candidates.push(Candidate {
                        functional_id: id,
                        payee,
                        given,
                        mapping,
                    });
                }
            }
        }
        candidates.sort_by(|a, b| a.payee.cmp(&b.payee));
        candidates
    }

    /// The answer that was given to the same request before.
    pub(crate) async fn replay<R: prost::Message + Default>(
        &self,
        db: &Db,
        key: &Key,
        fingerprint: &[u8],
    ) -> Result<Option<R>, Error> {
        let Some(answered) = request::find(&mut db.clone(), key).await? else {
            return Ok(None);
        };
        if answered.fingerprint != fingerprint {
            return Err(Error::SourceRequestReused);
        }
        let answer = self.keyring.open_block(&ANSWER, &answered.answer)?;
        let answer = R::decode(answer.as_slice());
        answer
            .map(Some)
            .map_err(|_| Error::corrupt("a kept answer"))
    }

    /// Keeps an answer for repeats, and has it delivered. If an equal request was faster, its
    /// answer wins.
    pub(crate) async fn keep<R: prost::Message + Default + Send + 'static>(
        &self,
        db: &Db,
        origin: &Origin,
        kept: Kept,
        answer: R,
    ) -> Result<R, Error> {
        let sealed = self.keyring.seal_block(&ANSWER, &answer.encode_to_vec());
        let (key, fingerprint) = (kept.key.clone(), kept.fingerprint.clone());
        let input = (origin.clone(), self.keyring.clone(), kept, sealed);
        let done = db.write("payments.keep_answer", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, kept, sealed) = input;
                keep(tx, keyring, origin, kept, sealed).await
            })
        });
        match done.await {
            Ok(()) => Ok(answer),
            Err(Error::Store(StoreError::UniqueViolation { .. })) => {
                let earlier = self.replay(db, &key, &fingerprint).await?;
                earlier.ok_or(Error::corrupt("a kept answer"))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn erase_beneficiary(
        &self,
        origin: &Origin,
        request: pb::EraseBeneficiaryRequest,
    ) -> Result<pb::EraseBeneficiaryResponse, Error> {
        const RPC: &str = "/publica.payments.v1.BeneficiaryService/EraseBeneficiary";
        check_reason(&request.reason)?;
        // Who sees to people's rights is an officer with a scope of their own; a partner forgets
        // its own payees alone.
        self.confine(origin, &[(Kind::Block, &request.source_id)])
            .await?;
        let source = programme::find_source(&mut self.db(origin).await?, &request.source_id)
            .await?
            .ok_or(Error::SourceUnknown)?;
        let call = call(
            "payments.erase_beneficiary",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let payee = self.payee(&request.functional_id);
        let db = self.db(origin).await?;
        let source_no = source.source_no;
        let input = (
            self.keyring.clone(),
            origin.clone(),
            source_no,
            payee,
            request.reason,
        );
        write(
            &db,
            call,
            input,
            |tx, (keyring, origin, source_no, payee, reason)| {
                Box::pin(async move {
                    let row = sql::find(tx, *source_no, payee).await?;
                    row.ok_or(Error::not_found("beneficiary"))?;
                    let name = subject(*source_no, payee);
                    if !keyring.erase(tx, &name).await? {
                        return Err(Error::not_found("beneficiary"));
                    }
                    sql::deactivate(tx, *source_no, payee).await?;
                    let body = json!({"reason": reason});
                    append(
                        tx,
                        origin,
                        entry("payments.beneficiary.erased", "payee", name, body),
                    );
                    Ok(pb::EraseBeneficiaryResponse {})
                })
            },
        )
        .await
    }
}

/// An answer to keep under its request.
pub(crate) struct Kept {
    pub(crate) key: Key,
    pub(crate) fingerprint: Vec<u8>,
    /// Whom to tell what.
    pub(crate) letter: Option<(Target, Value)>,
    /// How many items were done, and how many failed.
    pub(crate) counts: (i64, usize),
}

async fn keep(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    kept: &Kept,
    sealed: &[u8],
) -> Result<(), Error> {
    let key = &kept.key;
    request::insert(tx, key, &kept.fingerprint, sealed).await?;
    if let Some((target, body)) = &kept.letter {
        let name = format!("{}:{:x}:{}", key.operation, key.source_no, key.request);
        let body = Content::Body(body.clone());
        callback::post(tx, keyring, origin, &name, target, body).await?;
    }
    let action = match key.operation {
        "register" => "payments.beneficiaries.registered",
        "update" => "payments.beneficiaries.updated",
        "issue" => "payments.vouchers.issued",
        _ => "payments.vouchers.changed",
    };
    let (done, failed) = kept.counts;
    let body = json!({"done": done, "failed": failed, "request": key.request});
    let source = format!("{:x}", key.source_no);
    append(tx, origin, entry(action, "source_block", source, body));
    Ok(())
}

fn letter(target: Option<Target>, key: &Key, failed: &[pb::FailedCase]) -> Option<(Target, Value)> {
    let target = target?;
    let changed = key.operation == "update";
    let body = shapes::beneficiaries(target.form, changed, &key.request, failed);
    Some((target, body))
}

fn add(tally: &mut Tally, part: Tally) {
    tally.done += part.done;
    tally.failed.extend(part.failed);
}

async fn register_share(tx: &mut Tx<'_>, share: &Share) -> Result<Tally, Error> {
    let source_no = share.key.source_no;
    let payees: Vec<Vec<u8>> = share.candidates.iter().map(|c| c.payee.clone()).collect();
    let known = sql::routes(tx, source_no, &payees).await?;
    // A row that this very request left before it was cut short is no duplicate.
    let known: BTreeMap<Vec<u8>, bool> = known
        .into_iter()
        .map(|row| (row.payee, row.registered_by == share.key.request))
        .collect();
    let mut tally = Tally::default();
    let mut fresh = Vec::new();
    for candidate in &share.candidates {
        match known.get(&candidate.payee) {
            None => fresh.push(candidate),
            Some(true) => tally.done += 1,
            Some(false) => {
                let case = failed(&candidate.given, "registered already");
                tally.failed.push(case);
            }
        }
    }
    if !fresh.is_empty() {
        let rows = seal(tx, share, &fresh).await?;
        sql::insert(tx, source_no, &share.key.request, &rows).await?;
        tally.done += i64::try_from(rows.len()).unwrap_or(i64::MAX);
    }
    Ok(tally)
}

async fn seal(
    tx: &mut Tx<'_>,
    share: &Share,
    fresh: &[&Candidate],
) -> Result<Vec<NewBeneficiary>, Error> {
    let source_no = share.key.source_no;
    let names: Vec<String> = fresh.iter().map(|c| subject(source_no, &c.payee)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let keys = share.keyring.subjects(tx, &names).await?;
    let mut rows = Vec::with_capacity(fresh.len());
    for (candidate, key) in fresh.iter().zip(&keys) {
        let Some(mapping) = &candidate.mapping else {
            continue;
        };
        rows.push(NewBeneficiary {
            payee: candidate.payee.clone(),
            modality: mapping.modality.code(),
            institution: mapping.institution.clone(),
            functional_id: key.seal(FIELD_ID, candidate.functional_id.as_bytes()),
            address: key.seal(FIELD_ADDRESS, mapping.address.as_bytes()),
        });
    }
    Ok(rows)
}

async fn update_share(tx: &mut Tx<'_>, share: &Share) -> Result<Tally, Error> {
    let source_no = share.key.source_no;
    let payees: Vec<Vec<u8>> = share.candidates.iter().map(|c| c.payee.clone()).collect();
    let rows = sql::find_many(tx, source_no, &payees).await?;
    let rows: BTreeMap<Vec<u8>, sql::BeneficiaryRow> = rows
        .into_iter()
        .map(|row| (row.payee.clone(), row))
        .collect();
    let mut tally = Tally::default();
    for candidate in &share.candidates {
        let given = &candidate.given;
        let Some(row) = rows.get(&candidate.payee) else {
            tally.failed.push(failed(given, "not registered"));
            continue;
        };
        let name = subject(source_no, &candidate.payee);
        let key = match share.keyring.load_in(tx, &name).await {
            Ok(Some(key)) => key,
            Ok(None) | Err(SealError::Erased) => {
                tally.failed.push(failed(given, "not registered"));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let old = key.open_text(FIELD_ADDRESS, &row.address)?;
        match merged(row, &old, given) {
            Err(error) => tally.failed.push(failed(given, error)),
            Ok(mapping) => {
                let new = NewBeneficiary {
                    payee: candidate.payee.clone(),
                    modality: mapping.modality.code(),
                    institution: mapping.institution,
                    functional_id: Vec::new(),
                    address: key.seal(FIELD_ADDRESS, mapping.address.as_bytes()),
                };
                let in_use = given.in_use.unwrap_or(row.active);
                sql::update(tx, source_no, &new, in_use).await?;
                tally.done += 1;
            }
        }
    }
    Ok(tally)
}

/// The mapping after a change: what the change leaves out stays. A new address without an
/// institution gets a derived one, for the old one may not know it.
fn merged(
    row: &sql::BeneficiaryRow,
    old: &str,
    given: &pb::Beneficiary,
) -> Result<Mapping, address::AddressError> {
    let unless = |given: &str, old: &str| match given {
        "" => old.to_owned(),
        given => given.to_owned(),
    };
    let moved = !given.financial_address.is_empty() || !given.modality.is_empty();
    let institution = match moved {
        true => given.institution.clone(),
        false => unless(&given.institution, &row.institution),
    };
    let modality = unless(&given.modality, &row.modality);
    address::mapping(
        &modality,
        &institution,
        &unless(&given.financial_address, old),
    )
}
