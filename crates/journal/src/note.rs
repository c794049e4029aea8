//! Signed notes and checkpoints in the C2SP formats (`signed-note`, `tlog-checkpoint`), with
//! Ed25519.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::{Hash, digest};

/// Signature type byte of Ed25519 in a verifier key.
const ED25519_TYPE: u8 = 1;
const SIGNATURE_PREFIX: &str = "\u{2014} ";
/// Far above any note we write; keeps a hostile file from being parsed at length.
const MAX_NOTE_BYTES: usize = 64 * 1024;

/// What may be wrong with a note, a checkpoint or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not in the format.
    #[error("the note is malformed: {0}")]
    Malformed(&'static str),
    /// No line is signed by the key.
    #[error("the note carries no signature by {0}")]
    Unsigned(String),
    /// A line claims the key, but its signature does not hold.
    #[error("the signature by {0} does not fit the note")]
    BadSignature(String),
    /// A key could not be read.
    #[error("the key is malformed: {0}")]
    Key(&'static str),
}

/// A named public key that verifies notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: [u8; 32],
}

fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let mut data = Vec::with_capacity(name.len() + 34);
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(&[b'\n', ED25519_TYPE]);
    data.extend_from_slice(key);
    let hash = digest(&data);
    [hash[0], hash[1], hash[2], hash[3]]
}

fn sound_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c.is_control())
}

impl VerifierKey {
    /// The key named `name`.
    pub fn new(name: impl Into<String>, key: [u8; 32]) -> Self {
        Self {
            name: name.into(),
            key,
        }
    }

    /// Name of the key, for a log its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The raw Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Reads the text form `name+id+base64`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("it is not of the form name+id+key"));
        };
        if !sound_name(name) {
            return Err(NoteError::Key("its name is not allowed"));
        }
        let key = STANDARD
            .decode(key)
            .map_err(|_| NoteError::Key("it is not base64"))?;
        let key = match key.as_slice() {
            [ED25519_TYPE, rest @ ..] => {
                <[u8; 32]>::try_from(rest).map_err(|_| NoteError::Key("it has the wrong length"))?
            }
            _ => return Err(NoteError::Key("it is not an Ed25519 key")),
        };
        if id != hex::encode(key_id(name, &key)) {
            return Err(NoteError::Key("its id does not fit"));
        }
        Ok(Self::new(name, key))
    }

    /// Verifies a note and returns its text, signatures cut off.
    pub fn open<'n>(&self, note: &'n str) -> Result<&'n str, NoteError> {
        let (text, signatures) = split(note)?;
        for line in signatures {
            let (name, signature) = line?;
            if name != self.name {
                continue;
            }
            let Some((id, signature)) = signature.split_at_checked(4) else {
                continue;
            };
            if id != key_id(&self.name, &self.key) {
                continue;
            }
            return UnparsedPublicKey::new(&ED25519, &self.key)
                .verify(text.as_bytes(), signature)
                .map(|()| text)
                .map_err(|_| NoteError::BadSignature(self.name.clone()));
        }
        Err(NoteError::Unsigned(self.name.clone()))
    }
}

impl std::fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![ED25519_TYPE];
        bytes.extend_from_slice(&self.key);
        let id = hex::encode(key_id(&self.name, &self.key));
        write!(f, "{}+{id}+{}", self.name, STANDARD.encode(bytes))
    }
}

/// A number as it is printed: without a sign and without zeros before it.
pub(crate) fn plain_number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

type SignatureLine<'n> = Result<(&'n str, Vec<u8>), NoteError>;

/// The text of a note and its signature lines.
fn split(note: &str) -> Result<(&str, impl Iterator<Item = SignatureLine<'_>>), NoteError> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(NoteError::Malformed("it is too long"));
    }
    let at = note
        .rfind("\n\n")
        .ok_or(NoteError::Malformed("it has no signature part"))?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    if !signatures.ends_with('\n') {
        return Err(NoteError::Malformed("its last line does not end"));
    }
    Ok((
        text,
        signatures.split_terminator('\n').map(|line| {
            let line = line
                .strip_prefix(SIGNATURE_PREFIX)
                .ok_or(NoteError::Malformed(
                    "a signature line does not begin with a dash",
                ))?;
            let (name, signature) = line
                .split_once(' ')
                .ok_or(NoteError::Malformed("a signature line has no signature"))?;
            let signature = STANDARD
                .decode(signature)
                .map_err(|_| NoteError::Malformed("a signature is not base64"))?;
            Ok((name, signature))
        }),
    ))
}

/// Signs notes under a name.
pub struct Signer {
    name: String,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// The signer named `name` whose private key comes from `seed`.
    pub fn from_seed(name: impl Into<String>, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let name = name.into();
        if !sound_name(&name) {
            return Err(NoteError::Key("its name is not allowed"));
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| NoteError::Key("the seed is refused"))?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref())
            .map_err(|_| NoteError::Key("it has the wrong length"))?;
        Ok(Self { name, pair, public })
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key that verifies what this signs.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey::new(self.name.clone(), self.public)
    }

    /// Signs `text`, whose last line must end.
    pub fn sign(&self, text: &str) -> String {
        debug_assert!(text.ends_with('\n'), "a note's text ends with a line end");
        let mut signature = key_id(&self.name, &self.public).to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!(
            "{text}\n{SIGNATURE_PREFIX}{} {}\n",
            self.name,
            STANDARD.encode(signature)
        )
    }
}

/// The content of a checkpoint: name of the log, size and root of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Name of the log.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

impl Head {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )
    }

    /// Reads the text of a checkpoint; further lines are extensions and are skipped.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        // Not `lines`, which would take the carriage return from the end of a name.
        let mut lines = text.split_terminator('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Malformed(
                "a checkpoint has at least three lines",
            ));
        };
        if origin.is_empty() || origin.contains(char::is_control) {
            return Err(NoteError::Malformed("the name of the log is not allowed"));
        }
        let size = plain_number(size).ok_or(NoteError::Malformed("the tree size is no number"))?;
        let root = STANDARD
            .decode(root)
            .ok()
            .and_then(|root| Hash::try_from(root).ok())
            .ok_or(NoteError::Malformed("the root hash is malformed"))?;
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }

    /// Reads a checkpoint without verifying it.
    pub fn peek(note: &str) -> Result<Self, NoteError> {
        Self::parse(split(note)?.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signer() -> Signer {
        Signer::from_seed("journal.example/payments/1", &[7; 32]).unwrap()
    }

    #[test]
    fn a_signed_checkpoint_opens_again() {
        let head = Head {
            origin: signer().name().into(),
            size: 42,
            root: [9; 32],
        };
        let note = signer().sign(&head.text());
        let text = signer().verifier().open(&note).unwrap();
        assert_eq!(Head::parse(text).unwrap(), head);
        assert_eq!(Head::peek(&note).unwrap(), head);
    }

    #[test]
    fn verifier_keys_survive_text() {
        let key = signer().verifier();
        let text = key.to_string();
        assert_eq!(VerifierKey::parse(&text).unwrap(), key);
        let swapped = text.replacen("payments", "messaging", 1);
        assert_eq!(
            VerifierKey::parse(&swapped),
            Err(NoteError::Key("its id does not fit"))
        );
        for bad in ["", "a+b", "a+00000000+AA==", "a b+00000000+AQ=="] {
            assert!(VerifierKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_known_from_the_specification_is_read() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(VerifierKey::parse(key).unwrap().to_string(), key);
    }

    #[test]
    fn a_changed_note_is_refused() {
        let note = signer().sign("log\n5\nAAAA\n");
        let key = signer().verifier();
        assert_eq!(
            key.open(&note.replacen('5', "6", 1)),
            Err(NoteError::BadSignature(key.name().into()))
        );
        let other = Signer::from_seed("other", &[7; 32]).unwrap().verifier();
        assert_eq!(other.open(&note), Err(NoteError::Unsigned("other".into())));
        assert!(matches!(
            key.open("no signature\n"),
            Err(NoteError::Malformed(_))
        ));
    }

    #[test]
    fn malformed_heads_are_refused() {
        let root = STANDARD.encode([0; 32]);
        for text in [
            "log\n".to_owned(),
            format!("log\n-1\n{root}\n"),
            format!("log\n01\n{root}\n"),
            format!("log\n+1\n{root}\n"),
            "log\n1\nAAAA\n".to_owned(),
            format!("\n1\n{root}\n"),
            format!("log\r\n1\n{root}\n"),
            format!("log\n1\r\n{root}\n"),
            format!("log\n1\n{root}\r\n"),
            format!("lo\u{0}g\n1\n{root}\n"),
        ] {
            assert!(Head::parse(&text).is_err(), "{text:?}");
        }
        assert!(Head::parse(&format!("log\n1\n{root}\nextension\n")).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_is_read_is_what_was_written(
            origin in "[a-z./é \r\t]{0,8}", size in "[0-9+-]{0,21}", root in any::<[u8; 32]>(),
            end in "(\r|\n|\n.*)?",
        ) {
            let text = format!("{origin}\n{size}\n{}{end}\n", STANDARD.encode(root));
            if let Ok(head) = Head::parse(&text) {
                prop_assert!(text.starts_with(&head.text()), "{:?}", text);
                prop_assert_eq!(Head::parse(&head.text()), Ok(head));
            }
        }

        #[test]
        fn a_damaged_note_is_refused(
            at in any::<prop::sample::Index>(), cut in 0_usize..3,
            put in "(\r|\n|[ -~]|\u{2014}){0,2}",
        ) {
            let head = Head { origin: signer().name().into(), size: 42, root: [9; 32] };
            let note = signer().sign(&head.text());
            let mut chars: Vec<char> = note.chars().collect();
            let at = at.index(chars.len() + 1);
            let end = chars.len().min(at + cut);
            chars.splice(at..end, put.chars());
            let changed: String = chars.into_iter().collect();
            let _ = Head::peek(&changed);
            if let Ok(text) = signer().verifier().open(&changed) {
                // Only what is not signed may have changed, such as a line added at the end.
                prop_assert_eq!(text, head.text());
            }
        }

        #[test]
        fn any_key_is_read_or_refused(text in "[ -~é\r\n]{0,60}") {
            if let Ok(key) = VerifierKey::parse(&text) {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
