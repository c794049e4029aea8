//! Reading, searching and changing people.

use publica_journal::{Entry, Outcome};
use publica_proto::identity::v1 as pb;
use publica_rpc::{PageToken, from_timestamp, page_size};
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::packet::packet_subject;
use crate::app::{ATTRIBUTES, App, Mutation, person_id, subject};
use crate::convert;
use crate::domain::attributes::Attributes;
use crate::domain::identifier::normalise;
use crate::domain::person::{PersonChange, PersonId, PersonState};
use crate::error::{Error, Refused};
use crate::store;
use crate::store::person::NewVersion;

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 500;
const SEARCH_LIMIT: i64 = 50;
const MAX_REASON: usize = 256;
const MAX_SOURCE: usize = 128;

/// A change of where an identity stands.
struct Change {
    app: App,
    origin: Origin,
    person_id: PersonId,
    what: PersonChange,
    block_expires: Option<Timestamp>,
    note: String,
}

/// A change of what is known.
struct Update {
    app: App,
    origin: Origin,
    person_id: PersonId,
    request: pb::UpdatePersonRequest,
}

impl App {
    /// One person with all attributes; the read is journalled first.
    pub(crate) async fn get_person(
        &self,
        origin: &Origin,
        id: &str,
    ) -> Result<pb::GetPersonResponse, Error> {
        let id = person_id(id)?;
        let db = self.db(origin).await?;
        let read = db.read(
            "identity.get_person",
            (self.clone(), id),
            |tx, (app, id)| {
                Box::pin(async move {
                    let person = store::person::find(tx, *id)
                        .await?
                        .ok_or(Refused::PersonUnknown)?;
                    let erased = person.stored_state == PersonState::Erased;
                    let attributes = if erased {
                        None
                    } else {
                        Some(app.open_attributes(tx, &person).await?)
                    };
                    Ok::<_, Error>((convert::person(&person, tx.now()), attributes))
                })
            },
        );
        let (mut person, attributes) = read.await?;
        person.attributes = attributes
            .iter()
            .flat_map(Attributes::iter)
            .map(|(name, language, value)| pb::Attribute {
                name: name.to_owned(),
                language: language.to_owned(),
                value: value.to_owned(),
            })
            .collect();
        let names: Vec<&str> = attributes.iter().flat_map(Attributes::names).collect();
        let entry = Entry::new("identity.person.read")
            .subject("person", id)
            .body(json!({ "fields": names }));
        self.journal.record(origin, entry).await?;
        Ok(pb::GetPersonResponse {
            person: Some(person),
        })
    }

    /// A page of people without attributes.
    pub(crate) async fn list_persons(
        &self,
        origin: &Origin,
        request: &pb::ListPersonsRequest,
    ) -> Result<pb::ListPersonsResponse, Error> {
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let state = match request.state() {
            pb::PersonState::Unspecified => "",
            pb::PersonState::Active => "active",
            pb::PersonState::Blocked => "blocked",
            pb::PersonState::Deactivated => "deactivated",
            pb::PersonState::Deceased => "deceased",
            pb::PersonState::Erased => "erased",
        };
        let after: Option<(i64, PersonId)> = PageToken::decode(&state, &request.page_token)?;
        let after = after.map(|(micros, id)| (Timestamp::from_micros(micros), id));
        let db = self.db(origin).await?;
        let mut found = store::person::list(&db, after, state, size + 1).await?;
        let next_page_token = next(&mut found, size, |person| {
            PageToken::encode(&state, &(person.created.micros(), person.person_id))
        });
        let now = self.now();
        let persons = found
            .iter()
            .map(|person| convert::person(person, now))
            .collect();
        Ok(pb::ListPersonsResponse {
            persons,
            next_page_token,
        })
    }

    /// People by identifier or name, without attributes.
    pub(crate) async fn search_persons(
        &self,
        origin: &Origin,
        request: &pb::SearchPersonsRequest,
    ) -> Result<pb::SearchPersonsResponse, Error> {
        let by_name = !request.name.trim().is_empty();
        let by_identifier = !request.identifier.trim().is_empty();
        if by_name == by_identifier {
            return Err(
                publica_rpc::invalid("identifier", "or name must be given, not both").into(),
            );
        }
        let db = self.db(origin).await?;
        let found = if by_name {
            let keys = self.search_lookups(&request.name);
            if keys.is_empty() {
                return Err(publica_rpc::invalid("name", "holds no letters").into());
            }
            store::person::find_by_name(&db, &keys, SEARCH_LIMIT).await?
        } else {
            self.find_by_identifier(&db, &request.identifier)
                .await?
                .into_iter()
                .collect()
        };
        let entry = Entry::new("identity.person.searched").body(json!({
            "by": if by_name { "name" } else { "identifier" },
            "found": found.iter().map(|p| p.person_id.to_string()).collect::<Vec<_>>(),
        }));
        self.journal.record(origin, entry).await?;
        let now = self.now();
        let persons = found
            .iter()
            .map(|person| convert::person(person, now))
            .collect();
        Ok(pb::SearchPersonsResponse { persons })
    }

    /// The keys that a person's name must have to match what was typed.
    fn search_lookups(&self, name: &str) -> Vec<Vec<u8>> {
        self.name_lookups(std::iter::once(name))
    }

    async fn find_by_identifier(
        &self,
        db: &publica_store::Db,
        typed: &str,
    ) -> Result<Option<store::person::Person>, Error> {
        let Some(lookup) = normalise(typed).and_then(|normal| self.lookup(&normal)) else {
            return Err(publica_rpc::invalid("identifier", "is no identifier").into());
        };
        let now = self.now();
        let owner = store::identifier::owner(db, &lookup).await?;
        let Some(owner) = owner.filter(|owner| owner.kind != "uin" && owner.is_live(now)) else {
            return Ok(None);
        };
        let read = db.read("identity.find_person", owner.person_id, |tx, id| {
            Box::pin(async move { store::person::find(tx, *id).await })
        });
        Ok(read.await?)
    }

    /// Changes what is known and keeps what was known before.
    pub(crate) async fn update_person(
        &self,
        mutation: &Mutation,
        request: pb::UpdatePersonRequest,
    ) -> Result<pb::UpdatePersonResponse, Error> {
        let update = Update {
            app: self.clone(),
            origin: mutation.origin.clone(),
            person_id: person_id(&request.person_id)?,
            request,
        };
        update.check()?;
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.update_person");
        publica_journal::write(&db, call, update, |tx, update| {
            Box::pin(async move {
                let person = update.run(tx).await?;
                Ok(pb::UpdatePersonResponse {
                    person: Some(person),
                })
            })
        })
        .await
    }

    /// Blocks a person.
    pub(crate) async fn block_person(
        &self,
        mutation: &Mutation,
        request: pb::BlockPersonRequest,
    ) -> Result<pb::BlockPersonResponse, Error> {
        let end = request.expire_time.as_ref();
        let end = end
            .map(|time| from_timestamp("expire_time", time))
            .transpose()?;
        if end.is_some_and(|end| end <= self.now()) {
            return Err(publica_rpc::invalid("expire_time", "must be in the future").into());
        }
        let change = self.change(
            mutation,
            &request.person_id,
            PersonChange::Block,
            request.reason,
        )?;
        let change = Change {
            block_expires: end,
            ..change
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.block_person");
        publica_journal::write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let person = Some(change.run(tx).await?);
                Ok(pb::BlockPersonResponse { person })
            })
        })
        .await
    }

    /// Lifts a block.
    pub(crate) async fn unblock_person(
        &self,
        mutation: &Mutation,
        request: pb::UnblockPersonRequest,
    ) -> Result<pb::UnblockPersonResponse, Error> {
        let change = self.change(
            mutation,
            &request.person_id,
            PersonChange::Unblock,
            String::new(),
        )?;
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.unblock_person");
        publica_journal::write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let person = Some(change.run(tx).await?);
                Ok(pb::UnblockPersonResponse { person })
            })
        })
        .await
    }

    /// Ends the use of an identity.
    pub(crate) async fn deactivate_person(
        &self,
        mutation: &Mutation,
        request: pb::DeactivatePersonRequest,
    ) -> Result<pb::DeactivatePersonResponse, Error> {
        let change = self.change(
            mutation,
            &request.person_id,
            PersonChange::Deactivate,
            request.reason,
        )?;
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.deactivate_person");
        publica_journal::write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let person = Some(change.run(tx).await?);
                Ok(pb::DeactivatePersonResponse { person })
            })
        })
        .await
    }

    /// Records a death.
    pub(crate) async fn record_death(
        &self,
        mutation: &Mutation,
        request: pb::RecordDeathRequest,
    ) -> Result<pb::RecordDeathResponse, Error> {
        let change = self.change(
            mutation,
            &request.person_id,
            PersonChange::Die,
            request.evidence,
        )?;
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.record_death");
        publica_journal::write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let person = Some(change.run(tx).await?);
                Ok(pb::RecordDeathResponse { person })
            })
        })
        .await
    }

    /// Destroys what is known.
    pub(crate) async fn erase_person(
        &self,
        mutation: &Mutation,
        request: pb::ErasePersonRequest,
    ) -> Result<pb::ErasePersonResponse, Error> {
        if request.reason.trim().is_empty() {
            return Err(publica_rpc::invalid("reason", "is required").into());
        }
        let change = self.change(
            mutation,
            &request.person_id,
            PersonChange::Erase,
            request.reason,
        )?;
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.erase_person");
        publica_journal::write(&db, call, change, |tx, change| {
            Box::pin(async move {
                let person = Some(change.run(tx).await?);
                Ok(pb::ErasePersonResponse { person })
            })
        })
        .await
    }

    fn change(
        &self,
        mutation: &Mutation,
        id: &str,
        change: PersonChange,
        note: String,
    ) -> Result<Change, Error> {
        if note.chars().count() > MAX_REASON {
            return Err(publica_rpc::invalid("reason", "is longer than 256 characters").into());
        }
        Ok(Change {
            app: self.clone(),
            origin: mutation.origin.clone(),
            person_id: person_id(id)?,
            what: change,
            block_expires: None,
            note,
        })
    }
}

impl Change {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::Person, Error> {
        let now = tx.now();
        let mut person = store::person::lock(tx, self.person_id)
            .await?
            .ok_or(Refused::PersonUnknown)?;
        let before = person.state(now);
        let after = before
            .after(self.what)
            .map_err(|forbidden| Error::State(forbidden.0))?;
        store::person::set_state(tx, self.person_id, after, self.block_expires, now).await?;
        if after == PersonState::Erased {
            store::identifier::revoke_all(tx, self.person_id).await?;
            store::person::delete_name_keys(tx, self.person_id).await?;
            store::factor::delete_all(tx, self.person_id).await?;
            self.app.keyring.erase(tx, &subject(self.person_id)).await?;
            for enrolment in store::enrolment::of_person(tx, self.person_id).await? {
                self.app
                    .keyring
                    .erase(tx, &packet_subject(&enrolment))
                    .await?;
            }
        }
        if after != PersonState::Active {
            store::token::revoke_of_person(tx, self.person_id, now).await?;
        }
        let entry = Entry::new(action(self.what))
            .subject("person", self.person_id)
            .outcome(Outcome::Done)
            .body(json!({
                "before": before.name(),
                "after": after.name(),
                "until": self.block_expires.map(|end| end.to_string()),
                "note": self.note,
            }));
        publica_journal::append(tx, &self.origin, entry);
        person.stored_state = after;
        person.block_expires = self.block_expires;
        person.updated = now;
        Ok(convert::person(&person, now))
    }
}

fn action(change: PersonChange) -> &'static str {
    match change {
        PersonChange::Block => "identity.person.blocked",
        PersonChange::Unblock => "identity.person.unblocked",
        PersonChange::Deactivate => "identity.person.deactivated",
        PersonChange::Die => "identity.person.died",
        PersonChange::Erase => "identity.person.erased",
    }
}

impl Update {
    fn check(&self) -> Result<(), Error> {
        if self.request.attributes.is_empty() {
            return Err(publica_rpc::invalid("attributes", "are required").into());
        }
        for (field, text) in [
            ("source", &self.request.source),
            ("evidence", &self.request.evidence),
        ] {
            if text.chars().count() > MAX_SOURCE {
                return Err(publica_rpc::invalid(field, "is longer than 128 characters").into());
            }
        }
        Ok(())
    }

    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::Person, Error> {
        let request = &self.request;
        let now = tx.now();
        let person = store::person::lock(tx, self.person_id)
            .await?
            .ok_or(Refused::PersonUnknown)?;
        if !matches!(
            person.state(now),
            PersonState::Active | PersonState::Blocked
        ) {
            return Err(Refused::PersonNotActive.into());
        }
        if !request.etag.is_empty() && request.etag != person.updated.micros().to_string() {
            return Err(Refused::Etag.into());
        }
        self.app
            .apply(
                tx,
                &person,
                &request.attributes,
                &request.source,
                &request.evidence,
            )
            .await?;
        let fields: Vec<&str> = request.attributes.iter().map(|a| a.name.as_str()).collect();
        let entry = Entry::new("identity.person.updated")
            .subject("person", self.person_id)
            .body(
                json!({ "fields": fields, "evidence": request.evidence, "source": request.source }),
            );
        publica_journal::append(tx, &self.origin, entry);
        let person = store::person::find(tx, self.person_id)
            .await?
            .ok_or(Refused::PersonUnknown)?;
        Ok(convert::person(&person, now))
    }
}

impl App {
    /// Sets attributes as a further version of what is known about a person.
    pub(crate) async fn apply(
        &self,
        tx: &mut Tx<'_>,
        person: &store::person::Person,
        changes: &[pb::Attribute],
        source: &str,
        evidence: &str,
    ) -> Result<(), Error> {
        let mut attributes = self.open_attributes(tx, person).await?;
        let mut invalid = publica_rpc::Invalid::new();
        for (at, change) in changes.iter().enumerate() {
            if let Err(fault) = attributes.set(&change.name, &change.language, &change.value) {
                invalid.push(format!("attributes[{at}]"), fault);
            }
        }
        if !attributes.has_a_name() {
            invalid.push(
                "attributes",
                "must leave name, or given_name and family_name",
            );
        }
        invalid.check()?;
        let id = person.person_id;
        let key = self.subject_key(tx, id).await?;
        let text = serde_json::to_vec(&attributes).map_err(|_| Error::Record("attributes"))?;
        let new = NewVersion {
            person_id: id,
            version: person.attribute_version + 1,
            sealed: key.seal(ATTRIBUTES, &text),
            source,
            evidence,
        };
        let now = tx.now();
        store::person::add_version(tx, new, now).await?;
        store::person::delete_name_keys(tx, id).await?;
        let mut rows = store::bulk::Rows::default();
        for lookup in self.name_lookups(attributes.name_texts()) {
            rows.name_key(&lookup, id);
        }
        Ok(rows.write(tx, now).await?)
    }
}

/// Cuts a list that was read one too long, and makes the token of the next page if it was.
pub(crate) fn next<T>(found: &mut Vec<T>, size: i64, token: impl Fn(&T) -> String) -> String {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if found.len() <= size {
        return String::new();
    }
    found.truncate(size);
    found.last().map(token).unwrap_or_default()
}
