//! Repeated requests: one effect and one answer for each request id.
//!
//! The key (caller, RPC, request id) decides, in the transaction of the effect. The normal path
//! does not look first; after any failure the ledger is read once, and a stored answer wins
//! over the error. Only successes are stored, since a refusal had no effect.

use std::marker::PhantomData;
use std::time::Duration;

use prost::Message;
use publica_store::{BoxFuture, Db, StoreError, Tx};
use publica_types::{Origin, Timestamp};

use crate::error::JournalError;
use crate::merkle::{Hash, digest};
use crate::store::ledger::{self as sql, LedgerRow};

const MAX_REQUEST_ID: usize = 64;

/// What a mutation is known by.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Name of the unit of work, for measurements: `payments.open_account`.
    pub name: &'static str,
    /// Who calls, for whom, in which case.
    pub origin: &'a Origin,
    /// Full name of the RPC: `/publica.payments.v1.AccountService/OpenAccount`.
    pub rpc: &'static str,
    /// The caller's id of the request; `None` or empty runs it without protection.
    pub request_id: Option<String>,
    /// Tells the same request from another under the same id; see [`fingerprint`].
    pub fingerprint: Hash,
}

/// Hash of a request, to tell a repeat from a reuse.
pub fn fingerprint(request: &impl Message) -> Hash {
    digest(&request.encode_to_vec())
}

/// Where an answer is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) caller: String,
    pub(crate) rpc: &'static str,
    pub(crate) request_id: String,
}

/// An answer on its way into the ledger.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) key: Key,
    pub(crate) fingerprint: Hash,
    pub(crate) answer: Vec<u8>,
}

impl Call<'_> {
    fn key(&self) -> Result<Option<Key>, JournalError> {
        let Some(id) = self.request_id.as_deref().filter(|id| !id.is_empty()) else {
            return Ok(None);
        };
        if id.len() > MAX_REQUEST_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(JournalError::RequestIdInvalid);
        }
        let caller = self.origin.actor.clone();
        Ok(Some(Key {
            caller,
            rpc: self.rpc,
            request_id: id.to_owned(),
        }))
    }
}

/// The input of a unit with what its answer is kept under.
struct Keyed<I, F> {
    input: I,
    unit: F,
    key: Key,
    fingerprint: Hash,
}

/// Runs a mutation once for each request id. See [`Db::write`] for what a unit is.
///
/// The answer of a repeat is the first one, byte for byte. The same id with another request is
/// [`JournalError::RequestIdReused`], and a request whose intent is still being worked on
/// [`JournalError::InProgress`].
pub async fn write<I, R, E, F>(db: &Db, call: Call<'_>, input: I, unit: F) -> Result<R, E>
where
    I: Send + Sync + 'static,
    R: Message + Default + 'static,
    E: From<StoreError> + From<JournalError> + Send + 'static,
    F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<R, E>> + Send + Sync + 'static,
{
    let Some(key) = call.key()? else {
        return db.write(call.name, input, unit).await;
    };
    let keyed = Keyed {
        input,
        unit,
        key: key.clone(),
        fingerprint: call.fingerprint,
    };
    let done = db.write(call.name, keyed, |tx, keyed| {
        Box::pin(async move {
            let response: R = (keyed.unit)(tx, &keyed.input).await?;
            tx.collect(Kept {
                key: keyed.key.clone(),
                fingerprint: keyed.fingerprint,
                answer: response.encode_to_vec(),
            });
            Ok::<R, E>(response)
        })
    });
    match done.await {
        Ok(response) => Ok(response),
        Err(error) => after_failure(db, &key, &call.fingerprint, error).await,
    }
}

/// A stored answer wins over whatever went wrong.
async fn after_failure<R, E>(db: &Db, key: &Key, fingerprint: &Hash, error: E) -> Result<R, E>
where
    R: Message + Default,
    E: From<JournalError>,
{
    match sql::find(db, key).await {
        Ok(Some(row)) => match row.replay(key, fingerprint, db.now())? {
            Some(answer) => {
                metrics::counter!("publica_journal_replays_total", "rpc" => key.rpc).increment(1);
                Ok(answer)
            }
            // An intent that nobody holds any more did not cause the failure.
            None => Err(error),
        },
        Ok(None) => Err(error),
        Err(unread) => {
            tracing::warn!(error = %unread, "the ledger could not be read after a failure");
            Err(error)
        }
    }
}

impl LedgerRow {
    /// The stored answer; `None` for an intent that nobody holds any more.
    fn replay<R: Message + Default>(
        &self,
        key: &Key,
        fingerprint: &Hash,
        now: Timestamp,
    ) -> Result<Option<R>, JournalError> {
        let request_id = key.request_id.clone();
        if self.fingerprint != fingerprint {
            return Err(JournalError::RequestIdReused { request_id });
        }
        match &self.answer {
            Some(answer) => R::decode(answer.as_slice())
                .map(Some)
                .map_err(JournalError::Answer),
            None if self.held_until.is_some_and(|until| until > now) => {
                Err(JournalError::InProgress { request_id })
            }
            None => Ok(None),
        }
    }
}

/// A request that begins with work outside the store.
#[derive(Debug)]
pub enum Begun<R> {
    /// Nobody has done this yet: do the work, then [`Intent::complete`].
    Fresh(Intent<R>),
    /// It was done before; this was the answer.
    Done(R),
}

/// The committed intent to do work outside the store (a peer, a mail, a rail, a costly
/// signature) under a request id. While it is held, a repeat is answered with
/// [`JournalError::InProgress`].
#[derive(Debug)]
pub struct Intent<R> {
    name: &'static str,
    key: Option<Key>,
    attempt: i64,
    answer: PhantomData<fn() -> R>,
}

/// Commits the intent to do work outside the store, held for `hold`. If the holder dies, a
/// repeat after that takes it over (see [`Intent::attempt`]).
pub async fn intent<R>(db: &Db, call: Call<'_>, hold: Duration) -> Result<Begun<R>, JournalError>
where
    R: Message + Default,
{
    let fresh = |key, attempt| {
        Begun::Fresh(Intent {
            name: call.name,
            key,
            attempt,
            answer: PhantomData,
        })
    };
    let Some(key) = call.key()? else {
        return Ok(fresh(None, 1));
    };
    if let Some(attempt) = sql::hold(db, &key, &call.fingerprint, hold).await? {
        return Ok(fresh(Some(key), attempt));
    }
    let row = sql::find(db, &key).await?.ok_or(JournalError::InProgress {
        request_id: key.request_id.clone(),
    })?;
    match row.replay(&key, &call.fingerprint, db.now())? {
        Some(answer) => Ok(Begun::Done(answer)),
        // It ran out between the two statements; whoever asks again gets it.
        None => Err(JournalError::InProgress {
            request_id: key.request_id,
        }),
    }
}

/// The input of the unit that completes an intent.
struct Completing<I, F> {
    input: I,
    unit: F,
    key: Option<Key>,
    attempt: i64,
}

impl<R: Message + Default + 'static> Intent<R> {
    /// How often this request was begun. Above 1, an earlier attempt may have done the work
    /// outside without living to record it.
    pub fn attempt(&self) -> i64 {
        self.attempt
    }

    /// Records the outcome: the unit's effects and the answer become durable together.
    pub async fn complete<I, E, F>(self, db: &Db, input: I, unit: F) -> Result<R, E>
    where
        I: Send + Sync + 'static,
        E: From<StoreError> + From<JournalError> + Send + 'static,
        F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<R, E>> + Send + Sync + 'static,
    {
        let completing = Completing {
            input,
            unit,
            key: self.key,
            attempt: self.attempt,
        };
        db.write(self.name, completing, |tx, completing| {
            Box::pin(async move {
                let response: R = (completing.unit)(tx, &completing.input).await?;
                if let Some(key) = &completing.key {
                    let answer = response.encode_to_vec();
                    if !sql::complete(tx, key, completing.attempt, &answer).await? {
                        let request_id = key.request_id.clone();
                        return Err(JournalError::IntentLost { request_id }.into());
                    }
                }
                Ok::<R, E>(response)
            })
        })
        .await
    }

    /// Holds on for longer.
    pub async fn renew(&self, db: &Db, hold: Duration) -> Result<(), JournalError> {
        let Some(key) = &self.key else { return Ok(()) };
        if sql::renew(db, key, self.attempt, hold).await? {
            Ok(())
        } else {
            Err(JournalError::IntentLost {
                request_id: key.request_id.clone(),
            })
        }
    }

    /// Gives up, because the work outside certainly had no effect; a repeat begins anew.
    pub async fn abandon(self, db: &Db) -> Result<(), JournalError> {
        let Some(key) = self.key else { return Ok(()) };
        sql::abandon(db, &key, self.attempt).await?;
        Ok(())
    }
}
