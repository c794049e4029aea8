//! `publica backup` and `publica restore`: embedded stores and keys, checksummed.

mod places;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{Context as Digest, SHA256};
use publica_types::{Clock as _, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::base::{ensure_empty, private_folder};
use crate::cli::{BackupArgs, RestoreArgs};
use crate::commands::mark;
use crate::print;
use crate::settings::{self, Suite};
use places::Role;

const MANIFEST: &str = "backup.json";
/// Backups of version 1 hold the data folder alone.
const VERSION: u32 = 2;
/// The folder in a backup for what stood outside the data folder.
const OUTSIDE: &str = "outside-data";
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// What a backup holds.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    time: Timestamp,
    files: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    store: bool,
    bytes: u64,
    sha256: String,
    /// What it is, if it stood outside the data folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

pub(crate) async fn backup(args: BackupArgs) -> Result<u8> {
    let loaded = settings::load(args.config.as_deref(), |suite| {
        if let Some(data) = &args.data {
            suite.data.clone_from(data);
        }
    });
    let suite = match loaded {
        Ok(suite) => suite,
        Err(problems) => return Ok(settings::report(&problems)),
    };
    let files = back_up(&suite, &args.to).await?;
    let stores = files.iter().filter(|entry| entry.store).count();
    print::line(&format!(
        "Backed up {stores} stores and {} other files to {}.",
        files.len() - stores,
        args.to.display()
    ))?;
    for words in places::elsewhere(&suite)? {
        print::error(&format!("Not in it: {words}."));
    }
    Ok(0)
}

/// Copies what there is of a suite; says what that was.
async fn back_up(suite: &Suite, to: &Path) -> Result<Vec<Entry>> {
    let data = &suite.data;
    let outside = places::outside(suite)?;
    ensure!(
        data.is_dir() || !outside.is_empty(),
        "{} is no folder",
        data.display()
    );
    empty_folder(to)?;
    let mut files = Vec::new();
    let inside = if data.is_dir() {
        files_below(data)?
    } else {
        Vec::new()
    };
    for path in inside {
        files.push(copy(&data.join(&path), to, path, None).await?);
    }
    for (number, (role, from)) in outside.into_iter().enumerate() {
        let name = from.file_name().context("every file has a name")?;
        let path = Path::new(OUTSIDE).join(number.to_string()).join(name);
        files.push(copy(&from, to, path, Some(role)).await?);
    }
    let manifest = Manifest {
        version: VERSION,
        time: SystemClock.now(),
        files,
    };
    write_manifest(to, &manifest)?;
    Ok(manifest.files)
}

/// Copies a file to its place in the backup.
async fn copy(from: &Path, folder: &Path, path: PathBuf, role: Option<Role>) -> Result<Entry> {
    let to = folder.join(&path);
    private_folder(to.parent().context("every file stands in a folder")?)?;
    let store = is_store(from)?;
    let copied = if store {
        copy_store(from, &to).await
    } else {
        copy_file(from, &to)
    };
    copied.with_context(|| from.display().to_string())?;
    let (bytes, sha256) = checksum(&to)?;
    Ok(Entry {
        path,
        store,
        bytes,
        sha256,
        role,
    })
}

pub(crate) async fn restore(args: RestoreArgs) -> Result<u8> {
    // Not checked: what the settings name may be in the backup alone.
    let loaded = settings::load_unchecked(args.config.as_deref(), |suite| {
        if let Some(data) = &args.data {
            suite.data.clone_from(data);
        }
    });
    let suite = match loaded {
        Ok(suite) => suite,
        Err(problems) => return Ok(settings::report(&problems)),
    };
    let Some(from) = &args.from else {
        return mark::run(&suite, &args.blocks).await;
    };
    bring_back(&suite, from).await
}

async fn bring_back(suite: &Suite, folder: &Path) -> Result<u8> {
    let manifest = read_manifest(folder)?;
    verify(folder, &manifest)?;
    let mut targets = Vec::new();
    for entry in &manifest.files {
        let target = match &entry.role {
            None => suite.data.join(&entry.path),
            Some(role) => role.place(suite)?,
        };
        ensure!(
            entry.role.is_none() || !target.exists(),
            "{} exists already; nothing was restored",
            target.display()
        );
        targets.push(target);
    }
    empty_folder(&suite.data)?;
    let mut stores = 0;
    for (entry, to) in manifest.files.iter().zip(targets) {
        let from = folder.join(&entry.path);
        private_folder(to.parent().context("every file stands in a folder")?)?;
        copy_file(&from, &to).with_context(|| from.display().to_string())?;
        if entry.store {
            stores += 1;
            mark_restored(&to)
                .await
                .with_context(|| to.display().to_string())?;
        }
    }
    print::line(&format!(
        "Restored {stores} stores and {} other files of {} to {}{}.",
        manifest.files.len() - stores,
        manifest.time,
        suite.data.display(),
        if manifest.files.iter().any(|entry| entry.role.is_some()) {
            " and to where the settings have them"
        } else {
            ""
        }
    ))?;
    print::line("Run `publica doctor` once the suite is up again.")?;
    Ok(0)
}

/// Everything below a folder that is worth keeping, by path from there.
fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && is_kept(&entry.file_name().to_string_lossy()) {
                found.push(entry.path().strip_prefix(root)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A copied store holds its log already; locks and the administrator's token are made anew.
fn is_kept(name: &str) -> bool {
    let passing = ["-wal", "-shm", "-journal", ".lock", ".tmp"];
    !passing.iter().any(|end| name.ends_with(end)) && name != "admin.token"
}

pub(crate) fn is_store(path: &Path) -> Result<bool> {
    let mut head = Vec::new();
    let limit = u64::try_from(SQLITE_MAGIC.len())?;
    File::open(path)?.take(limit).read_to_end(&mut head)?;
    Ok(head == SQLITE_MAGIC)
}

pub(crate) async fn open_store(path: &Path, write: bool) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path).read_only(!write);
    Ok(options.connect().await?)
}

/// Copies a store at one moment, while others write to it.
async fn copy_store(from: &Path, to: &Path) -> Result<()> {
    let target = to.to_str().context("the path is not UTF-8")?;
    let mut store = open_store(from, false).await?;
    sqlx::query("VACUUM INTO $1")
        .bind(target)
        .execute(&mut store)
        .await?;
    store.close().await?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o600))?;
    File::open(to)?.sync_all()?;
    let mut copy = open_store(to, false).await?;
    let sound: String = sqlx::query_scalar("PRAGMA quick_check")
        .fetch_one(&mut copy)
        .await?;
    copy.close().await?;
    ensure!(sound == "ok", "the copy is damaged: {sound}");
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let mode = fs::metadata(from)?.permissions().mode() & 0o700;
    let mut options = OpenOptions::new();
    let mut target = options
        .write(true)
        .create_new(true)
        .mode(mode.max(0o600))
        .open(to)?;
    std::io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()?;
    Ok(())
}

fn empty_folder(folder: &Path) -> Result<()> {
    ensure_empty(folder)?;
    private_folder(folder)
}

fn checksum(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut digest = Digest::new(&SHA256);
    let mut buffer = vec![0; 128 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex::encode(digest.finish())));
        }
        digest.update(&buffer[..read]);
        bytes += u64::try_from(read)?;
    }
}

fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join(MANIFEST))?;
    file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
    file.sync_all()?;
    // The names of the copies must survive a power cut as well.
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST);
    let bytes = fs::read(&path)
        .with_context(|| format!("{} is no backup: {MANIFEST} is missing", folder.display()))?;
    let manifest: Manifest =
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
    ensure!(
        (1..=VERSION).contains(&manifest.version),
        "the backup has version {}, this program reads up to {VERSION}",
        manifest.version
    );
    Ok(manifest)
}

/// Checks everything before anything is written.
fn verify(folder: &Path, manifest: &Manifest) -> Result<()> {
    for entry in &manifest.files {
        let inside = entry
            .path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        ensure!(inside, "{} leads outside the backup", entry.path.display());
        let path = folder.join(&entry.path);
        let found = checksum(&path).with_context(|| path.display().to_string())?;
        ensure!(
            found == (entry.bytes, entry.sha256.clone()),
            "{} is not what was backed up",
            entry.path.display()
        );
    }
    Ok(())
}

/// A restored store is older than what its journal may have signed since; the mark makes the
/// journal open a new epoch instead of signing on. A store without a journal needs none.
async fn mark_restored(path: &Path) -> Result<()> {
    let mut store = open_store(path, true).await?;
    let journals: i64 = sqlx::query_scalar(HAS_JOURNAL)
        .fetch_one(&mut store)
        .await?;
    if journals == 1 {
        let mark = sqlx::query(MARK_RESTORED).bind(publica_journal::RESTORED_CURSOR);
        mark.bind(SystemClock.now()).execute(&mut store).await?;
    }
    let leases: i64 = sqlx::query_scalar(HAS_LEASES).fetch_one(&mut store).await?;
    if leases == 1 {
        // Whoever held them when the copy was made holds them in another store.
        sqlx::query(FREE_LEASES).execute(&mut store).await?;
    }
    store.close().await?;
    Ok(())
}

const HAS_JOURNAL: &str =
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'journal_cursor'";
const HAS_LEASES: &str =
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'lease'";
const FREE_LEASES: &str = "UPDATE lease SET held_until = 0";
const MARK_RESTORED: &str = "INSERT INTO journal_cursor (name, epoch, position, time) \
    SELECT $1, MAX(epoch), 0, $2 FROM journal_epoch HAVING MAX(epoch) IS NOT NULL \
    ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, time = excluded.time";

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(data: &Path) -> Suite {
        Suite {
            data: data.to_owned(),
            ..Suite::default()
        }
    }

    async fn sample(folder: &Path) {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("one.db"))
            .create_if_missing(true);
        let mut store = options.connect().await.unwrap();
        for sql in ["CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (7)"] {
            sqlx::query(sql).execute(&mut store).await.unwrap();
        }
        store.close().await.unwrap();
        fs::create_dir(folder.join("keys")).unwrap();
        fs::write(folder.join("keys/key.json"), "{}").unwrap();
        fs::write(folder.join("admin.token"), "passing").unwrap();
        fs::write(folder.join("one.db.lock"), "").unwrap();
    }

    #[tokio::test]
    async fn a_backup_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let (data, copy) = (root.path().join("data"), root.path().join("copy"));
        fs::create_dir(&data).unwrap();
        sample(&data).await;
        back_up(&suite(&data), &copy).await.unwrap();
        assert!(!copy.join("admin.token").exists() && !copy.join("one.db.lock").exists());
        verify(&copy, &read_manifest(&copy).unwrap()).unwrap();
        let mut store = open_store(&copy.join("one.db"), false).await.unwrap();
        let n: i64 = sqlx::query_scalar("SELECT n FROM t")
            .fetch_one(&mut store)
            .await
            .unwrap();
        assert_eq!(n, 7);
        let mode = fs::metadata(copy.join("keys/key.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
        let again = back_up(&suite(&data), &copy).await.unwrap_err();
        assert!(again.to_string().contains("not empty"), "{again}");
    }

    #[tokio::test]
    async fn a_changed_backup_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (data, copy) = (root.path().join("data"), root.path().join("copy"));
        fs::create_dir(&data).unwrap();
        sample(&data).await;
        back_up(&suite(&data), &copy).await.unwrap();
        fs::write(copy.join("keys/key.json"), "[]").unwrap();
        let back = root.path().join("back");
        let error = bring_back(&suite(&back), &copy).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("is not what was backed up"), "{error}");
        assert!(!back.exists());
    }

    #[test]
    fn what_leads_outside_is_refused() {
        let entry = Entry {
            path: "../etc/passwd".into(),
            store: false,
            bytes: 0,
            sha256: String::new(),
            role: None,
        };
        let manifest = Manifest {
            version: VERSION,
            time: SystemClock.now(),
            files: vec![entry],
        };
        let error = verify(Path::new("/tmp"), &manifest)
            .unwrap_err()
            .to_string();
        assert!(error.contains("outside"), "{error}");
    }
}
