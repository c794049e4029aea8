//! Moving everything that is sealed to the active key-encryption key.

use std::collections::BTreeMap;

use publica_store::{Db, StoreError};

use crate::purpose::{Column, Found};
use crate::store;
use crate::{Keyring, Purpose, SealError};

/// The name under which keys of subjects are counted.
const SUBJECTS: &str = "subject_key.wrapped";

/// What a rotation did in one store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Values that were moved to the active key.
    pub moved: u64,
    /// Values that did not open, by column.
    pub unopened: BTreeMap<&'static str, u64>,
    /// Why the first of them did not.
    pub reason: Option<String>,
}

/// What is sealed in a store.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Census {
    /// How many values are under each key, by column and by the key's id.
    pub under: BTreeMap<&'static str, BTreeMap<String, u64>>,
    /// Values that do not open with the keys at hand, by column.
    pub unopened: BTreeMap<&'static str, u64>,
    /// Why the first of them does not.
    pub reason: Option<String>,
}

/// Tells how far a rotation has come: the column, and how many of its values were looked at.
pub type Watch<'a> = dyn FnMut(&'static str, u64) + Send + 'a;

impl Keyring {
    /// Moves keys of subjects and what is sealed for `purposes` to the active key, up to `limit`
    /// values in a unit of work, while others use the store. What was moved stays moved: after
    /// an interruption the next call goes on. A value that does not open stays as it is.
    pub async fn rotate(
        &self,
        db: &Db,
        purposes: &[&'static Purpose],
        limit: i64,
        watch: &mut Watch<'_>,
    ) -> Result<Rotated, SealError> {
        let mut rotated = Rotated::default();
        self.rewrap(db, limit, &mut rotated, watch).await?;
        for purpose in purposes {
            for column in purpose.columns() {
                let place = (*purpose, column);
                self.reseal(db, place, limit, &mut rotated, watch).await?;
            }
        }
        Ok(rotated)
    }

    /// Counts what is under each key, and tries to open all of it.
    pub async fn census(
        &self,
        db: &Db,
        purposes: &[&'static Purpose],
        limit: i64,
    ) -> Result<Census, SealError> {
        let mut census = Census::default();
        let mut after = String::new();
        loop {
            let rows = store::wrapped(db, &after, limit).await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.subject);
            for row in &rows {
                let opened = self.unwrap_key(&row.subject, &row.wrapped).map(drop);
                census.add(SUBJECTS, &row.wrapped, opened);
            }
        }
        for purpose in purposes {
            for column in purpose.columns() {
                census.under.entry(column.name()).or_default();
                let mut pages = Pages::default();
                while let Some(rows) = pages.next(db, column, limit).await? {
                    for row in rows.iter().filter(|row| !row.sealed.is_empty()) {
                        let opened = self.open_block(purpose, &row.sealed).map(drop);
                        census.add(column.name(), &row.sealed, opened);
                    }
                }
            }
        }
        Ok(census)
    }

    async fn rewrap(
        &self,
        db: &Db,
        limit: i64,
        rotated: &mut Rotated,
        watch: &mut Watch<'_>,
    ) -> Result<(), SealError> {
        let (mut after, mut seen) = ((String::new(), String::new()), 0);
        loop {
            let rows = store::stale(db, self.active_key(), &after, limit).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = (last.kek_id.clone(), last.subject.clone());
            seen += count(rows.len());
            let mut renewed = Vec::with_capacity(rows.len());
            for row in rows {
                match self.unwrap_key(&row.subject, &row.wrapped) {
                    Ok(key) => renewed.push((self.wrap(&row.subject, &key), row)),
                    Err(error) => rotated.missed(SUBJECTS, &error),
                }
            }
            let input = (renewed, self.active_key().to_owned());
            let moved = db.write("seal.rewrap", input, |tx, (renewed, active)| {
                Box::pin(async move {
                    let mut moved = 0;
                    for (wrapped, row) in renewed {
                        moved += store::rewrap(tx, row, wrapped, active).await?;
                    }
                    Ok::<_, StoreError>(moved)
                })
            });
            rotated.moved += moved.await?;
            watch(SUBJECTS, seen);
        }
    }

    async fn reseal(
        &self,
        db: &Db,
        (purpose, column): (&'static Purpose, &'static Column),
        limit: i64,
        rotated: &mut Rotated,
        watch: &mut Watch<'_>,
    ) -> Result<(), SealError> {
        let (mut pages, mut seen) = (Pages::default(), 0);
        while let Some(rows) = pages.next(db, column, limit).await? {
            seen += count(rows.len());
            let mut renewed = Vec::new();
            for row in rows.into_iter().filter(|row| !row.sealed.is_empty()) {
                if Self::key_of(&row.sealed) == Some(self.active_key()) {
                    continue;
                }
                match self.open_block(purpose, &row.sealed) {
                    Ok(plain) => {
                        let plain = zeroize::Zeroizing::new(plain);
                        renewed.push((self.seal_block(purpose, &plain), row));
                    }
                    Err(error) => rotated.missed(column.name(), &error),
                }
            }
            if !renewed.is_empty() {
                rotated.moved += replace(db, column, renewed).await?;
            }
            watch(column.name(), seen);
        }
        Ok(())
    }
}

impl Rotated {
    fn missed(&mut self, column: &'static str, error: &SealError) {
        *self.unopened.entry(column).or_default() += 1;
        self.reason
            .get_or_insert_with(|| format!("{column}: {error}"));
    }
}

impl Census {
    fn add(&mut self, column: &'static str, sealed: &[u8], opened: Result<(), SealError>) {
        let id = Keyring::key_of(sealed).unwrap_or("none").to_owned();
        *self.under.entry(column).or_default().entry(id).or_default() += 1;
        if let Err(error) = opened {
            *self.unopened.entry(column).or_default() += 1;
            self.reason
                .get_or_insert_with(|| format!("{column}: {error}"));
        }
    }
}

/// Goes through a column in the order of its keys.
#[derive(Default)]
struct Pages {
    after: Option<Vec<String>>,
}

impl Pages {
    async fn next(
        &mut self,
        db: &Db,
        column: &Column,
        limit: i64,
    ) -> Result<Option<Vec<Found>>, StoreError> {
        let rows = column.page(db, self.after.as_deref(), limit).await?;
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        self.after = Some(last.key.clone());
        Ok(Some(rows))
    }
}

async fn replace(
    db: &Db,
    column: &'static Column,
    renewed: Vec<(Vec<u8>, Found)>,
) -> Result<u64, StoreError> {
    let moved = db.write("seal.reseal", renewed, move |tx, renewed| {
        Box::pin(async move {
            let mut moved = 0;
            for (sealed, row) in renewed {
                moved += column.replace(tx, row, sealed).await?;
            }
            Ok::<_, StoreError>(moved)
        })
    });
    moved.await
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
