//! Repeated requests: one effect and one answer for each request id.
//!
//! Caller, RPC and request id are the primary key of a row that is written with the effect, so
//! that a repeat fails on it; nobody looks beforehand. Whenever a call fails, for this reason or
//! another, an answer that is stored under its key is given in place of the error. Refusals had no
//! effect and are not stored. Answers may hold
//! what people told a block, so they are sealed with the block's key: a store's files show none.

use std::marker::PhantomData;
use std::time::Duration;

use prost::Message;
use publica_seal::Keyring;
use publica_store::{BoxFuture, Db, StoreError, Tx};
use publica_types::{Origin, Timestamp};

use crate::error::JournalError;
use crate::merkle::{Hash, digest};
use crate::sealed::ANSWER;
use crate::store::ledger::{self as sql, LedgerRow};
use crate::tail::JournalTail;

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

impl Key {
    /// Binds a sealed answer to its place, so that it does not open in another row.
    fn digest(&self) -> Hash {
        let parts = [&self.caller, self.rpc, &self.request_id];
        let mut text = Vec::new();
        for part in parts {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        digest(&text)
    }

    fn seal(&self, keyring: &Keyring, answer: &[u8]) -> Vec<u8> {
        keyring.seal_block(&ANSWER, &[&self.digest(), answer].concat())
    }

    fn open(&self, keyring: &Keyring, sealed: &[u8]) -> Result<Vec<u8>, JournalError> {
        let mut plain = keyring
            .open_block(&ANSWER, sealed)
            .map_err(|error| JournalError::Key {
                reason: error.to_string(),
            })?;
        if !plain.starts_with(&self.digest()) {
            return Err(JournalError::Damaged {
                reason: "a kept answer belongs to another request".to_owned(),
            });
        }
        Ok(plain.split_off(self.digest().len()))
    }
}

/// An answer on its way into the ledger.
#[derive(Debug)]
pub(crate) struct Kept {
    key: Key,
    fingerprint: Hash,
    answer: Vec<u8>,
}

/// An answer as it stands in the ledger.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) key: Key,
    pub(crate) fingerprint: Hash,
    pub(crate) answer: Vec<u8>,
}

impl Kept {
    pub(crate) fn seal(self, keyring: &Keyring) -> Sealed {
        Sealed {
            answer: self.key.seal(keyring, &self.answer),
            key: self.key,
            fingerprint: self.fingerprint,
        }
    }
}

/// The keys of the block whose store this is.
fn keyring(db: &Db) -> Result<&Keyring, JournalError> {
    let reason = "this store was not opened with a journal";
    db.tail::<JournalTail>()
        .map(JournalTail::keyring)
        .ok_or_else(|| StoreError::Misuse { reason }.into())
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
        Ok(Some(row)) => match row.replay(keyring(db)?, key, fingerprint, db.now())? {
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
        keyring: &Keyring,
        key: &Key,
        fingerprint: &Hash,
        now: Timestamp,
    ) -> Result<Option<R>, JournalError> {
        let request_id = key.request_id.clone();
        if self.fingerprint != fingerprint {
            return Err(JournalError::RequestIdReused { request_id });
        }
        match (&self.sealed_answer, self.held_until) {
            (Some(sealed), _) => R::decode(key.open(keyring, sealed)?.as_slice())
                .map(Some)
                .map_err(JournalError::Answer),
            (None, Some(until)) if until > now => Err(JournalError::InProgress { request_id }),
            (None, Some(_)) => Ok(None),
            (None, None) => Err(JournalError::AnswerGone { request_id }),
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
    match row.replay(keyring(db)?, &key, &call.fingerprint, db.now())? {
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
    /// Where the answer goes, and what it is sealed with.
    key: Option<(Key, Keyring)>,
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
        let key = match self.key {
            Some(key) => Some((key, keyring(db)?.clone())),
            None => None,
        };
        let completing = Completing {
            input,
            unit,
            key,
            attempt: self.attempt,
        };
        db.write(self.name, completing, |tx, completing| {
            Box::pin(async move {
                let response: R = (completing.unit)(tx, &completing.input).await?;
                if let Some((key, keyring)) = &completing.key {
                    let answer = key.seal(keyring, &response.encode_to_vec());
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
