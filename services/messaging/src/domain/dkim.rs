//! Signs messages (RFC 6376, RFC 8301, RFC 8463), relaxed both ways.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What is signed. Each name is listed once more often than it occurs, so that nobody can add
/// another of its kind on the way.
const HEADERS: [&str; 12] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "list-unsubscribe",
    "list-unsubscribe-post",
];

/// The private half of a signing key.
pub(crate) enum Key {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm())
    }
}

/// A text that is no usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no Ed25519 or RSA key of at least 2048 bits in PKCS#8")]
pub(crate) struct KeyError;

impl Key {
    /// Reads a key in PKCS#8.
    pub(crate) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::Ed25519(pair));
        }
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError)?;
        if pair.public_modulus_len() < 256 {
            return Err(KeyError);
        }
        Ok(Self::Rsa(pair))
    }

    /// An Ed25519 key from 32 random bytes.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self::Ed25519)
            .map_err(|_| KeyError)
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519-sha256",
            Self::Rsa(_) => "rsa-sha256",
        }
    }

    /// The value of the DNS record that publishes the key.
    pub(crate) fn record(&self) -> String {
        match self {
            Self::Ed25519(pair) => {
                format!(
                    "v=DKIM1; k=ed25519; p={}",
                    STANDARD.encode(pair.public_key().as_ref())
                )
            }
            Self::Rsa(pair) => {
                use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
                let der: Result<PublicKeyX509Der<'_>, _> = pair.public_key().as_der();
                let text = der
                    .map(|der| STANDARD.encode(der.as_ref()))
                    .unwrap_or_default();
                format!("v=DKIM1; k=rsa; p={text}")
            }
        }
    }

    fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Ed25519(pair) => {
                let hash = digest::digest(&digest::SHA256, data);
                Some(pair.sign(hash.as_ref()).as_ref().to_vec())
            }
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the library that signs takes no randomness but its own"
                )]
                let random = aws_lc_rs::rand::SystemRandom::new();
                pair.sign(
                    &aws_lc_rs::signature::RSA_PKCS1_SHA256,
                    &random,
                    data,
                    &mut signature,
                )
                .ok()?;
                Some(signature)
            }
        }
    }
}

/// A key and the name under which its public half is published.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) key: Key,
}

impl Signer {
    /// The `DKIM-Signature` header for a message, line break included.
    pub(crate) fn header(&self, message: &[u8], unix_seconds: i64) -> Option<String> {
        let (head, body) = split(message);
        let hash = digest::digest(&digest::SHA256, &relaxed_body(body));
        let fields = fields(head);
        let names = signed_names(&fields);
        let unsigned = format!(
            "v=1; a={}; c=relaxed/relaxed;\r\n d={}; s={}; t={unix_seconds};\r\n h={};\r\n \
             bh={};\r\n b=",
            self.key.algorithm(),
            self.domain,
            self.selector,
            fold_names(&names),
            STANDARD.encode(hash.as_ref()),
        );
        let data = signed_data(&fields, &names, &unsigned);
        let signature = STANDARD.encode(self.key.sign(&data)?);
        let mut header = format!("DKIM-Signature: {unsigned}");
        for (index, piece) in signature.as_bytes().chunks(72).enumerate() {
            if index > 0 {
                header.push_str("\r\n ");
            }
            header.push_str(std::str::from_utf8(piece).unwrap_or_default());
        }
        header.push_str("\r\n");
        Some(header)
    }
}

fn split(message: &[u8]) -> (&[u8], &[u8]) {
    match message.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, &[]),
    }
}

/// Header fields in order: lower-case name and canonical line, without its line break.
fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::with_capacity(16);
    let mut raw: Vec<Vec<u8>> = Vec::with_capacity(16);
    for line in head.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match raw.last_mut() {
            Some(last) if matches!(line.first(), Some(b' ' | b'\t')) => {
                last.extend_from_slice(line);
            }
            _ if line.is_empty() => {}
            _ => raw.push(line.to_vec()),
        }
    }
    for line in raw {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = String::from_utf8_lossy(&line[..colon])
            .trim()
            .to_ascii_lowercase();
        let canonical = relaxed_header(&name, &line[colon + 1..]);
        fields.push((name, canonical));
    }
    fields
}

fn relaxed_header(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + value.len() + 1);
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let start = out.len();
    let mut space = false;
    for byte in value {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => space = true,
            byte => {
                if space && out.len() > start {
                    out.push(b' ');
                }
                space = false;
                out.push(*byte);
            }
        }
    }
    out
}

fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut space = false;
        for byte in line {
            if matches!(byte, b' ' | b'\t') {
                space = true;
                continue;
            }
            if space {
                out.push(b' ');
            }
            space = false;
            out.push(*byte);
        }
        out.extend_from_slice(b"\r\n");
    }
    while out.ends_with(b"\r\n\r\n") {
        out.truncate(out.len() - 2);
    }
    if out == b"\r\n" {
        out.clear();
    }
    out
}

/// Names to sign: as often as they occur, and once more.
fn signed_names(fields: &[(String, Vec<u8>)]) -> Vec<&'static str> {
    let mut names = Vec::with_capacity(HEADERS.len() * 2);
    for name in HEADERS {
        let count = fields.iter().filter(|(field, _)| field == name).count();
        names.extend(std::iter::repeat_n(name, count + 1));
    }
    names
}

fn fold_names(names: &[&str]) -> String {
    let mut out = String::with_capacity(256);
    let mut width = 4;
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(':');
            width += 1;
            if width + name.len() > 74 {
                out.push_str("\r\n ");
                width = 1;
            }
        }
        out.push_str(name);
        width += name.len();
    }
    out
}

/// The bytes that the signature covers: named fields from the last of their kind upwards,
/// then the signature's own header without its value.
fn signed_data(fields: &[(String, Vec<u8>)], names: &[&str], unsigned: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(1_024);
    let mut taken = vec![false; fields.len()];
    for name in names {
        let next = (0..fields.len())
            .rev()
            .find(|at| !taken[*at] && fields[*at].0 == *name);
        if let Some(at) = next {
            taken[at] = true;
            data.extend_from_slice(&fields[at].1);
            data.extend_from_slice(b"\r\n");
        }
    }
    data.extend_from_slice(&relaxed_header("dkim-signature", unsigned.as_bytes()));
    data
}

/// Checks the first signature of a message with a given key: for tests and the local sink,
/// which has no DNS to ask.
pub(crate) fn verify(message: &[u8], ed25519_public: &[u8]) -> bool {
    let (head, body) = split(message);
    let mut fields = fields(head);
    let Some(at) = fields.iter().position(|(name, _)| name == "dkim-signature") else {
        return false;
    };
    let (_, line) = fields.remove(at);
    let line = String::from_utf8_lossy(&line).into_owned();
    let Some((_, value)) = line.split_once(':') else {
        return false;
    };
    let tag = |wanted: &str| {
        value.split(';').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let value: String = value.split_whitespace().collect();
            (name.trim() == wanted).then_some(value)
        })
    };
    let (Some(names), Some(body_hash), Some(signature)) = (tag("h"), tag("bh"), tag("b")) else {
        return false;
    };
    let hash = digest::digest(&digest::SHA256, &relaxed_body(body));
    if STANDARD.encode(hash.as_ref()) != body_hash {
        return false;
    }
    let last = line.rfind(';').unwrap_or_default();
    let Some(empty) = line[last..].find("b=").map(|at| last + at) else {
        return false;
    };
    let names: Vec<String> = names.split(':').map(str::to_ascii_lowercase).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let unsigned = &line["dkim-signature:".len()..empty + 2];
    let data = signed_data(&fields, &names, unsigned);
    let hash = digest::digest(&digest::SHA256, &data);
    let key = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ED25519,
        ed25519_public,
    );
    STANDARD
        .decode(signature)
        .is_ok_and(|signature| key.verify(hash.as_ref(), &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message of RFC 8463, appendix A.3, with its Ed25519 signature.
    const SIGNED: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n \
        d=football.example.com; i=@football.example.com;\r\n \
        q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n \
        subject : date : message-id : from : subject : date;\r\n \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
        b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n \
        Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n\
        From: Joe SixPack <joe@football.example.com>\r\n\
        To: Suzie Q <suzie@shopping.example.net>\r\n\
        Subject: Is dinner ready?\r\n\
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\
        \r\n\
        Hi.\r\n\r\n\
        We lost the game.  Are you hungry yet?\r\n\r\n\
        Joe.\r\n";
    const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

    fn key() -> Key {
        let seed: [u8; 32] = STANDARD.decode(SEED).unwrap().try_into().unwrap();
        Key::from_seed(&seed).unwrap()
    }

    #[test]
    fn the_message_of_rfc_8463_verifies() {
        assert!(verify(SIGNED.as_bytes(), &STANDARD.decode(PUBLIC).unwrap()));
        let changed = SIGNED.replace("lost the game", "won the game");
        assert!(!verify(
            changed.as_bytes(),
            &STANDARD.decode(PUBLIC).unwrap()
        ));
        let changed = SIGNED.replace("dinner", "lunch");
        assert!(!verify(
            changed.as_bytes(),
            &STANDARD.decode(PUBLIC).unwrap()
        ));
    }

    #[test]
    fn our_own_signatures_verify_and_resist_added_headers() {
        let signer = Signer {
            domain: "football.example.com".to_owned(),
            selector: "brisbane".to_owned(),
            key: key(),
        };
        assert_eq!(
            signer.key.record(),
            format!("v=DKIM1; k=ed25519; p={PUBLIC}")
        );
        let message = SIGNED
            .split_once("From:")
            .map(|(_, rest)| format!("From:{rest}"))
            .unwrap();
        let header = signer.header(message.as_bytes(), 1_528_637_909).unwrap();
        assert!(header.lines().all(|line| line.len() <= 78), "{header}");
        let public = STANDARD.decode(PUBLIC).unwrap();
        assert!(verify(format!("{header}{message}").as_bytes(), &public));
        let added = format!("{header}Subject: Another\r\n{message}");
        assert!(!verify(added.as_bytes(), &public));
    }

    #[test]
    fn relaxed_forms_follow_the_examples_of_rfc_6376() {
        assert_eq!(relaxed_header("a", b" X"), b"a:X");
        assert_eq!(relaxed_header("b", b" Y\t\r\n\tZ  "), b"b:Y Z");
        assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
        assert_eq!(relaxed_body(b""), b"");
        assert_eq!(relaxed_body(b"\r\n\r\n"), b"");
    }
}
