//! The key-encryption keys of a process and what is derived from them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_types::SharedEntropy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::aead::{Aead, KEY_LEN, derive, keyed_hash};
use crate::{Purpose, SealConfig, SealError};

/// The longest name of a key-encryption key.
const MAX_ID: usize = 64;

/// Key-encryption keys, look-up key and the secrets of a block. Cloning is cheap.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    active: String,
    keks: BTreeMap<String, Kek>,
    lookup_master: Zeroizing<[u8; KEY_LEN]>,
    lookup: hmac::Key,
    scope: String,
    pub(crate) entropy: SharedEntropy,
}

#[derive(Clone)]
struct Kek {
    master: Zeroizing<[u8; KEY_LEN]>,
    wrap: Arc<Aead>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySet {
    active: String,
    lookup: String,
    keys: Vec<NamedKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    id: String,
    key: String,
}

impl Keyring {
    /// Reads the key set, or makes one where the settings allow that.
    pub fn open(config: &SealConfig, entropy: SharedEntropy) -> Result<Self, SealError> {
        if let Some((key, what)) = config.problems().first() {
            return Err(SealError::Keys(format!("{key} {what}").trim().to_owned()));
        }
        let text = match (&config.keys, &config.file) {
            (Some(keys), _) => Zeroizing::new(keys.expose().clone()),
            (None, Some(file)) => read_or_create(file, config.create, &entropy)?,
            (None, None) => return Err(SealError::Keys("no keys are configured".to_owned())),
        };
        let set: KeySet = serde_json::from_str(&text)
            .map_err(|error| SealError::Keys(format!("the key set is malformed: {error}")))?;
        Self::from_set(&set, entropy)
    }

    /// A keyring with new keys that nobody else has, for tests.
    pub fn ephemeral(entropy: SharedEntropy) -> Self {
        let set = KeySet::generate(&entropy);
        match Self::from_set(&set, entropy) {
            Ok(keyring) => keyring,
            Err(_) => unreachable!("a generated key set is sound"),
        }
    }

    fn from_set(set: &KeySet, entropy: SharedEntropy) -> Result<Self, SealError> {
        let mut keks = BTreeMap::new();
        for named in &set.keys {
            let sound = (1..=MAX_ID).contains(&named.id.len())
                && named.id.bytes().all(|byte| byte.is_ascii_graphic());
            if !sound {
                return Err(SealError::Keys(
                    "a key's id is 1 to 64 visible characters".into(),
                ));
            }
            let master = decode(&named.key)?;
            let wrap = Arc::new(Aead::new(&derive(&master, &[b"wrap"])));
            if keks
                .insert(named.id.clone(), Kek { master, wrap })
                .is_some()
            {
                return Err(SealError::Keys("two keys have the same id".into()));
            }
        }
        if !keks.contains_key(&set.active) {
            return Err(SealError::Keys(
                "the active key is not among the keys".into(),
            ));
        }
        let lookup_master = decode(&set.lookup)?;
        let lookup = lookup_key(&lookup_master, "");
        Ok(Self(Arc::new(Inner {
            active: set.active.clone(),
            keks,
            lookup_master,
            lookup,
            scope: String::new(),
            entropy,
        })))
    }

    /// The same keys for one block: its look-up hashes cannot be compared with another block's,
    /// and its secrets do not open elsewhere.
    pub fn scoped(&self, block: &str) -> Self {
        Self(Arc::new(Inner {
            active: self.0.active.clone(),
            keks: self.0.keks.clone(),
            lookup_master: self.0.lookup_master.clone(),
            lookup: lookup_key(&self.0.lookup_master, block),
            scope: block.to_owned(),
            entropy: self.0.entropy.clone(),
        }))
    }

    /// The keyed hash of a value, 32 bytes, under which it can be found. The caller normalises
    /// the value first: other spellings have other hashes.
    pub fn lookup(&self, field: &'static str, value: &str) -> Vec<u8> {
        keyed_hash(&self.0.lookup, field, value)
    }

    /// Seals a secret of the block itself, such as a signing key.
    pub fn seal_block(&self, purpose: &'static Purpose, plain: &[u8]) -> Vec<u8> {
        let Some(kek) = self.0.keks.get(&self.0.active) else {
            unreachable!("the active key was checked when the set was read")
        };
        let context = self.context(purpose.name());
        self.label(
            self.block_key(kek, purpose.name())
                .seal(&context, plain, &*self.0.entropy),
        )
    }

    /// Seals what leaves the block for years, such as a link in a mail: under the key of look-ups,
    /// which never changes, so that it opens whatever keys come and go.
    pub fn seal_lasting(&self, purpose: &'static Purpose, plain: &[u8]) -> Vec<u8> {
        let context = self.context(purpose.name());
        let key = self.lasting_key(purpose.name());
        // The label of no key.
        [&[0], key.seal(&context, plain, &*self.0.entropy).as_slice()].concat()
    }

    /// Opens a secret of the block.
    pub fn open_block(
        &self,
        purpose: &'static Purpose,
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let name = purpose.name();
        let (id, sealed) = split_label(sealed).ok_or(SealError::Unopenable(name))?;
        if id.is_empty() {
            let opened = self.lasting_key(name).open(&self.context(name), sealed);
            return opened.ok_or(SealError::Unopenable(name));
        }
        let kek = self
            .0
            .keks
            .get(id)
            .ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        self.block_key(kek, name)
            .open(&self.context(name), sealed)
            .ok_or(SealError::Unopenable(name))
    }

    /// The id of the key that a value was sealed under; `None` if it does not say.
    pub(crate) fn key_of(sealed: &[u8]) -> Option<&str> {
        split_label(sealed).map(|(id, _)| id)
    }

    fn block_key(&self, kek: &Kek, purpose: &str) -> Aead {
        Aead::new(&derive(
            &kek.master,
            &[b"block", self.0.scope.as_bytes(), purpose.as_bytes()],
        ))
    }

    fn lasting_key(&self, purpose: &str) -> Aead {
        Aead::new(&derive(
            &self.0.lookup_master,
            &[b"lasting", self.0.scope.as_bytes(), purpose.as_bytes()],
        ))
    }

    fn context(&self, purpose: &str) -> Vec<u8> {
        [self.0.scope.as_bytes(), b"\0", purpose.as_bytes()].concat()
    }

    /// Wraps a subject's key under the active key-encryption key.
    pub(crate) fn wrap(&self, subject: &str, key: &[u8; KEY_LEN]) -> Vec<u8> {
        let Some(kek) = self.0.keks.get(&self.0.active) else {
            unreachable!("the active key was checked when the set was read")
        };
        self.label(kek.wrap.seal(subject.as_bytes(), key, &*self.0.entropy))
    }

    /// Opens a wrapped subject key.
    pub(crate) fn unwrap_key(
        &self,
        subject: &str,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
        let (id, sealed) = split_label(wrapped).ok_or(SealError::Unopenable("subject key"))?;
        let kek = self
            .0
            .keks
            .get(id)
            .ok_or_else(|| SealError::UnknownKey(id.to_owned()))?;
        let plain = kek
            .wrap
            .open(subject.as_bytes(), sealed)
            .map(Zeroizing::new)
            .ok_or(SealError::Unopenable("subject key"))?;
        <[u8; KEY_LEN]>::try_from(plain.as_slice())
            .map(Zeroizing::new)
            .map_err(|_| SealError::Unopenable("subject key"))
    }

    /// The id of the key-encryption key that new keys are wrapped with.
    pub fn active_key(&self) -> &str {
        &self.0.active
    }

    /// The ids of all keys that are at hand, the active one among them.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.keks.keys().map(String::as_str)
    }

    pub(crate) fn entropy(&self) -> &SharedEntropy {
        &self.0.entropy
    }

    /// Puts the id of the active key in front.
    fn label(&self, sealed: Vec<u8>) -> Vec<u8> {
        let id = self.0.active.as_bytes();
        let length = u8::try_from(id.len()).unwrap_or_default();
        [&[length], id, &sealed].concat()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("active", &self.0.active)
            .field("scope", &self.0.scope)
            .finish_non_exhaustive()
    }
}

impl KeySet {
    fn generate(entropy: &SharedEntropy) -> Self {
        let key = || {
            let mut bytes = Zeroizing::new([0; KEY_LEN]);
            entropy.fill(&mut *bytes);
            STANDARD.encode(*bytes)
        };
        Self {
            active: "k1".to_owned(),
            lookup: key(),
            keys: vec![NamedKey {
                id: "k1".to_owned(),
                key: key(),
            }],
        }
    }
}

fn lookup_key(master: &[u8; KEY_LEN], scope: &str) -> hmac::Key {
    hmac::Key::new(
        hmac::HMAC_SHA256,
        &derive(master, &[b"lookup", scope.as_bytes()]),
    )
}

fn split_label(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (id, sealed) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(id).ok()?, sealed))
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, SealError> {
    let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new);
    bytes
        .ok()
        .and_then(|bytes| <[u8; KEY_LEN]>::try_from(bytes.as_slice()).ok())
        .map(Zeroizing::new)
        .ok_or_else(|| SealError::Keys("a key is 32 bytes in base64".to_owned()))
}

/// Reads the key file, or makes it. It is written beside its place and linked there: of several
/// processes that start together one makes it, and none reads half of it.
fn read_or_create(
    file: &Path,
    create: bool,
    entropy: &SharedEntropy,
) -> Result<Zeroizing<String>, SealError> {
    let fault = |what: &str, error: &dyn fmt::Display| {
        SealError::Keys(format!("{} cannot be {what}: {error}", file.display()))
    };
    match read(file) {
        Err(error) if create && error.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome.map_err(|error| fault("read", &error)),
    }
    let set = KeySet::generate(entropy);
    let text = serde_json::to_string(&set).map_err(|error| fault("created", &error))?;
    write(file, &Zeroizing::new(text)).map_err(|error| fault("created", &error))?;
    read(file).map_err(|error| fault("read", &error))
}

/// A group may read: container platforms hand secrets to a process by way of its group.
fn read(file: &Path) -> io::Result<Zeroizing<String>> {
    let mut handle = File::open(file)?;
    if handle.metadata()?.permissions().mode() & 0o037 != 0 {
        return Err(io::Error::other(
            "others may read it; its mode must be 0600 or 0640",
        ));
    }
    let mut text = Zeroizing::new(String::new());
    handle.read_to_string(&mut text)?;
    Ok(text)
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    /// Tells drafts of one process apart.
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let count = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{count}.new", std::process::id()));
    let draft = folder.join(name);
    // What a process with the same number left behind when it was killed.
    let _ = std::fs::remove_file(&draft);
    let mut handle = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    // Keys that a crash could lose would take all sealed data with them.
    let written = handle
        .write_all(text.as_bytes())
        .and_then(|()| handle.sync_all());
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    });
    let removed = std::fs::remove_file(&draft);
    linked.and(removed)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use publica_types::{Secret, SystemEntropy};

    use super::*;

    crate::sealed! {
        P = "p" [],
        Q = "q" [],
    }

    fn entropy() -> SharedEntropy {
        Arc::new(SystemEntropy)
    }

    fn with_keys(text: &str) -> Result<Keyring, SealError> {
        let keys = Some(Secret::new(text.to_owned()));
        Keyring::open(
            &SealConfig {
                keys,
                ..SealConfig::default()
            },
            entropy(),
        )
    }

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys/seal.json");
        let config = SealConfig {
            file: Some(file.clone()),
            create: true,
            ..SealConfig::default()
        };
        let sealed = Keyring::open(&config, entropy())
            .unwrap()
            .seal_block(&P, b"secret");
        let again = Keyring::open(&config, entropy()).unwrap();
        assert_eq!(again.open_block(&P, &sealed).unwrap(), b"secret");
        assert!(again.open_block(&Q, &sealed).is_err());
        assert!(again.scoped("payments").open_block(&P, &sealed).is_err());
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(file.parent().unwrap()).unwrap().count(),
            1
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Keyring::open(&config, entropy()).is_err());
    }

    #[test]
    fn those_who_start_together_share_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("seal.json"));
        let config = SealConfig {
            file,
            create: true,
            ..SealConfig::default()
        };
        let hashes: Vec<_> = std::thread::scope(|scope| {
            let open = || Keyring::open(&config, entropy()).unwrap().lookup("f", "v");
            let started: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            started.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    }

    #[test]
    fn unsound_key_sets_are_refused() {
        let key = STANDARD.encode([7; 32]);
        let set = |active: &str, keys: &str| {
            format!(r#"{{"active":"{active}","lookup":"{key}","keys":[{keys}]}}"#)
        };
        let one = format!(r#"{{"id":"k1","key":"{key}"}}"#);
        assert!(with_keys(&set("k1", &one)).is_ok());
        for bad in [
            set("k2", &one),
            set("k1", &format!("{one},{one}")),
            set("k1", r#"{"id":"k1","key":"AAAA"}"#),
            "{".to_owned(),
        ] {
            assert!(with_keys(&bad).is_err(), "{bad}");
        }
        assert!(Keyring::open(&SealConfig::default(), entropy()).is_err());
    }

    #[test]
    fn keys_are_rotated_by_name() {
        let (a, b) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let set = |active: &str| {
            format!(
                r#"{{"active":"{active}","lookup":"{a}","keys":[
                    {{"id":"old","key":"{a}"}},{{"id":"new","key":"{b}"}}]}}"#
            )
        };
        let before = with_keys(&set("old")).unwrap();
        let after = with_keys(&set("new")).unwrap();
        let sealed = before.seal_block(&P, b"x");
        assert_eq!(after.open_block(&P, &sealed).unwrap(), b"x");
        assert_ne!(after.seal_block(&P, b"x")[..4], sealed[..4]);
        assert_eq!(before.lookup("f", "v"), after.lookup("f", "v"));
        assert_ne!(before.lookup("f", "v"), before.scoped("b").lookup("f", "v"));
        assert_ne!(before.lookup("f", "v"), before.lookup("g", "v"));
    }

    #[test]
    fn what_lasts_opens_whatever_keys_there_are() {
        let (a, b) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let set = |lookup: &str, id: &str, key: &str| {
            let keys = format!(r#"[{{"id":"{id}","key":"{key}"}}]"#);
            with_keys(&format!(
                r#"{{"active":"{id}","lookup":"{lookup}","keys":{keys}}}"#
            ))
        };
        let before = set(&a, "old", &a).unwrap().scoped("m");
        let (lasting, passing) = (before.seal_lasting(&P, b"x"), before.seal_block(&P, b"x"));
        let after = set(&a, "new", &b).unwrap();
        assert_eq!(after.scoped("m").open_block(&P, &lasting).unwrap(), b"x");
        assert!(after.scoped("m").open_block(&P, &passing).is_err());
        assert!(after.scoped("m").open_block(&Q, &lasting).is_err());
        assert!(after.scoped("n").open_block(&P, &lasting).is_err());
        let other = set(&b, "old", &a).unwrap().scoped("m");
        assert!(other.open_block(&P, &lasting).is_err());
        for at in 0..lasting.len() {
            let mut changed = lasting.clone();
            changed[at] ^= 1;
            assert!(before.open_block(&P, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn changed_bytes_do_not_open() {
        let keyring = Keyring::ephemeral(entropy());
        let sealed = keyring.seal_block(&P, b"secret");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(keyring.open_block(&P, &changed).is_err(), "byte {at}");
        }
        assert!(keyring.open_block(&P, &[]).is_err());
    }
}
