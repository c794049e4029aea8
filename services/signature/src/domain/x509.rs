//! X.509 certificates: what this block issues (RFC 5280 with EN 319 412), and reading any.

use publica_types::Timestamp;

use crate::domain::der::{self, DerError, Reader};
use crate::domain::key::{Hash, KeyError, PrivateKey, PublicKey};
use crate::domain::oid;

/// Arc of this product's policies, `2.25.<uuid>`; such arcs need no registration.
const POLICY_ARC: &[u8] = &[
    0x69, 0x81, 0xde, 0x8c, 0x8e, 0xd4, 0xd1, 0xb1, 0xf2, 0xb1, 0xaf, 0x9d, 0x85, 0x8f, 0xaf, 0xf5,
    0x96, 0x86, 0xd3, 0x64,
];

/// The most extensions of a certificate.
const MAX_EXTENSIONS: usize = 64;

/// Certificates of this block.
pub(crate) fn certificate_policy() -> Vec<u8> {
    [POLICY_ARC, &[1]].concat()
}

/// Time-stamps of this block.
pub(crate) fn timestamp_policy() -> Vec<u8> {
    [POLICY_ARC, &[2]].concat()
}

/// Twelve or fourteen digits and `Z`, as RFC 5280 wants them.
pub(crate) fn time(time: Timestamp) -> Vec<u8> {
    let digits = time_digits(time);
    if digits.starts_with("19") || digits.as_str() < "2050" {
        return der::element(der::UTC_TIME, format!("{}Z", &digits[2..]).as_bytes());
    }
    der::element(der::GENERALIZED_TIME, format!("{digits}Z").as_bytes())
}

/// `YYYYMMDDhhmmss`.
pub(crate) fn time_digits(time: Timestamp) -> String {
    time.to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect()
}

/// A UTCTime or GeneralizedTime in UTC; fractions are kept to the microsecond.
pub(crate) fn read_time(element: der::Element<'_>) -> Result<Timestamp, DerError> {
    let text = std::str::from_utf8(element.content).map_err(|_| DerError)?;
    let text = text.strip_suffix('Z').ok_or(DerError)?;
    let full = match element.tag {
        der::UTC_TIME if text.len() == 12 && text < "5" => format!("20{text}"),
        der::UTC_TIME if text.len() == 12 => format!("19{text}"),
        der::GENERALIZED_TIME => text.to_owned(),
        _ => return Err(DerError),
    };
    let (whole, fraction) = full.split_once('.').unwrap_or((&full, ""));
    if whole.len() != 14
        || !full
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(DerError);
    }
    let point = if fraction.is_empty() { "" } else { "." };
    let fraction: String = fraction.chars().take(6).collect();
    let parts = [
        &whole[..4],
        &whole[4..6],
        &whole[6..8],
        &whole[8..10],
        &whole[10..12],
    ];
    let [year, month, day, hour, minute] = parts;
    let second = &whole[12..];
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}{point}{fraction}Z")
        .parse()
        .map_err(|_| DerError)
}

/// A distinguished name from its attributes, one in each RDN.
pub(crate) fn name(attributes: &[(&[u8], &str)]) -> Vec<u8> {
    let parts = attributes.iter().map(|(kind, value)| {
        // Country is a PrintableString, everything else UTF-8.
        let tag = if *kind == oid::COUNTRY { 0x13 } else { 0x0c };
        let pair = der::sequence(&[&der::oid(kind), &der::element(tag, value.as_bytes())]);
        der::constructed(der::SET, &[&pair])
    });
    der::element(der::SEQUENCE, &parts.collect::<Vec<_>>().concat())
}

/// A name for people: `CN=…, O=…`.
pub(crate) fn name_text(name: &[u8]) -> String {
    let mut parts = Vec::new();
    let Ok(mut names) = Reader::within(name, der::SEQUENCE) else {
        return String::new();
    };
    while let Ok(mut set) = names.enter(der::SET) {
        while let Ok(mut pair) = set.enter(der::SEQUENCE) {
            let (Ok(kind), Ok(value)) = (pair.expect(der::OID), pair.read()) else {
                continue;
            };
            let label = match kind.content {
                oid::COMMON_NAME => "CN",
                oid::COUNTRY => "C",
                oid::ORGANIZATION => "O",
                oid::PSEUDONYM => "pseudonym",
                oid::ORGANIZATION_IDENTIFIER => "organizationIdentifier",
                _ => continue,
            };
            let value = String::from_utf8_lossy(value.content);
            let escaped = value.replace('\\', "\\\\").replace(',', "\\,");
            parts.push(format!("{label}={escaped}"));
        }
    }
    parts.join(", ")
}

/// What a certificate is issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Root,
    Issuing,
    Timestamping,
    /// Seals and devices: revocable.
    Signing,
    /// One signature within a minute: never revoked.
    OneTime,
}

/// A certificate to be issued.
#[derive(Debug)]
pub(crate) struct Template<'a> {
    pub(crate) profile: Profile,
    pub(crate) serial: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) spki: &'a [u8],
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// Where verifiers find the revocation list and the issuer; empty for nowhere.
    pub(crate) public_url: &'a str,
}

/// Who issues: its name and its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Issuer<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) key: &'a PrivateKey,
}

/// RFC 7093, method 1: the first 160 bits of the SHA-256 of the key's bits.
pub(crate) fn key_id(spki: &[u8]) -> Result<Vec<u8>, DerError> {
    let key = PublicKey::read(spki)?;
    Ok(Hash::Sha256.of(&[&key.bits]).as_ref()[..20].to_vec())
}

/// An extension.
pub(crate) fn extension(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical {
        der::element(der::BOOLEAN, &[0xff])
    } else {
        Vec::new()
    };
    der::sequence(&[&der::oid(id), &flag, &der::octets(value)])
}

fn uri(text: &str) -> Vec<u8> {
    der::element(der::context_primitive(6), text.as_bytes())
}

/// The AuthorityKeyIdentifier of certificates and lists signed with this key.
pub(crate) fn authority_key_id(key: &PrivateKey) -> Result<Vec<u8>, DerError> {
    let id = der::element(der::context_primitive(0), &key_id(&key.public())?);
    Ok(extension(
        oid::AUTHORITY_KEY_ID,
        false,
        &der::sequence(&[&id]),
    ))
}

fn extensions(template: &Template<'_>, issuer: Issuer<'_>) -> Result<Vec<u8>, DerError> {
    let profile = template.profile;
    let mut parts = vec![extension(
        oid::SUBJECT_KEY_ID,
        false,
        &der::octets(&key_id(template.spki)?),
    )];
    if profile != Profile::Root {
        parts.push(authority_key_id(issuer.key)?);
    }
    let usage = match profile {
        Profile::Root | Profile::Issuing => 0x06,
        Profile::Timestamping => 0xc0,
        Profile::Signing | Profile::OneTime => 0x40,
    };
    parts.push(extension(oid::KEY_USAGE, true, &der::named_bits(usage)));
    let yes = der::element(der::BOOLEAN, &[0xff]);
    match profile {
        Profile::Root => {
            parts.push(extension(
                oid::BASIC_CONSTRAINTS,
                true,
                &der::sequence(&[&yes]),
            ));
        }
        Profile::Issuing => {
            let constraints = der::sequence(&[&yes, &der::small(0)]);
            parts.push(extension(oid::BASIC_CONSTRAINTS, true, &constraints));
        }
        _ => {}
    }
    if profile == Profile::Timestamping {
        let usage = der::sequence(&[&der::oid(oid::TIME_STAMPING)]);
        parts.push(extension(oid::EXTENDED_KEY_USAGE, true, &usage));
    }
    let policy = match profile {
        Profile::Root => None,
        Profile::Issuing => Some(oid::ANY_POLICY.to_vec()),
        Profile::Timestamping => Some(timestamp_policy()),
        Profile::Signing | Profile::OneTime => Some(certificate_policy()),
    };
    if let Some(policy) = policy {
        let policies = der::sequence(&[&der::sequence(&[&der::oid(&policy)])]);
        parts.push(extension(oid::CERTIFICATE_POLICIES, false, &policies));
    }
    if profile == Profile::OneTime {
        parts.push(extension(oid::SHORT_TERM, false, &der::null()));
        parts.push(extension(oid::NO_REV_AVAIL, false, &der::null()));
    }
    if !template.public_url.is_empty() && profile != Profile::Root {
        locations(&mut parts, template);
    }
    Ok(der::element(der::SEQUENCE, &parts.concat()))
}

fn locations(parts: &mut Vec<Vec<u8>>, template: &Template<'_>) {
    let base = template.public_url.trim_end_matches('/');
    let direct = matches!(template.profile, Profile::Signing | Profile::OneTime);
    let issuer = if direct { "issuing" } else { "root" };
    let location = uri(&format!("{base}/v1/ca-certificates/{issuer}.cer"));
    let access = der::sequence(&[&der::oid(oid::CA_ISSUERS), &location]);
    parts.push(extension(
        oid::AUTHORITY_INFO_ACCESS,
        false,
        &der::sequence(&[&access]),
    ));
    if template.profile == Profile::Signing {
        let full = der::element(der::context(0), &uri(&format!("{base}/v1/crl")));
        let point = der::sequence(&[&der::element(der::context(0), &full)]);
        parts.push(extension(
            oid::CRL_DISTRIBUTION_POINTS,
            false,
            &der::sequence(&[&point]),
        ));
    }
}

/// Signs what `tbs` holds and puts the three parts of a certificate or list together.
pub(crate) fn signed(tbs: &[u8], key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
    let signature = key.sign(tbs)?;
    Ok(der::sequence(&[
        tbs,
        &key.curve.signature_identifier(),
        &der::bit_string(&signature),
    ]))
}

/// Issues a certificate.
pub(crate) fn issue(template: &Template<'_>, issuer: Issuer<'_>) -> Result<Vec<u8>, KeyError> {
    let extensions = extensions(template, issuer).map_err(|DerError| KeyError)?;
    let validity = der::sequence(&[&time(template.not_before), &time(template.not_after)]);
    let tbs = der::sequence(&[
        &der::element(der::context(0), &der::small(2)),
        &der::unsigned(template.serial),
        &issuer.key.curve.signature_identifier(),
        issuer.name,
        &validity,
        template.subject,
        template.spki,
        &der::element(der::context(3), &extensions),
    ]);
    signed(&tbs, issuer.key)
}

/// An extension as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) id: Vec<u8>,
    pub(crate) critical: bool,
    pub(crate) value: Vec<u8>,
}

/// A certificate that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    pub(crate) tbs: Vec<u8>,
    /// Content octets of the serial number.
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) key: PublicKey,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature_algorithm: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Certificate {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, DerError> {
        let mut outer = Reader::within(bytes, der::SEQUENCE)?;
        let tbs = outer.expect(der::SEQUENCE)?;
        let (signature_algorithm, _) = outer.algorithm()?;
        let signature = outer.bits()?;
        outer.end()?;
        let mut inner = tbs.inside();
        // Extensions, and with them everything this block looks for, need version 3.
        if inner.enter(der::context(0))?.number()? != 2 {
            return Err(DerError);
        }
        let serial = inner.expect(der::INTEGER)?.content.to_vec();
        if inner.algorithm()?.0 != signature_algorithm {
            return Err(DerError);
        }
        let issuer = inner.expect(der::SEQUENCE)?.raw.to_vec();
        let mut validity = inner.enter(der::SEQUENCE)?;
        let (not_before, not_after) = (read_time(validity.read()?)?, read_time(validity.read()?)?);
        let subject = inner.expect(der::SEQUENCE)?.raw.to_vec();
        let key = PublicKey::read(inner.expect(der::SEQUENCE)?.raw)?;
        inner.optional(der::context_primitive(1))?;
        inner.optional(der::context_primitive(2))?;
        let extensions = match inner.optional(der::context(3))? {
            Some(element) => read_extensions(element.content)?,
            None => Vec::new(),
        };
        inner.end()?;
        Ok(Self {
            der: bytes.to_vec(),
            tbs: tbs.raw.to_vec(),
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            extensions,
            signature_algorithm: signature_algorithm.to_vec(),
            signature: signature.to_vec(),
        })
    }

    pub(crate) fn extension(&self, id: &[u8]) -> Option<&Extension> {
        self.extensions.iter().find(|extension| extension.id == id)
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        self.key.spki()
    }

    /// Whether this certificate's key signed the other one.
    pub(crate) fn signed(&self, other: &Self) -> bool {
        self.key
            .verifies(&other.signature_algorithm, &other.tbs, &other.signature)
    }

    /// The path length that an authority may have below it; `None` if it is no authority.
    pub(crate) fn authority(&self) -> Option<u64> {
        let value = &self.extension(oid::BASIC_CONSTRAINTS)?.value;
        let mut inner = Reader::within(value, der::SEQUENCE).ok()?;
        let flag = inner.optional(der::BOOLEAN).ok()??;
        if flag.content != [0xff] || self.usage() & 0x04 == 0 {
            return None;
        }
        if inner.is_empty() {
            Some(u64::MAX)
        } else {
            inner.number().ok()
        }
    }

    /// The first octet of the key usage; nothing if absent.
    pub(crate) fn usage(&self) -> u8 {
        let value = self.extension(oid::KEY_USAGE).map(|found| &found.value[..]);
        let content = value.and_then(|value| Reader::new(value).expect(der::BIT_STRING).ok());
        content
            .and_then(|element| element.content.get(1).copied())
            .unwrap_or_default()
    }

    /// Whether it is for time-stamping and nothing else, as RFC 3161 demands.
    pub(crate) fn is_timestamping(&self) -> bool {
        let only = der::sequence(&[&der::oid(oid::TIME_STAMPING)]);
        let found = self.extension(oid::EXTENDED_KEY_USAGE);
        found.is_some_and(|extension| extension.critical && extension.value == only)
    }
}

fn read_extensions(bytes: &[u8]) -> Result<Vec<Extension>, DerError> {
    let mut list = Reader::within(bytes, der::SEQUENCE)?;
    let mut extensions: Vec<Extension> = Vec::new();
    while !list.is_empty() {
        let mut one = list.enter(der::SEQUENCE)?;
        let id = one.expect(der::OID)?.content.to_vec();
        let critical = one
            .optional(der::BOOLEAN)?
            .is_some_and(|flag| flag.content == [0xff]);
        let value = one.expect(der::OCTET_STRING)?.content.to_vec();
        one.end()?;
        let known = extensions.iter().any(|other| other.id == id);
        if known || extensions.len() == MAX_EXTENSIONS {
            return Err(DerError);
        }
        extensions.push(Extension {
            id,
            critical,
            value,
        });
    }
    Ok(extensions)
}

/// A serial number from random octets.
pub(crate) fn to_serial(random: [u8; 16]) -> Vec<u8> {
    // Positive and never short: the highest octet lies between 0x40 and 0x7f.
    let mut serial = random.to_vec();
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}

/// Whether a certificate was issued by this authority.
pub(crate) fn issued_by(certificate: &Certificate, authority: &Certificate) -> bool {
    certificate.issuer == authority.subject && authority.signed(certificate)
}
