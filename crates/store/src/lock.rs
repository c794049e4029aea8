//! The lock file that keeps a second process out of an embedded store.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::StoreError;

/// Held while a store is open. The operating system lets go of it when the process ends, in
/// whatever way, so a crash leaves nothing to clean up.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: Mutex<Option<File>>,
}

impl LockFile {
    /// Locks the store in `database`, or says who has it.
    pub(crate) fn take(database: &Path) -> Result<Self, StoreError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| StoreError::config(format!("{}: {error}", path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                file: Mutex::new(Some(file)),
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::config(format!(
                "{} is in use by another process",
                database.display()
            ))),
            Err(TryLockError::Error(error)) => {
                Err(StoreError::config(format!("{}: {error}", path.display())))
            }
        }
    }

    /// No lock, for who uses a store beside the process that has it.
    pub(crate) const fn none() -> Self {
        Self {
            file: Mutex::new(None),
        }
    }

    /// Lets go of the store, whose connections are closed by now, although somebody may still
    /// have a handle on it.
    pub(crate) fn release(&self) {
        drop(
            self.file
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
    }
}
