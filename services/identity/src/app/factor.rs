//! Factors of people.

use publica_journal::Entry;
use publica_proto::identity::v1 as pb;
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::{App, FACTOR, Mutation, person_id};
use crate::convert;
use crate::domain::identifier::is_email;
use crate::domain::person::{FactorId, PersonId, PersonState};
use crate::error::{Error, Refused};
use crate::store::factor::{self, EMAIL_CODE, Factor};
use crate::store::{self, limit};

struct Put {
    app: App,
    origin: Origin,
    person_id: PersonId,
    target: String,
}

struct Lock {
    app: App,
    origin: Origin,
    factor_id: FactorId,
    shut: bool,
}

impl App {
    /// Adds or replaces a factor.
    pub(crate) async fn set_factor(
        &self,
        mutation: &Mutation,
        request: pb::SetFactorRequest,
    ) -> Result<pb::SetFactorResponse, Error> {
        if request.kind() != pb::FactorKind::EmailCode {
            return Err(publica_rpc::invalid("kind", "must be a code by e-mail").into());
        }
        let target = request.target.trim().to_owned();
        if !is_email(&target) {
            return Err(publica_rpc::invalid("target", "is no e-mail address").into());
        }
        let put = Put {
            app: self.clone(),
            origin: mutation.origin.clone(),
            person_id: person_id(&request.person_id)?,
            target,
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.set_factor");
        publica_journal::write(&db, call, put, |tx, put| {
            Box::pin(async move {
                let factor = Some(put.run(tx).await?);
                Ok(pb::SetFactorResponse { factor })
            })
        })
        .await
    }

    /// A person's factors with masked targets.
    pub(crate) async fn list_factors(
        &self,
        origin: &Origin,
        request: &pb::ListFactorsRequest,
    ) -> Result<pb::ListFactorsResponse, Error> {
        let id = person_id(&request.person_id)?;
        let db = self.db(origin).await?;
        let read = db.read(
            "identity.list_factors",
            (self.clone(), id),
            |tx, (app, id)| {
                Box::pin(async move {
                    store::person::find(tx, *id)
                        .await?
                        .ok_or(Refused::PersonUnknown)?;
                    let mut factors = Vec::new();
                    for row in factor::list(tx, *id).await? {
                        factors.push(app.open_factor(tx, &row).await?);
                    }
                    Ok::<_, Error>(factors)
                })
            },
        );
        let factors = read.await?;
        let entry = Entry::new("identity.factors.read").subject("person", id);
        self.journal.record(origin, entry).await?;
        Ok(pb::ListFactorsResponse { factors })
    }

    /// Locks a factor.
    pub(crate) async fn lock_factor(
        &self,
        mutation: &Mutation,
        request: pb::LockFactorRequest,
    ) -> Result<pb::LockFactorResponse, Error> {
        let lock = self.lock(mutation, &request.factor_id, true)?;
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.lock_factor");
        publica_journal::write(&db, call, lock, |tx, lock| {
            Box::pin(async move {
                let factor = Some(lock.run(tx).await?);
                Ok(pb::LockFactorResponse { factor })
            })
        })
        .await
    }

    /// Unlocks a factor and forgets its failures.
    pub(crate) async fn unlock_factor(
        &self,
        mutation: &Mutation,
        request: pb::UnlockFactorRequest,
    ) -> Result<pb::UnlockFactorResponse, Error> {
        let lock = self.lock(mutation, &request.factor_id, false)?;
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.unlock_factor");
        publica_journal::write(&db, call, lock, |tx, lock| {
            Box::pin(async move {
                let factor = Some(lock.run(tx).await?);
                Ok(pb::UnlockFactorResponse { factor })
            })
        })
        .await
    }

    fn lock(&self, mutation: &Mutation, id: &str, shut: bool) -> Result<Lock, Error> {
        Ok(Lock {
            app: self.clone(),
            origin: mutation.origin.clone(),
            factor_id: id.parse().map_err(|_| Refused::FactorUnknown)?,
            shut,
        })
    }

    async fn open_factor(&self, tx: &mut Tx<'_>, row: &Factor) -> Result<pb::Factor, Error> {
        let target = self.factor_target(tx, row).await?;
        let bucket = self.bucket("fail", &row.person_id.to_string());
        let counter = limit::find(tx, &bucket).await?;
        Ok(convert::factor(row, &target, counter, tx.now()))
    }

    /// Where codes of a factor go.
    pub(crate) async fn factor_target(
        &self,
        tx: &mut Tx<'_>,
        row: &Factor,
    ) -> Result<String, Error> {
        let key = self
            .key_if_any(tx, row.person_id)
            .await?
            .ok_or(Refused::PersonUnknown)?;
        Ok(key.open_text(FACTOR, &row.sealed)?)
    }
}

impl Put {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::Factor, Error> {
        let now = tx.now();
        let person = store::person::lock(tx, self.person_id)
            .await?
            .ok_or(Refused::PersonUnknown)?;
        if person.state(now) != PersonState::Active {
            return Err(Refused::PersonNotActive.into());
        }
        let key = self.app.subject_key(tx, self.person_id).await?;
        let earlier = factor::list(tx, self.person_id).await?;
        let earlier = earlier.into_iter().find(|row| row.kind == EMAIL_CODE);
        let row = Factor {
            factor_id: earlier.as_ref().map_or_else(
                || FactorId::new(&*self.app.clock, &*self.app.entropy),
                |row| row.factor_id,
            ),
            person_id: self.person_id,
            kind: EMAIL_CODE.to_owned(),
            sealed: key.seal(FACTOR, self.target.as_bytes()),
            state: "active".to_owned(),
            created: earlier.map_or(now, |row| row.created),
        };
        factor::put(tx, &row).await?;
        let entry = Entry::new("identity.factor.set")
            .subject("person", self.person_id)
            .body(json!({ "factor": row.factor_id.to_string(), "kind": row.kind }));
        publica_journal::append(tx, &self.origin, entry);
        self.app.open_factor(tx, &row).await
    }
}

impl Lock {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<pb::Factor, Error> {
        let mut row = factor::find(tx, self.factor_id)
            .await?
            .ok_or(Refused::FactorUnknown)?;
        let (state, action) = if self.shut {
            ("locked", "identity.factor.locked")
        } else {
            let bucket = self.app.bucket("fail", &row.person_id.to_string());
            limit::delete(tx, &bucket).await?;
            ("active", "identity.factor.unlocked")
        };
        factor::set_state(tx, self.factor_id, state).await?;
        row.state = state.to_owned();
        let entry = Entry::new(action)
            .subject("person", row.person_id)
            .body(json!({ "factor": row.factor_id.to_string() }));
        publica_journal::append(tx, &self.origin, entry);
        self.app.open_factor(tx, &row).await
    }
}
