//! Enrolment packets, in one step or in several.
//!
//! A packet's content is sealed under the enrolment's own key. Until the last step arrives the
//! enrolment can be changed by sending a step again; the last step adds everything up and
//! enrols or updates the person.

use publica_jose::base64url;
use publica_journal::Entry;
use publica_proto::identity::v1 as pb;
use publica_rpc::{PageToken, page_size};
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::enrol::Enrolled;
use crate::app::person::next;
use crate::app::{App, Mutation, PACKET};
use crate::convert;
use crate::domain::attributes::Attributes;
use crate::domain::identifier::is_alias_kind;
use crate::domain::person::{PersonId, PersonState};
use crate::error::{Error, Refused};
use crate::store;
use crate::store::enrolment::{Enrolment, NewPacket};

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 500;
const MAX_EVIDENCE: usize = 1024 * 1024;
const MAX_STEPS: usize = 32;
const UPDATE: &str = "UPDATE";

/// What a packet holds, as it is sealed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Content {
    process: String,
    schema_version: String,
    attributes: Vec<(String, String, String)>,
    aliases: Vec<(String, String)>,
    evidence: String,
    individual_id: String,
    finalize: bool,
}

/// The answer that a repeated packet gets again.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    created: bool,
    vid: String,
}

struct Submission {
    app: App,
    origin: Origin,
    registration_id: String,
    ref_id: String,
    source: String,
    content: Content,
    hash: Vec<u8>,
    text: Vec<u8>,
}

/// What came of the last step.
struct Outcome {
    state: &'static str,
    person_id: Option<PersonId>,
    answer: Answer,
}

impl App {
    /// Takes a packet.
    pub(crate) async fn submit_packet(
        &self,
        mutation: &Mutation,
        request: pb::SubmitPacketRequest,
    ) -> Result<pb::SubmitPacketResponse, Error> {
        check(&request)?;
        self.check_content(&request)?;
        let pair = |alias: pb::Alias| (alias.kind, alias.value);
        let content = Content {
            process: request.process,
            schema_version: request.schema_version,
            attributes: request
                .attributes
                .into_iter()
                .map(|one| (one.name, one.language, one.value))
                .collect(),
            aliases: request.aliases.into_iter().map(pair).collect(),
            evidence: request.evidence_json,
            individual_id: request.individual_id,
            finalize: request.finalize,
        };
        let text = serde_json::to_vec(&content).map_err(|_| Error::Record("packet"))?;
        let submission = Submission {
            app: self.clone(),
            origin: mutation.origin.clone(),
            registration_id: request.packet_id,
            ref_id: request.ref_id,
            source: request.source,
            hash: aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text)
                .as_ref()
                .to_vec(),
            content,
            text,
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.submit_packet");
        publica_journal::write(&db, call, submission, |tx, submission| {
            Box::pin(async move { submission.run(tx).await })
        })
        .await
    }

    /// What a step brings is looked at before it is kept, though it may be used only with the
    /// last one.
    fn check_content(&self, request: &pb::SubmitPacketRequest) -> Result<(), Error> {
        let mut invalid = publica_rpc::Invalid::new();
        let mut attributes = Attributes::default();
        for (at, one) in request.attributes.iter().enumerate() {
            if let Err(fault) = attributes.set(&one.name, &one.language, &one.value) {
                invalid.push(format!("attributes[{at}]"), fault);
            }
        }
        for (at, one) in request.aliases.iter().enumerate() {
            if !is_alias_kind(&one.kind) || self.lookup(&one.value).is_none() {
                invalid.push(format!("aliases[{at}]"), "is no identifier");
            }
        }
        Ok(invalid.check()?)
    }

    /// One enrolment.
    pub(crate) async fn get_enrolment(
        &self,
        origin: &Origin,
        registration_id: &str,
    ) -> Result<pb::GetEnrolmentResponse, Error> {
        let db = self.db(origin).await?;
        let row = store::enrolment::read(&db, registration_id).await?;
        let row = row.ok_or(Refused::EnrolmentUnknown)?;
        Ok(pb::GetEnrolmentResponse {
            enrolment: Some(convert::enrolment(&row)),
        })
    }

    /// A page of enrolments.
    pub(crate) async fn list_enrolments(
        &self,
        origin: &Origin,
        request: &pb::ListEnrolmentsRequest,
    ) -> Result<pb::ListEnrolmentsResponse, Error> {
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let state = convert::enrolment_state_name(request.state());
        let after: Option<(i64, String)> = PageToken::decode(&state, &request.page_token)?;
        let after = after.map(|(micros, id)| (Timestamp::from_micros(micros), id));
        let db = self.db(origin).await?;
        let mut found = store::enrolment::list(&db, after, state, size + 1).await?;
        let next_page_token = next(&mut found, size, |row| {
            PageToken::encode(
                &state,
                &(row.created.micros(), row.registration_id.as_str()),
            )
        });
        let enrolments = found.iter().map(convert::enrolment).collect();
        Ok(pb::ListEnrolmentsResponse {
            enrolments,
            next_page_token,
        })
    }
}

fn check(request: &pb::SubmitPacketRequest) -> Result<(), Error> {
    let mut invalid = publica_rpc::Invalid::new();
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if !(1..=64).contains(&request.packet_id.len()) || !plain(&request.packet_id) {
        invalid.push(
            "packet_id",
            "must be 1 to 64 letters, digits, hyphens and underscores",
        );
    }
    if !(1..=32).contains(&request.process.len()) || !plain(&request.process) {
        invalid.push(
            "process",
            "must be 1 to 32 letters, digits, hyphens and underscores",
        );
    }
    let texts = [
        ("ref_id", &request.ref_id),
        ("source", &request.source),
        ("schema_version", &request.schema_version),
    ];
    for (field, text) in texts {
        if text.chars().count() > 128 || text.chars().any(char::is_control) {
            invalid.push(field, "must be at most 128 printable characters");
        }
    }
    invalid.check()?;
    let evidence = &request.evidence_json;
    if evidence.len() > MAX_EVIDENCE {
        return Err(Refused::PacketTooLarge.into());
    }
    if !evidence.is_empty() && serde_json::from_str::<serde::de::IgnoredAny>(evidence).is_err() {
        return Err(publica_rpc::invalid("evidence_json", "is no JSON text").into());
    }
    Ok(())
}

/// The name under which the key of an enrolment's packets is kept.
pub(crate) fn packet_subject(registration_id: &str) -> String {
    format!("enrolment:{registration_id}")
}

impl Submission {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::SubmitPacketResponse, Error> {
        let now = tx.now();
        let earlier = store::enrolment::find(tx, &self.registration_id).await?;
        if let Some(row) = &earlier {
            let answer = store::enrolment::answer(tx, &row.registration_id, &self.hash).await?;
            if let Some(answer) = answer {
                let answer: Answer =
                    serde_json::from_str(&answer).map_err(|_| Error::Record("packet"))?;
                return Ok(self.response(row, &answer));
            }
            if row.state != "received" {
                return Err(Refused::PacketConflict.into());
            }
        }
        let mut steps = self.steps(tx).await?;
        if steps.len() >= MAX_STEPS {
            return Err(Refused::PacketClosed.into());
        }
        let position = i64::try_from(steps.len()).unwrap_or(i64::MAX);
        steps.push(self.content.clone());
        let came = if self.content.finalize {
            self.finish(tx, &steps).await?
        } else {
            let answer = Answer {
                created: false,
                vid: String::new(),
            };
            Outcome {
                state: "received",
                person_id: None,
                answer,
            }
        };
        let row = Enrolment {
            registration_id: self.registration_id.clone(),
            process: self.content.process.clone(),
            source: self.source.clone(),
            ref_id: self.ref_id.clone(),
            state: came.state.to_owned(),
            person_id: came.person_id,
            created: earlier.map_or(now, |row| row.created),
            updated: now,
        };
        store::enrolment::put(tx, &row).await?;
        self.keep(tx, position, &came.answer).await?;
        let entry = Entry::new("identity.packet.received")
            .subject("enrolment", &self.registration_id)
            .body(json!({
                "process": row.process,
                "state": row.state,
                "person": row.person_id.map(|id| id.to_string()),
                "content": hex::encode(&self.hash),
            }));
        publica_journal::append(tx, &self.origin, entry);
        Ok(self.response(&row, &came.answer))
    }

    /// The steps that came before, opened.
    async fn steps(&self, tx: &mut Tx<'_>) -> Result<Vec<Content>, Error> {
        let sealed = store::enrolment::packets(tx, &self.registration_id).await?;
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        let subject = packet_subject(&self.registration_id);
        let key = self.app.keyring.load_in(tx, &subject).await?;
        let key = key.ok_or(Refused::EnrolmentUnknown)?;
        let open = |sealed: &Vec<u8>| {
            let text = key.open(PACKET, sealed)?;
            serde_json::from_slice(&text).map_err(|_| Error::Record("packet"))
        };
        sealed.iter().map(open).collect()
    }

    async fn keep(&self, tx: &mut Tx<'_>, position: i64, answer: &Answer) -> Result<(), Error> {
        let subject = packet_subject(&self.registration_id);
        let key = self.app.keyring.subject(tx, &subject).await?;
        let new = NewPacket {
            registration_id: &self.registration_id,
            content_hash: &self.hash,
            process: &self.content.process,
            position,
            sealed: key.seal(PACKET, &self.text),
            answer: serde_json::to_string(answer).map_err(|_| Error::Record("packet"))?,
        };
        let now = tx.now();
        Ok(store::enrolment::insert_packet(tx, new, now).await?)
    }

    /// Adds the steps up; a later one wins over an earlier one.
    async fn finish(&self, tx: &mut Tx<'_>, steps: &[Content]) -> Result<Outcome, Error> {
        let attributes: Vec<pb::Attribute> = steps
            .iter()
            .flat_map(|step| &step.attributes)
            .map(|(name, language, value)| pb::Attribute {
                name: name.clone(),
                language: language.clone(),
                value: value.clone(),
            })
            .collect();
        let named = steps
            .iter()
            .rev()
            .find(|step| !step.individual_id.is_empty());
        let updates = steps
            .iter()
            .any(|step| step.process == UPDATE || step.process == "LOST");
        match named {
            _ if !updates => self.enrol(tx, steps, attributes).await,
            Some(step) => self.update(tx, &step.individual_id, &attributes).await,
            None => Err(publica_rpc::invalid("individual_id", "is required for an update").into()),
        }
    }

    async fn enrol(
        &self,
        tx: &mut Tx<'_>,
        steps: &[Content],
        attributes: Vec<pb::Attribute>,
    ) -> Result<Outcome, Error> {
        let alias = |(kind, value): &(String, String)| pb::Alias {
            kind: kind.clone(),
            value: value.clone(),
        };
        let person = pb::NewPerson {
            attributes,
            aliases: steps
                .iter()
                .flat_map(|step| &step.aliases)
                .map(alias)
                .collect(),
            ..pb::NewPerson::default()
        };
        let candidate = self.app.candidate(&person).map_err(|violations| {
            violations
                .into_iter()
                .fold(publica_rpc::Invalid::new(), |invalid, violation| {
                    invalid.add(violation.field, violation.description)
                })
        })?;
        // The enrolment's row must be there before a person refers to its number.
        let id = Some(self.registration_id.as_str());
        let enrolled = self
            .app
            .store_candidates(tx, &[&candidate], &self.source, id)
            .await?;
        match enrolled.into_iter().next() {
            Some(Enrolled::New { person_id, vid, .. }) => Ok(Outcome {
                state: "registered",
                person_id: Some(person_id),
                answer: Answer { created: true, vid },
            }),
            Some(Enrolled::Duplicate { person_id, .. }) => Ok(Outcome {
                state: "duplicate",
                person_id: Some(person_id),
                answer: Answer {
                    created: false,
                    vid: String::new(),
                },
            }),
            None => Err(Error::Record("enrolment")),
        }
    }

    async fn update(
        &self,
        tx: &mut Tx<'_>,
        individual_id: &str,
        attributes: &[pb::Attribute],
    ) -> Result<Outcome, Error> {
        let lookup = self
            .app
            .lookup(individual_id)
            .ok_or(Refused::PersonUnknown)?;
        let found = store::identifier::find_by_lookup(tx, &lookup).await?;
        let now = tx.now();
        let found = found
            .filter(|row| row.is_live(now))
            .ok_or(Refused::PersonUnknown)?;
        let person = store::person::lock(tx, found.person_id).await?;
        let person = person.ok_or(Refused::PersonUnknown)?;
        if person.state(now) != PersonState::Active {
            return Err(Refused::PersonNotActive.into());
        }
        if !attributes.is_empty() {
            let evidence = &self.registration_id;
            self.app
                .apply(tx, &person, attributes, &self.source, evidence)
                .await?;
        }
        Ok(Outcome {
            state: "registered",
            person_id: Some(found.person_id),
            answer: Answer {
                created: false,
                vid: String::new(),
            },
        })
    }

    fn response(&self, row: &Enrolment, answer: &Answer) -> pb::SubmitPacketResponse {
        pb::SubmitPacketResponse {
            enrolment: Some(convert::enrolment(row)),
            created: answer.created,
            vid: answer.vid.clone(),
            content_hash: base64url(&self.hash),
        }
    }
}
