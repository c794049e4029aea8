//! Epochs: the spans of a log under one name and key.
//!
//! A store that came back from a backup is shorter than what was signed. Signing on would fork
//! the log, so a new epoch with a new name opens instead. Its tree carries over what the store
//! still holds, and its first own entry names the last checkpoint known.

use std::path::PathBuf;

use publica_store::{Db, StoreError};
use publica_types::{Entropy, Origin, Uuid};
use serde_json::json;

use crate::config::JournalConfig;
use crate::entry::{Entry, EntryRow};
use crate::error::JournalError;
use crate::merkle::{Hash, digest};
use crate::note::{Head, Signer, VerifierKey};
use crate::sealed::SIGNING;
use crate::store::cursors;
use crate::store::log::{self as sql, EpochRow, PendingRow};
use crate::store::tail;
use crate::tree::{Edge, Reader, counted};

/// A program that restores a store writes a cursor of this name whose epoch is the last one in
/// the store. The journal then opens a new epoch when it next starts.
pub const RESTORED_CURSOR: &str = "journal.restored";

/// Notes in a store that it was brought back from a copy, so that its journal opens a new epoch
/// when it next starts. False if the journal has signed nothing, so that there is nothing to fork.
pub async fn mark_restored(db: &Db) -> Result<bool, StoreError> {
    let Some(last) = sql::last_epoch(db).await? else {
        return Ok(false);
    };
    db.write("journal.mark_restored", last.epoch, |tx, epoch| {
        Box::pin(cursors::put(tx, RESTORED_CURSOR, *epoch, 0))
    })
    .await?;
    Ok(true)
}

/// What epochs are opened with.
pub(crate) struct Keeper<'k> {
    pub(crate) block: &'static str,
    pub(crate) config: &'k JournalConfig,
    pub(crate) keyring: &'k publica_seal::Keyring,
    pub(crate) entropy: &'k dyn Entropy,
}

/// An epoch that may sign.
#[derive(Debug)]
pub(crate) struct OpenEpoch {
    pub(crate) number: i64,
    pub(crate) signer: Signer,
}

/// The key that verifies an epoch's checkpoints.
pub(crate) fn verifier(row: &EpochRow) -> Result<VerifierKey, JournalError> {
    let key =
        <[u8; 32]>::try_from(row.public_key.as_slice()).map_err(|_| JournalError::Damaged {
            reason: "a public key is malformed".to_owned(),
        })?;
    Ok(VerifierKey::new(row.origin.clone(), key))
}

/// The checkpoint in a note that this key signed, under whatever name.
fn signed_by(key: &VerifierKey, note: &str) -> Option<Head> {
    let claimed = Head::peek(note).ok()?;
    let named = VerifierKey::new(claimed.origin, *key.public_key());
    named.open(note).and_then(Head::parse).ok()
}

impl Keeper<'_> {
    /// The epoch that may sign the stored tree, opening one if there is none or if the tree is
    /// not the one that was signed.
    pub(crate) async fn current(&self, db: &Db) -> Result<OpenEpoch, JournalError> {
        let last = sql::last_epoch(db).await?;
        let Some(last) = last else {
            return self.open(db, None, None).await;
        };
        let restored = cursors::find(db, RESTORED_CURSOR).await?;
        if restored.is_some_and(|(epoch, _)| epoch == last.epoch) {
            let known = self.last_note(db, &last).await?;
            return self.open(db, Some(&last), known).await;
        }
        match self.contradiction(db, &last).await? {
            None => self.signer(&last),
            Some(note) => {
                tracing::error!(
                    block = self.block,
                    origin = last.origin,
                    "the journal is not the one that was signed last; opening a new epoch"
                );
                self.open(db, Some(&last), Some(note)).await
            }
        }
    }

    async fn last_note(&self, db: &Db, last: &EpochRow) -> Result<Option<String>, JournalError> {
        Ok(sql::last_checkpoint_of(db, last.epoch)
            .await?
            .map(|row| row.note))
    }

    /// A checkpoint of this epoch that the stored tree does not begin with.
    async fn contradiction(
        &self,
        db: &Db,
        last: &EpochRow,
    ) -> Result<Option<String>, JournalError> {
        let mut notes: Vec<String> = self.last_note(db, last).await?.into_iter().collect();
        notes.extend(self.witnessed(db).await);
        let size = sql::size(db).await?;
        let key = verifier(last)?;
        for note in notes {
            let Some(head) = signed_by(&key, &note) else {
                continue;
            };
            if head.origin != last.origin {
                // A log keeps its key over its epochs: this is one that the store has left
                // behind, or one that opened after the store was copied.
                if sql::knows_origin(db, &head.origin).await? {
                    continue;
                }
                return Ok(Some(note));
            }
            if head.size > counted(size) {
                return Ok(Some(note));
            }
            if Reader::new(db).root(head.size).await? != head.root {
                return Ok(Some(note));
            }
        }
        Ok(None)
    }

    fn witness_file(&self, db: &Db) -> Option<PathBuf> {
        let folder = self.config.witness_dir.as_ref()?;
        Some(folder.join(format!("{}-{}.checkpoint", self.block, db.tenant())))
    }

    async fn witnessed(&self, db: &Db) -> Option<String> {
        let file = self.witness_file(db)?;
        match tokio::fs::read_to_string(&file).await {
            Ok(note) => Some(note),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(
                    file = %file.display(), %error,
                    "the witness cannot be read, so a store that was brought back would not be \
                     noticed; give this user access to it"
                );
                None
            }
        }
    }

    /// Leaves the last checkpoint outside the store.
    pub(crate) async fn witness(&self, db: &Db, note: &str) {
        let Some(file) = self.witness_file(db) else {
            return;
        };
        let written = async {
            if let Some(folder) = file.parent() {
                tokio::fs::create_dir_all(folder).await?;
            }
            let draft = file.with_extension("checkpoint.new");
            tokio::fs::write(&draft, note).await?;
            tokio::fs::rename(&draft, &file).await
        };
        if let Err(error) = written.await {
            tracing::warn!(block = self.block, %error, "the last checkpoint was not kept outside");
        }
    }

    pub(crate) fn signer(&self, row: &EpochRow) -> Result<OpenEpoch, JournalError> {
        let seed = self
            .keyring
            .open_block(&SIGNING, &row.sealed_seed)
            .map_err(|error| JournalError::Key {
                reason: error.to_string(),
            })?;
        let seed = <[u8; 32]>::try_from(seed).map_err(|_| JournalError::Key {
            reason: "its seed is malformed".to_owned(),
        })?;
        let signer = Signer::from_seed(row.origin.clone(), &seed)?;
        if signer.verifier().public_key().as_slice() != row.public_key {
            return Err(JournalError::Key {
                reason: "seed and public key differ".to_owned(),
            });
        }
        Ok(OpenEpoch {
            number: row.epoch,
            signer,
        })
    }

    async fn open(
        &self,
        db: &Db,
        last: Option<&EpochRow>,
        last_known: Option<String>,
    ) -> Result<OpenEpoch, JournalError> {
        let edge = Edge::load(db).await?;
        let number = last.map_or(1, |last| last.epoch + 1);
        let mut random = [0; 4];
        self.entropy.fill(&mut random);
        let name = &self.config.log_name;
        let (block, tenant) = (self.block, db.tenant());
        // The random part keeps two restores of one backup from sharing a name.
        let origin = format!("{name}/{block}/{tenant}/{number}-{}", hex::encode(random));
        // The key stays the log's own over its epochs, so that whoever trusts it goes on to.
        let (sealed_seed, public_key) = match last {
            Some(last) => (last.sealed_seed.clone(), last.public_key.clone()),
            None => self.new_key(&origin)?,
        };
        let row = EpochRow {
            epoch: number,
            origin,
            first_position: i64::try_from(edge.size()).unwrap_or(i64::MAX),
            sealed_seed,
            public_key,
            last_known,
            time: db.now(),
        };
        let mut id = [0; 16];
        self.entropy.fill(&mut id);
        let entry = last.map(|_| opening(&row, Uuid::from_bytes(id)));
        let input = (row.clone(), edge, entry);
        db.write("journal.open_epoch", input, |tx, (row, edge, entry)| {
            Box::pin(async move {
                if sql::size_in(tx).await? != row.first_position {
                    return Err(StoreError::Misuse {
                        reason: "the log grew meanwhile",
                    });
                }
                sql::put_epoch(tx, row).await?;
                let Some(entry) = entry else { return Ok(()) };
                tail::entry(tx, entry).await?;
                let leaf_hash = entry.leaf_hash().to_vec();
                let first = PendingRow {
                    entry_id: entry.entry_id,
                    leaf_hash,
                };
                edge.clone().append(tx, &[first]).await
            })
        })
        .await?;
        metrics::counter!("publica_journal_epochs_total", "block" => block).increment(1);
        self.signer(&row)
    }

    fn new_key(&self, origin: &str) -> Result<(Vec<u8>, Vec<u8>), JournalError> {
        let mut seed = [0; 32];
        self.entropy.fill(&mut seed);
        let signer = Signer::from_seed(origin, &seed)?;
        let public: Hash = *signer.verifier().public_key();
        Ok((self.keyring.seal_block(&SIGNING, &seed), public.to_vec()))
    }
}

/// The first entry of an epoch that follows another.
fn opening(row: &EpochRow, id: Uuid) -> EntryRow {
    let known = row.last_known.as_deref();
    let head = known.and_then(|note| Head::peek(note).ok());
    Entry::new("journal.epoch.opened")
        .subject("epoch", &row.origin)
        .body(json!({
            "epoch": row.epoch,
            "first_position": row.first_position,
            "last_known_origin": head.as_ref().map(|head| head.origin.clone()),
            "last_known_size": head.as_ref().map(|head| head.size),
            "last_known_root": head.as_ref().map(|head| hex::encode(head.root)),
            "last_known_sha256": known.map(|note| hex::encode(digest(note.as_bytes()))),
        }))
        .into_row(&Origin::system("journal"), id, row.time)
}
