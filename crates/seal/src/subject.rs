//! Keys of subjects, in the block's own store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use publica_store::{Db, Tx};
use zeroize::Zeroizing;

use crate::aead::{Aead, KEY_LEN};
use crate::store::{self, Row};
use crate::{Keyring, SealError};

/// The key of one subject.
#[derive(Clone)]
pub struct SubjectKey(Arc<Inner>);

struct Inner {
    subject: String,
    aead: Aead,
    keyring: Keyring,
}

impl SubjectKey {
    /// Seals a field. The result opens only for the same subject and field.
    pub fn seal(&self, field: &'static str, plain: &[u8]) -> Vec<u8> {
        self.0
            .aead
            .seal(&self.context(field), plain, &**self.0.keyring.entropy())
    }

    /// Opens a sealed field.
    pub fn open(&self, field: &'static str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0
            .aead
            .open(&self.context(field), sealed)
            .ok_or(SealError::Unopenable(field))
    }

    /// Opens a sealed field that holds text.
    pub fn open_text(&self, field: &'static str, sealed: &[u8]) -> Result<String, SealError> {
        String::from_utf8(self.open(field, sealed)?).map_err(|_| SealError::Unopenable(field))
    }

    /// A new key for one thing of the subject, and that key wrapped by the subject's. Whoever
    /// destroys the wrapped key closes the one thing for good and leaves the rest as it is.
    pub fn make_inner(&self, field: &'static str) -> (Self, Vec<u8>) {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        self.0.keyring.entropy().fill(&mut *key);
        let wrapped = self.seal(field, &*key);
        (self.0.keyring.key(&self.0.subject, &key), wrapped)
    }

    /// Opens the key of one thing of the subject.
    pub fn open_inner(&self, field: &'static str, wrapped: &[u8]) -> Result<Self, SealError> {
        let plain = Zeroizing::new(self.open(field, wrapped)?);
        let key: &[u8; KEY_LEN] = plain
            .as_slice()
            .try_into()
            .map_err(|_| SealError::Unopenable(field))?;
        Ok(self.0.keyring.key(&self.0.subject, key))
    }

    /// The subject whose key this is.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    fn context(&self, field: &str) -> Vec<u8> {
        [self.0.subject.as_bytes(), b"\0", field.as_bytes()].concat()
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey")
    }
}

impl Keyring {
    /// The subject's key, made now if there is none. A subject that was erased gets no new one.
    pub async fn subject(&self, tx: &mut Tx<'_>, subject: &str) -> Result<SubjectKey, SealError> {
        if let Some(key) = self.load_in(tx, subject).await? {
            return Ok(key);
        }
        let (key, wrapped) = self.generate(subject);
        if store::insert(tx, subject, wrapped, self.active_key()).await? {
            return Ok(self.key(subject, &key));
        }
        // Another unit made it between the look and the insert.
        self.load_in(tx, subject).await?.ok_or(SealError::NoKey)
    }

    /// Keys of many subjects, in their order, those missing made in one statement.
    pub async fn subjects(
        &self,
        tx: &mut Tx<'_>,
        subjects: &[&str],
    ) -> Result<Vec<SubjectKey>, SealError> {
        let mut keys = self.find_many(tx, subjects).await?;
        let mut missing: Vec<&str> = subjects
            .iter()
            .copied()
            .filter(|subject| !keys.contains_key(*subject))
            .collect();
        // Ascending keys touch each index page once.
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let made: Vec<_> = missing
                .iter()
                .map(|subject| self.generate(subject))
                .collect();
            let pairs = missing.iter().zip(&made);
            let pairs = pairs.map(|(subject, (_, wrapped))| (*subject, wrapped.as_slice()));
            let inserted = store::insert_many(tx, pairs, self.active_key()).await?;
            if inserted == u64::try_from(missing.len()).unwrap_or(u64::MAX) {
                for (subject, (key, _)) in missing.iter().zip(&made) {
                    keys.insert((*subject).to_owned(), self.key(subject, key));
                }
            } else {
                keys.extend(self.find_many(tx, &missing).await?);
            }
        }
        subjects
            .iter()
            .map(|subject| keys.get(*subject).cloned().ok_or(SealError::NoKey))
            .collect()
    }

    /// Keys of many subjects that have one, by subject. Erased subjects are left out.
    pub async fn load_many(
        &self,
        db: &Db,
        subjects: &[&str],
    ) -> Result<BTreeMap<String, SubjectKey>, SealError> {
        let rows = store::find_many(db, subjects).await?;
        rows.into_iter()
            .filter(|row| row.wrapped.is_some())
            .map(|row| Ok((row.subject.clone(), self.open_row(&row)?)))
            .collect()
    }

    async fn find_many(
        &self,
        tx: &mut Tx<'_>,
        subjects: &[&str],
    ) -> Result<BTreeMap<String, SubjectKey>, SealError> {
        let rows = store::find_many_in(tx, subjects).await?;
        rows.into_iter()
            .map(|row| Ok((row.subject.clone(), self.open_row(&row)?)))
            .collect()
    }

    /// The subject's key, if it has one, read outside a unit.
    pub async fn load(&self, db: &Db, subject: &str) -> Result<Option<SubjectKey>, SealError> {
        let row = store::find(db, subject).await?;
        row.map(|row| self.open_row(&row)).transpose()
    }

    /// The subject's key, if it has one, read inside a unit.
    pub async fn load_in(
        &self,
        tx: &mut Tx<'_>,
        subject: &str,
    ) -> Result<Option<SubjectKey>, SealError> {
        let row = store::find_in(tx, subject).await?;
        row.map(|row| self.open_row(&row)).transpose()
    }

    /// Opens a key that the block fetched itself, by joining `subject_key.wrapped` to its own
    /// rows: one statement instead of two.
    pub fn open_wrapped(
        &self,
        subject: &str,
        wrapped: Option<&[u8]>,
    ) -> Result<SubjectKey, SealError> {
        let key = self.unwrap_key(subject, wrapped.ok_or(SealError::Erased)?)?;
        Ok(self.key(subject, &key))
    }

    /// Destroys the subject's key; what it sealed stays unreadable. True if there was one.
    pub async fn erase(&self, tx: &mut Tx<'_>, subject: &str) -> Result<bool, SealError> {
        Ok(store::erase(tx, subject).await?)
    }

    fn generate(&self, subject: &str) -> (Zeroizing<[u8; KEY_LEN]>, Vec<u8>) {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        self.entropy().fill(&mut *key);
        let wrapped = self.wrap(subject, &key);
        (key, wrapped)
    }

    fn open_row(&self, row: &Row) -> Result<SubjectKey, SealError> {
        self.open_wrapped(&row.subject, row.wrapped.as_deref())
    }

    fn key(&self, subject: &str, key: &[u8; KEY_LEN]) -> SubjectKey {
        SubjectKey(Arc::new(Inner {
            subject: subject.to_owned(),
            aead: Aead::new(key),
            keyring: self.clone(),
        }))
    }
}
