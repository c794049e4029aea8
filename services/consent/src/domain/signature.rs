//! Signatures over records: the text that is signed, and when a signature fits it.

use std::collections::BTreeSet;

use publica_jose::{Alg, Jwk, JwkSet, base64url, base64url_decode, parse_json};
use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;
use serde_json::{Map, Value, json};

use super::record::{self, CLOCK_TOLERANCE};
use super::snapshot::{Members, canonical, schema_of, sha1_hex, sha256, sha256_hex};
use super::violations::{MAX_SNAPSHOT, MAX_TEXT};

#[cfg(test)]
mod tests;

/// Roles in which a record can be signed.
pub(crate) const ROLES: &[&str] = &["individual", DELEGATE];
/// The role of whoever signs for the person.
pub(crate) const DELEGATE: &str = "delegate";

/// What a signature signs.
const REVISION: &str = "revision";
/// Characters of a SHA-256 in hex.
const SHA256_HEX: usize = 64;
/// The longest detached signature, in characters of base64.
const MAX_DETACHED: usize = 64 * 1_024;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// A compact JWS by a key that is registered for the person.
    Jws,
    /// A token of the person's identity provider, whose nonce is the payload's hash.
    OidcToken,
    /// A detached signature that the signature block judges.
    Detached,
}

impl Method {
    /// The method of this name.
    pub(crate) fn of(name: &str) -> Result<Self, Misfit> {
        match name.to_ascii_lowercase().as_str() {
            "jws" | "p-256" | "es256" | "es384" | "eddsa" | "rs256" | "ps256" => Ok(Self::Jws),
            "oidc-token" => Ok(Self::OidcToken),
            "esignature" => Ok(Self::Detached),
            _ => {
                let known = "is not jws, P-256, oidc-token or esignature";
                Err(misfit("method", known))
            }
        }
    }

    /// How stored signatures name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Jws => "jws",
            Self::OidcToken => "oidc-token",
            Self::Detached => "esignature",
        }
    }
}

/// Why a signature does not fit, and at which step that was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {what}")]
pub(crate) struct Misfit {
    /// `method`, `hash`, `payload`, `snapshot`, `time`, `signature` or `key`.
    pub(crate) step: &'static str,
    /// What is wrong.
    pub(crate) what: &'static str,
}

const fn misfit(step: &'static str, what: &'static str) -> Misfit {
    Misfit { step, what }
}

/// The text that is signed: every member of the signature but the signature itself.
pub(crate) fn payload(signature: &pb::Signature) -> String {
    canonical(&Value::Object(payload_members(signature)))
}

fn payload_members(signature: &pb::Signature) -> Map<String, Value> {
    let time = signature.create_time.as_ref().and_then(record::read_time);
    let members = Members::new()
        .text("verificationPayload", &signature.verification_payload)
        .text(
            "verificationPayloadHash",
            &signature.verification_payload_hash,
        )
        .text("verificationMethod", &signature.verification_method)
        .text("verificationArtifact", &signature.verification_artifact)
        .text("verificationSignedBy", &signature.verification_signed_by)
        .text("verificationSignedAs", &signature.verification_signed_as)
        .text("verificationJwsHeader", &signature.verification_jws_header)
        .maybe("timestamp", time.map(|time| json!(time)))
        .maybe(
            "signedWithoutObjectReference",
            Some(signature.signed_without_object_reference),
        )
        .text("objectType", &signature.object_type)
        .text("objectReference", &signature.object_reference)
        .done();
    match members {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Fills in a signature that is to be completed by the signer.
pub(crate) fn draft(
    known: pb::Signature,
    snapshot: &str,
    revision_id: Option<&str>,
    time: prost_types::Timestamp,
) -> pb::Signature {
    let mut signature = pb::Signature {
        signature_id: String::new(),
        payload: String::new(),
        signature: String::new(),
        verification_method: or(known.verification_method, "jws"),
        verification_payload: snapshot.to_owned(),
        verification_payload_hash: sha256_hex(snapshot.as_bytes()),
        verification_artifact: known.verification_artifact,
        verification_signed_by: known.verification_signed_by,
        verification_signed_as: or(known.verification_signed_as, "individual"),
        verification_jws_header: known.verification_jws_header,
        create_time: Some(time),
        signed_without_object_reference: revision_id.is_none(),
        object_type: REVISION.to_owned(),
        object_reference: revision_id.unwrap_or_default().to_owned(),
    };
    signature.payload = payload(&signature);
    signature
}

fn or(text: String, default: &str) -> String {
    if text.is_empty() {
        default.to_owned()
    } else {
        text
    }
}

/// The same of a signature that is not stored yet: it must rest on more than SHA-1, and sign a
/// revision.
pub(crate) fn check_new(signature: &pb::Signature, now: Timestamp) -> Result<Method, Misfit> {
    let method = check_form(signature, now)?;
    let kind = signature.object_type.as_str();
    if !kind.is_empty() && !kind.eq_ignore_ascii_case(REVISION) {
        return Err(misfit("method", "signs something else than a revision"));
    }
    if signature.signed_without_object_reference && !signature.object_reference.is_empty() {
        return Err(misfit(
            "payload",
            "signedWithoutObjectReference contradicts objectReference",
        ));
    }
    check_strength(signature)?;
    Ok(method)
}

/// Checks that a signature was made before what it signs had an id, as that of a pair must be.
pub(crate) fn check_unreferenced(signature: &pb::Signature) -> Result<(), Misfit> {
    if signature.signed_without_object_reference && signature.object_reference.is_empty() {
        return Ok(());
    }
    Err(misfit(
        "payload",
        "names an objectReference, and nothing of the pair has an id yet",
    ))
}

/// Refuses a payload that says what is signed by SHA-1 alone: anybody may find two texts with one
/// such hash.
fn check_strength(signature: &pb::Signature) -> Result<(), Misfit> {
    let said: Value = parse_json(signature.payload.as_bytes()).unwrap_or_default();
    let has = |name: &str| said.get(name).is_some();
    let whole = has("verificationPayload") || has("verificiationPayload");
    if whole || signature.verification_payload_hash.len() == SHA256_HEX {
        return Ok(());
    }
    Err(misfit(
        "hash",
        "a payload without verificationPayload needs the SHA-256",
    ))
}

/// Steps that need neither key nor record: sizes, method, hash, and that the payload says what
/// the members say.
pub(crate) fn check_form(signature: &pb::Signature, now: Timestamp) -> Result<Method, Misfit> {
    let long = [
        &signature.payload,
        &signature.verification_payload,
        &signature.signature,
    ];
    if long.iter().any(|text| text.len() > MAX_SNAPSHOT) {
        return Err(misfit("payload", "is longer than 256 KiB"));
    }
    let short = [
        &signature.verification_artifact,
        &signature.verification_signed_by,
        &signature.verification_jws_header,
        &signature.object_reference,
    ];
    if short.iter().any(|text| text.len() > MAX_TEXT) {
        return Err(misfit("payload", "has a member that is too long"));
    }
    let method = Method::of(&signature.verification_method)?;
    check_role(signature)?;
    check_hash(signature)?;
    check_payload(signature)?;
    check_time(signature, now)?;
    Ok(method)
}

fn check_role(signature: &pb::Signature) -> Result<(), Misfit> {
    let role = signature.verification_signed_as.as_str();
    match role {
        "" | "individual" | DELEGATE => Ok(()),
        _ => Err(misfit(
            "payload",
            "verificationSignedAs is not individual or delegate",
        )),
    }
}

fn check_hash(signature: &pb::Signature) -> Result<(), Misfit> {
    let signed = signature.verification_payload.as_bytes();
    let hash = signature.verification_payload_hash.to_ascii_lowercase();
    let expected = match hash.len() {
        40 => sha1_hex(signed),
        64 => sha256_hex(signed),
        _ => {
            return Err(misfit(
                "hash",
                "verificationPayloadHash is neither SHA-1 nor SHA-256",
            ));
        }
    };
    if hash == expected {
        Ok(())
    } else {
        Err(misfit(
            "hash",
            "verificationPayloadHash is not that of verificationPayload",
        ))
    }
}

fn check_payload(signature: &pb::Signature) -> Result<(), Misfit> {
    let parsed = parse_json(signature.payload.as_bytes());
    let Ok(Value::Object(mut said)) = parsed else {
        return Err(misfit(
            "payload",
            "is not a JSON object without repeated members",
        ));
    };
    // Older clients leave the typing error of the specification in.
    if let Some(value) = said.remove("verificiationPayload") {
        said.entry("verificationPayload").or_insert(value);
    }
    if !said.contains_key("verificationPayload") && !said.contains_key("verificationPayloadHash") {
        return Err(misfit("payload", "does not say what is signed"));
    }
    let own = payload_members(signature);
    for (name, value) in &said {
        let same = match (name.as_str(), value, own.get(name)) {
            (_, Value::Null, None) => true,
            (_, Value::String(text), None) if text.is_empty() => true,
            ("timestamp", Value::String(text), Some(Value::String(mine))) => text
                .parse::<Timestamp>()
                .is_ok_and(|time| Ok(time) == mine.parse()),
            ("verificationPayloadHash", Value::String(text), Some(Value::String(mine))) => {
                text.eq_ignore_ascii_case(mine)
            }
            (_, value, Some(mine)) => value == mine,
            _ => false,
        };
        if !same && is_member(name) {
            return Err(misfit(
                "payload",
                "differs from the signature's own members",
            ));
        }
    }
    Ok(())
}

fn is_member(name: &str) -> bool {
    name.starts_with("verification")
        || [
            "timestamp",
            "signedWithoutObjectReference",
            "objectType",
            "objectReference",
        ]
        .contains(&name)
}

fn check_time(signature: &pb::Signature, now: Timestamp) -> Result<(), Misfit> {
    let Some(time) = &signature.create_time else {
        return Ok(());
    };
    let time = record::read_time(time).ok_or(misfit("time", "is not a time"))?;
    within_tolerance(time, now)
}

fn within_tolerance(time: Timestamp, now: Timestamp) -> Result<(), Misfit> {
    let off = time.since(now).max(now.since(time));
    if off > CLOCK_TOLERANCE {
        return Err(misfit(
            "time",
            "is more than five minutes from the server's clock",
        ));
    }
    Ok(())
}

/// Checks that a snapshot signed before the record had an id says just what the record says, on
/// the word of `by`: the person or a delegate.
pub(crate) fn check_snapshot(
    signed: &str,
    record: &pb::ConsentRecord,
    by: &str,
    now: Timestamp,
) -> Result<(), Misfit> {
    let Ok(Value::Object(snapshot)) = parse_json(signed.as_bytes()) else {
        return Err(misfit(
            "snapshot",
            "is not a JSON object without repeated members",
        ));
    };
    let text = |name: &str| snapshot.get(name).and_then(Value::as_str);
    if text("schemaName").and_then(schema_of) != Some(pb::Schema::ConsentRecord) {
        return Err(misfit("snapshot", "schemaName is not ConsentRecord"));
    }
    if text("objectId").is_some_and(|id| !id.is_empty()) {
        return Err(misfit(
            "snapshot",
            "objectId is set before the record exists",
        ));
    }
    if snapshot.get("signedWithoutObjectId") != Some(&Value::Bool(true)) {
        return Err(misfit("snapshot", "signedWithoutObjectId is not true"));
    }
    let time = text("timestamp").and_then(|time| time.parse::<Timestamp>().ok());
    within_tolerance(
        time.ok_or(misfit("snapshot", "timestamp is not a time"))?,
        now,
    )?;
    let said = snapshot
        .get("authorizedByIndividual")
        .and_then(|by| by.as_str().or_else(|| by.get("id").and_then(Value::as_str)));
    if said != Some(by) {
        return Err(misfit(
            "snapshot",
            "authorizedByIndividual is not who signs",
        ));
    }
    let Some(Value::Object(mut said)) = snapshot.get("objectData").cloned() else {
        return Err(misfit("snapshot", "objectData is missing"));
    };
    said.retain(|name, value| {
        !value.is_null() && !["id", "state", "signature", "signatureId"].contains(&name.as_str())
    });
    let blank = pb::ConsentRecord {
        consent_record_id: String::new(),
        ..record.clone()
    };
    if Value::Object(said) != record::data(&blank) {
        return Err(misfit("snapshot", "objectData differs from the record"));
    }
    Ok(())
}

/// Checks a JWS against the person's keys and returns the thumbprint of the one that made it.
pub(crate) fn check_jws(signature: &pb::Signature, keys: &[Jwk]) -> Result<String, Misfit> {
    let named = named_key(signature)?;
    let set = JwkSet::new(keys.to_vec());
    let token = compact(signature)?;
    let bad = misfit(
        "signature",
        "is not a signature of the payload by a registered key",
    );
    let attached = token
        .split('.')
        .nth(1)
        .is_some_and(|middle| !middle.is_empty());
    let hash = sha256_hex(signature.payload.as_bytes());
    let verified = if attached {
        let verified = publica_jose::verify_jws(&token, &set, Alg::ALL).map_err(|_| bad.clone())?;
        let signed = verified.payload.as_slice();
        if signed != signature.payload.as_bytes() && signed != hash.as_bytes() {
            return Err(misfit(
                "signature",
                "covers something else than the payload",
            ));
        }
        verified
    } else {
        let over =
            |payload: &[u8]| publica_jose::verify_detached(&token, payload, &set, Alg::ALL, &[]);
        over(signature.payload.as_bytes())
            .or_else(|_| over(hash.as_bytes()))
            .map_err(|_| bad)?
    };
    let used = verified.key.thumbprint().to_owned();
    if named.is_some_and(|named| named.thumbprint() != used) {
        return Err(misfit("key", "verificationSignedBy names another key"));
    }
    Ok(used)
}

/// The key that `verificationSignedBy` holds, if it holds one.
pub(crate) fn named_key(signature: &pb::Signature) -> Result<Option<Jwk>, Misfit> {
    let text = signature.verification_signed_by.trim();
    if !text.starts_with('{') {
        return Ok(None);
    }
    Jwk::from_json(text.as_bytes())
        .map(Some)
        .map_err(|_| misfit("key", "verificationSignedBy is not a public key"))
}

/// The signature as a compact JWS, put together with its header where that stands apart.
fn compact(signature: &pb::Signature) -> Result<String, Misfit> {
    let text = signature.signature.trim();
    if text.contains('.') {
        return Ok(text.to_owned());
    }
    let header = signature.verification_jws_header.trim();
    if header.is_empty() {
        return Err(misfit("signature", "is not a compact JWS"));
    }
    let header = if header.starts_with('{') {
        base64url(header)
    } else {
        header.to_owned()
    };
    // A signature in plain base64 is read as well; deployed clients send both.
    let text = text
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    base64url_decode(&text).map_err(|_| misfit("signature", "is not base64"))?;
    Ok(format!("{header}..{text}"))
}

/// A detached signature and the SHA-256 of what it must cover: the payload, byte for byte.
pub(crate) fn detached(signature: &pb::Signature) -> Result<(Vec<u8>, Vec<u8>), Misfit> {
    let bad = misfit("signature", "is not a detached signature in base64");
    let mut text = signature.signature.clone();
    // Tools break long base64 into lines.
    text.retain(|letter| !letter.is_ascii_whitespace());
    if text.is_empty() || text.len() > MAX_DETACHED {
        return Err(bad);
    }
    let text = text
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    let value = base64url_decode(&text).map_err(|_| bad)?;
    Ok((value, sha256(signature.payload.as_bytes()).to_vec()))
}

/// Checks that a token of the identity provider was made for this payload: its nonce is the
/// payload's SHA-256, in hex or base64url.
pub(crate) fn check_nonce(signature: &pb::Signature, nonce: Option<&str>) -> Result<(), Misfit> {
    let hash = sha256(signature.payload.as_bytes());
    match nonce {
        Some(nonce) if nonce == hex::encode(hash) || nonce == base64url(hash) => Ok(()),
        _ => Err(misfit(
            "signature",
            "the token's nonce is not the payload's SHA-256",
        )),
    }
}

/// How a stored signature names the role in which it was made: each delegate signs once.
pub(crate) fn signed_as(delegate_id: Option<&str>) -> String {
    match delegate_id {
        Some(id) => format!("{DELEGATE}:{id}"),
        None => "individual".to_owned(),
    }
}

/// The delegate who made a stored signature, if it was one.
pub(crate) fn delegate_of(signed_as: &str) -> Option<&str> {
    signed_as.strip_prefix(DELEGATE)?.strip_prefix(':')
}

/// How far a record's signatures have come, given who signed its latest revision.
pub(crate) fn state(required: &[String], signed: &BTreeSet<String>) -> pb::RecordState {
    let needed = |role: &str| required.iter().filter(|one| *one == role).count();
    let delegates = signed
        .iter()
        .filter(|one| one.starts_with(DELEGATE))
        .count();
    let persons = signed.len() - delegates;
    if signed.is_empty() {
        pb::RecordState::Unsigned
    } else if persons >= needed("individual") && delegates >= needed(DELEGATE) {
        pb::RecordState::Signed
    } else {
        pb::RecordState::PendingMoreSignatures
    }
}
