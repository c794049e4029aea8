//! A file with private keys that is nobody else's to read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use publica_types::Secret;

use crate::AuthError;

/// Tells drafts of one process apart.
static DRAFTS: AtomicU32 = AtomicU32::new(0);

const MAX_BYTES: u64 = 256 * 1024;

fn problem(path: &Path, problem: &'static str, source: Option<io::Error>) -> AuthError {
    AuthError::KeyFile {
        path: path.display().to_string(),
        problem,
        source,
    }
}

/// Reads a key file, or writes what `make` gives if there is none. Of several processes that
/// start at once exactly one writes, and all read the same.
pub(crate) fn read_or_create(
    path: &Path,
    make: impl FnOnce() -> Result<Secret<String>, AuthError>,
) -> Result<Secret<String>, AuthError> {
    match read(path) {
        Err(AuthError::KeyFile {
            source: Some(error),
            ..
        }) if error.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    let text = make()?;
    create(path, text.expose()).map_err(|error| problem(path, "cannot be written", Some(error)))?;
    read(path)
}

/// A group may read: container platforms hand secrets to a process by way of its group.
fn read(path: &Path) -> Result<Secret<String>, AuthError> {
    let unreadable = |error| problem(path, "cannot be read", Some(error));
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.permissions().mode() & 0o037 != 0 {
        return Err(problem(
            path,
            "may be read by others; its mode must be 0600 or 0640",
            None,
        ));
    }
    if metadata.len() > MAX_BYTES {
        return Err(problem(path, "is too long", None));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(Secret::new(text))
}

/// Writes beside the file and links it into place: the link fails if another process was
/// first, and no reader ever sees half a file.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let count = DRAFTS.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{count}.new", std::process::id()));
    let draft = folder.join(name);
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed)?;
    File::open(folder)?.sync_all()
}
