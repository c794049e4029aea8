//! The folder in which files change hands with a bank.
//!
//! In `outgoing` the bank finds what it is to do, under names that appear in one step and never
//! again. Into `incoming` it puts what it has to say, in one step as well: names that begin with
//! a dot or end in `.tmp`, `.part` or `.filepart` are still being written and are left alone.
//! What was taken goes to `done`, what was not to `refused` with the reason beside it.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use publica_types::Tenant;
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Files are about people; the bank's agent reads them by its group.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;
/// Files that are looked at in one go.
const AT_ONCE: usize = 1_000;
/// The longest name that is taken; a reason's name and a number must fit behind it.
const NAME_BYTES: usize = 200;
const UNFINISHED: [&str; 3] = [".tmp", ".part", ".filepart"];

/// A tenant's part of a rail's folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

/// What stands in a file.
#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    TooLarge,
    /// Somebody took it away, or it is no file.
    Gone,
}

impl Folder {
    /// Opens the folder, and makes what is missing in it.
    pub(crate) async fn open(base: &Path, tenant: &Tenant) -> Result<Self, Error> {
        let folder = Self(base.join(tenant.as_str()));
        for part in ["outgoing", "incoming", "done", "refused", "staging"] {
            let path = folder.0.join(part);
            if !fs::try_exists(&path).await? {
                make_folder(path).await?;
            }
        }
        Ok(folder)
    }

    /// Writes a file where nobody looks for it yet.
    pub(crate) async fn stage(&self, staged: &str, bytes: &[u8]) -> Result<(), Error> {
        let staging = self.0.join("staging");
        put(&staging.join(staged), bytes).await?;
        // Once its name is recorded, a missing file counts as let out.
        keep(&staging).await
    }

    /// Lets the bank find a staged file. Without one that was done before.
    pub(crate) async fn let_out(&self, staged: &str, name: &str) -> Result<(), Error> {
        let (from, to) = (
            self.0.join("staging").join(staged),
            self.0.join("outgoing").join(name),
        );
        match fs::rename(from, to).await {
            Ok(()) => keep(&self.0.join("outgoing")).await,
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what was staged under names that begin like this.
    pub(crate) async fn clear_staged(&self, beginning: &str) -> Result<(), Error> {
        let mut entries = fs::read_dir(self.0.join("staging")).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.starts_with(beginning))
            {
                gone_is_fine(fs::remove_file(entry.path()).await)?;
            }
        }
        Ok(())
    }

    /// The names of files that came in, in order.
    pub(crate) async fn incoming(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        let mut entries = fs::read_dir(self.0.join("incoming")).await?;
        while let Some(entry) = entries.next_entry().await? {
            let unfinished = |name: &String| {
                name.starts_with('.') || UNFINISHED.iter().any(|end| name.ends_with(end))
            };
            let name = entry.file_name().into_string().ok();
            let name = name.filter(|name| name.len() <= NAME_BYTES && !unfinished(name));
            // What a link leads to is nobody's business.
            let is_file = entry.file_type().await.is_ok_and(|kind| kind.is_file());
            if let Some(name) = name.filter(|_| is_file) {
                names.push(name);
            }
            if names.len() == AT_ONCE {
                break;
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads a file that came in.
    pub(crate) async fn read(&self, name: &str, most: u64) -> Result<Content, Error> {
        let path = self.0.join("incoming").join(name);
        let kind = match fs::symlink_metadata(&path).await {
            Ok(kind) => kind,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Content::Gone),
            Err(error) => return Err(error),
        };
        if !kind.is_file() {
            return Ok(Content::Gone);
        }
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).await?;
        let read = file.take(most + 1).read_to_end(&mut bytes).await?;
        match u64::try_from(read).is_ok_and(|read| read <= most) {
            true => Ok(Content::Bytes(bytes)),
            false => Ok(Content::TooLarge),
        }
    }

    /// Sets a file aside that was taken in.
    pub(crate) async fn set_done(&self, name: &str) -> Result<(), Error> {
        let to = self.free("done", name).await?;
        self.set_aside(name, to).await
    }

    /// Sets a file aside that was not taken in, with the reason beside it.
    pub(crate) async fn set_refused(&self, name: &str, reason: &str) -> Result<(), Error> {
        let to = self.free("refused", name).await?;
        let mut beside = to.clone().into_os_string();
        beside.push(".reason.txt");
        put(Path::new(&beside), format!("{reason}\n").as_bytes()).await?;
        self.set_aside(name, to).await
    }

    /// A path that no other file has.
    async fn free(&self, to: &str, name: &str) -> Result<PathBuf, Error> {
        let mut path = self.0.join(to).join(name);
        let mut number = 1;
        while fs::try_exists(&path).await? {
            number += 1;
            path = self.0.join(to).join(format!("{name}.{number}"));
        }
        Ok(path)
    }

    async fn set_aside(&self, name: &str, to: PathBuf) -> Result<(), Error> {
        gone_is_fine(fs::rename(self.0.join("incoming").join(name), to).await)
    }
}

async fn make_folder(path: PathBuf) -> Result<(), Error> {
    let make = move || {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(FOLDER_MODE).create(path)
    };
    tokio::task::spawn_blocking(make)
        .await
        .map_err(Error::other)?
}

/// Writes a file that survives a loss of power.
async fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE);
    let mut file = fs::OpenOptions::from(options).open(path).await?;
    file.write_all(bytes).await?;
    file.sync_all().await
}

/// Makes sure that a folder's names survive a loss of power.
async fn keep(folder: &Path) -> Result<(), Error> {
    fs::File::open(folder).await?.sync_all().await
}

fn gone_is_fine(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: PathBuf) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_comes_out_once() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::open(base.path(), &Tenant::default()).await.unwrap();
        folder.stage("m.1", b"payments").await.unwrap();
        folder.stage("m.2", b"payments").await.unwrap();
        assert!(names(folder.0.join("outgoing")).is_empty());
        folder.let_out("m.1", "out.xml").await.unwrap();
        assert_eq!(names(folder.0.join("outgoing")), ["out.xml"]);
        // The bank has taken it; whoever crashed before noting that lets nothing out again.
        std::fs::remove_file(folder.0.join("outgoing/out.xml")).unwrap();
        folder.let_out("m.1", "out.xml").await.unwrap();
        assert!(names(folder.0.join("outgoing")).is_empty());
        folder.clear_staged("m.").await.unwrap();
        assert!(names(folder.0.join("staging")).is_empty());
    }

    #[tokio::test]
    async fn nothing_is_lost_when_files_are_set_aside() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::open(base.path(), &Tenant::default()).await.unwrap();
        let incoming = folder.0.join("incoming");
        for name in ["b.xml", "a.xml", ".hidden", "c.xml.part", "d.tmp"] {
            std::fs::write(incoming.join(name), "12345").unwrap();
        }
        std::os::unix::fs::symlink("/etc/hostname", incoming.join("link.xml")).unwrap();
        assert_eq!(folder.incoming().await.unwrap(), ["a.xml", "b.xml"]);
        let link = folder.read("link.xml", 100).await.unwrap();
        assert!(matches!(link, Content::Gone));
        let large = folder.read("a.xml", 4).await.unwrap();
        assert!(matches!(large, Content::TooLarge));
        let fits = folder.read("a.xml", 5).await.unwrap();
        assert!(matches!(fits, Content::Bytes(bytes) if bytes == b"12345"));
        folder.set_refused("a.xml", "why").await.unwrap();
        std::fs::write(incoming.join("a.xml"), "another").unwrap();
        folder.set_refused("a.xml", "why").await.unwrap();
        folder.set_done("b.xml").await.unwrap();
        folder.set_done("b.xml").await.unwrap();
        assert_eq!(names(folder.0.join("done")), ["b.xml"]);
        let refused = ["a.xml", "a.xml.2", "a.xml.2.reason.txt", "a.xml.reason.txt"];
        assert_eq!(names(folder.0.join("refused")), refused);
    }
}
