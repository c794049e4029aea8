//! Virtual identifiers and aliases.

use std::time::Duration;

use publica_journal::Entry;
use publica_proto::identity::v1 as pb;
use publica_rpc::{PageToken, page_size};
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::person::next;
use crate::app::{App, IDENTIFIER, Mutation, person_id};
use crate::convert;
use crate::domain::identifier::is_alias_kind;
use crate::domain::number;
use crate::domain::person::{IdentifierId, PersonId, PersonState};
use crate::error::{Error, Refused};
use crate::store;
use crate::store::identifier::NewIdentifier;

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 500;
const TEMPORARY: Duration = Duration::from_mins(30);
/// How often a number is drawn again because it is taken.
const DRAWS: usize = 8;

/// An identifier to be given to somebody.
struct Addition {
    app: App,
    origin: Origin,
    person_id: PersonId,
    what: What,
}

enum What {
    Vid(pb::VidPolicy),
    Alias {
        kind: String,
        value: String,
        lookup: Vec<u8>,
    },
}

/// An identifier to be revoked.
struct Revocation {
    app: App,
    origin: Origin,
    by: By,
}

enum By {
    Id(IdentifierId),
    Value(Vec<u8>),
}

impl App {
    /// Makes a virtual identifier.
    pub(crate) async fn create_vid(
        &self,
        mutation: &Mutation,
        request: pb::CreateVidRequest,
    ) -> Result<pb::CreateVidResponse, Error> {
        let addition = Addition {
            app: self.clone(),
            origin: mutation.origin.clone(),
            person_id: person_id(&request.person_id)?,
            what: What::Vid(request.policy()),
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.create_vid");
        publica_journal::write(&db, call, addition, |tx, addition| {
            Box::pin(async move {
                let identifier = Some(addition.run(tx).await?);
                Ok(pb::CreateVidResponse { identifier })
            })
        })
        .await
    }

    /// Links an outside identifier to a person.
    pub(crate) async fn attach_alias(
        &self,
        mutation: &Mutation,
        request: pb::AttachAliasRequest,
    ) -> Result<pb::AttachAliasResponse, Error> {
        let alias = request.alias.unwrap_or_default();
        if !is_alias_kind(&alias.kind) {
            return Err(
                publica_rpc::invalid("alias.kind", "must be 1 to 32 of a-z, 0-9, _").into(),
            );
        }
        let lookup = self
            .lookup(&alias.value)
            .ok_or_else(|| publica_rpc::invalid("alias.value", "is no identifier"))?;
        let value = alias.value.trim().to_owned();
        let addition = Addition {
            app: self.clone(),
            origin: mutation.origin.clone(),
            person_id: person_id(&request.person_id)?,
            what: What::Alias {
                kind: alias.kind,
                value,
                lookup,
            },
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.attach_alias");
        publica_journal::write(&db, call, addition, |tx, addition| {
            Box::pin(async move {
                let identifier = Some(addition.run(tx).await?);
                Ok(pb::AttachAliasResponse { identifier })
            })
        })
        .await
    }

    /// A page of a person's identifiers; the permanent number is never among them.
    pub(crate) async fn list_identifiers(
        &self,
        origin: &Origin,
        request: &pb::ListIdentifiersRequest,
    ) -> Result<pb::ListIdentifiersResponse, Error> {
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let id = person_id(&request.person_id)?;
        let after: Option<(i64, IdentifierId)> = PageToken::decode(&id, &request.page_token)?;
        let after = after.map(|(micros, id)| (Timestamp::from_micros(micros), id));
        let input = (self.clone(), id, after, size);
        let db = self.db(origin).await?;
        let read = db.read("identity.list_identifiers", input, |tx, input| {
            let (app, id, after, size) = input;
            Box::pin(async move {
                store::person::find(tx, *id)
                    .await?
                    .ok_or(Refused::PersonUnknown)?;
                let rows = store::identifier::list(tx, *id, *after, size + 1).await?;
                let mut found = Vec::with_capacity(rows.len());
                for row in rows {
                    let identifier = app.open_identifier(tx, &row).await?;
                    found.push((row.created, row.identifier_id, identifier));
                }
                Ok::<_, Error>(found)
            })
        });
        let mut found = read.await?;
        let next_page_token = next(&mut found, size, |(created, identifier, _)| {
            PageToken::encode(&id, &(created.micros(), *identifier))
        });
        let entry = Entry::new("identity.identifiers.read")
            .subject("person", id)
            .body(json!({ "count": found.len() }));
        self.journal.record(origin, entry).await?;
        let identifiers = found
            .into_iter()
            .map(|(_, _, identifier)| identifier)
            .collect();
        Ok(pb::ListIdentifiersResponse {
            identifiers,
            next_page_token,
        })
    }

    /// Takes an identifier out of use.
    pub(crate) async fn revoke_identifier(
        &self,
        mutation: &Mutation,
        request: pb::RevokeIdentifierRequest,
    ) -> Result<pb::RevokeIdentifierResponse, Error> {
        let by = match (request.identifier_id.as_str(), request.value.as_str()) {
            ("", "") => {
                return Err(publica_rpc::invalid("identifier_id", "or value is required").into());
            }
            ("", value) => By::Value(self.lookup(value).ok_or(Refused::IdentifierUnknown)?),
            (id, _) => By::Id(id.parse().map_err(|_| Refused::IdentifierUnknown)?),
        };
        let revocation = Revocation {
            app: self.clone(),
            origin: mutation.origin.clone(),
            by,
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.revoke_identifier");
        publica_journal::write(&db, call, revocation, |tx, revocation| {
            Box::pin(async move {
                let identifier = Some(revocation.run(tx).await?);
                Ok(pb::RevokeIdentifierResponse { identifier })
            })
        })
        .await
    }

    async fn open_identifier(
        &self,
        tx: &mut Tx<'_>,
        row: &store::identifier::Identifier,
    ) -> Result<pb::Identifier, Error> {
        // After an erasure the key is gone, and the identifier with it.
        let value = match self.key_if_any(tx, row.person_id).await? {
            Some(key) => key.open_text(IDENTIFIER, &row.sealed)?,
            None => String::new(),
        };
        Ok(convert::identifier(row, &value, tx.now()))
    }
}

impl Addition {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::Identifier, Error> {
        let now = tx.now();
        let person = store::person::lock(tx, self.person_id)
            .await?
            .ok_or(Refused::PersonUnknown)?;
        if person.state(now) != PersonState::Active {
            return Err(Refused::PersonNotActive.into());
        }
        let id = match &self.what {
            What::Vid(policy) => self.add_vid(tx, *policy).await?,
            What::Alias {
                kind,
                value,
                lookup,
            } => {
                let row = self.row("alias", kind, "", lookup);
                let id = row.identifier_id;
                if !self.insert(tx, row, value).await? {
                    return Err(Refused::IdentifierTaken.into());
                }
                id
            }
        };
        let row = store::identifier::find(tx, id)
            .await?
            .ok_or(Refused::IdentifierUnknown)?;
        let entry = Entry::new("identity.identifier.added")
            .subject("person", self.person_id)
            .body(json!({
                "identifier": id.to_string(),
                "kind": row.kind,
                "alias_kind": row.alias_kind,
                "policy": row.policy,
            }));
        publica_journal::append(tx, &self.origin, entry);
        self.app.open_identifier(tx, &row).await
    }

    async fn add_vid(&self, tx: &mut Tx<'_>, policy: pb::VidPolicy) -> Result<IdentifierId, Error> {
        let now = tx.now();
        let (name, limit, uses, end) = match policy {
            pb::VidPolicy::Temporary => ("temporary", 5, Some(2), Some(now.plus(TEMPORARY))),
            pb::VidPolicy::OneTimeUse => ("one_time_use", 5, Some(1), None),
            pb::VidPolicy::Unspecified | pb::VidPolicy::Perpetual => ("perpetual", 1, None, None),
        };
        if store::identifier::count_live(tx, self.person_id, name, now).await? >= limit {
            return Err(Refused::TooManyVids.into());
        }
        for _ in 0..DRAWS {
            let value = number::vid(&*self.app.entropy);
            let lookup = self.app.lookup(&value).ok_or(Error::Record("identifier"))?;
            let mut row = self.row("vid", "", name, &lookup);
            row.uses_left = uses;
            row.expires = end;
            let id = row.identifier_id;
            if self.insert(tx, row, &value).await? {
                return Ok(id);
            }
        }
        Err(Refused::IdentifierTaken.into())
    }

    fn row<'a>(
        &self,
        kind: &'a str,
        alias_kind: &'a str,
        policy: &'a str,
        lookup: &'a [u8],
    ) -> NewIdentifier<'a> {
        NewIdentifier {
            identifier_id: IdentifierId::new(&*self.app.clock, &*self.app.entropy),
            person_id: self.person_id,
            kind,
            alias_kind,
            policy,
            lookup,
            sealed: Vec::new(),
            uses_left: None,
            expires: None,
        }
    }

    async fn insert(
        &self,
        tx: &mut Tx<'_>,
        mut row: NewIdentifier<'_>,
        value: &str,
    ) -> Result<bool, Error> {
        let key = self.app.subject_key(tx, self.person_id).await?;
        row.sealed = key.seal(IDENTIFIER, value.as_bytes());
        let now = tx.now();
        Ok(store::identifier::insert(tx, row, now).await?)
    }
}

impl Revocation {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::Identifier, Error> {
        let found = match &self.by {
            By::Id(id) => store::identifier::find(tx, *id).await?,
            By::Value(lookup) => store::identifier::find_by_lookup(tx, lookup).await?,
        };
        // The permanent number is not revocable, and not to be found out here.
        let mut row = found
            .filter(|row| row.kind != "uin")
            .ok_or(Refused::IdentifierUnknown)?;
        if row.state == "active" {
            store::identifier::revoke(tx, row.identifier_id).await?;
            "revoked".clone_into(&mut row.state);
            let entry = Entry::new("identity.identifier.revoked")
                .subject("person", row.person_id)
                .body(json!({ "identifier": row.identifier_id.to_string(), "kind": row.kind }));
            publica_journal::append(tx, &self.origin, entry);
        }
        self.app.open_identifier(tx, &row).await
    }
}
