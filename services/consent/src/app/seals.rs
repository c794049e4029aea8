//! Seals: the service's own signature over each revision, and what it covers.

use prost::Message as _;
use publica_jose::{Alg, Protected, sign_jws, verify_jws};
use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::Shop;
use super::revisions::{altered, plain, schema};
use crate::domain::snapshot::{canonical, schema_name, sha256_hex};
use crate::domain::{agreement, policy};
use crate::error::Error;
use crate::store::revision::Row;

/// The seals that are made now. Those without a version cover less.
const VERSION: u64 = 2;

/// Where a revision comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// This service made it when the object changed.
    Here,
    /// It was imported, and its snapshot written here.
    Imported,
    /// It was imported with the snapshot of an earlier system, in whatever form.
    Foreign,
}

impl Made {
    fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Imported => "imported",
            Self::Foreign => "foreign",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let all = [Self::Here, Self::Imported, Self::Foreign];
        all.into_iter().find(|one| one.name() == name)
    }
}

/// How far a seal that holds reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// Hash, place and time alone, as seals without a version do.
    Short,
    /// Everything that is stored beside the snapshot.
    Whole {
        /// Where the revision comes from.
        made: Made,
        /// SHA-256 of the content as it is read back; empty when none is stored.
        content: String,
    },
}

/// What every seal covers.
fn short_claims(row: &Row) -> Value {
    json!({
        "revisionId": row.revision_id,
        "schemaName": schema_name(schema(row.kind)),
        "objectId": row.object_id,
        "sequence": row.seq,
        "hash": row.sha256,
        "predecessorHash": row.predecessor_sha256,
        "timestamp": row.created,
    })
}

/// What a seal of this reach covers.
pub(super) fn claims(row: &Row, reach: &Reach) -> Value {
    let mut claims = short_claims(row);
    let Reach::Whole { made, content } = reach else {
        return claims;
    };
    claims["version"] = json!(VERSION);
    claims["hashSha1"] = json!(row.sha1);
    claims["predecessorId"] = json!(row.predecessor_id);
    claims["predecessorHashSha1"] = json!(row.predecessor_sha1);
    claims["predecessorSignature"] = json!(row.predecessor_signature);
    claims["subject"] = json!(row.subject.as_deref().unwrap_or_default());
    claims["authorizedByIndividual"] = json!(row.by_individual);
    claims["authorizedByOther"] = json!(row.by_other);
    claims["signedWithoutObjectId"] = json!(row.without_id);
    claims["made"] = json!(made.name());
    claims["contentHash"] = json!(content);
    claims
}

fn content_hash(row: &Row) -> String {
    row.body.as_deref().map(sha256_hex).unwrap_or_default()
}

/// Seals a revision.
pub(super) fn seal(shop: &Shop, row: &Row, made: Made) -> Result<String, Error> {
    let content = content_hash(row);
    let claims = canonical(&claims(row, &Reach::Whole { made, content }));
    let header = Protected::new().typ("consent-revision+jws");
    Ok(sign_jws(&shop.key, header, claims.as_bytes())?)
}

/// How far the seal of a revision reaches, if the service sealed just this.
pub(super) fn reach(shop: &Shop, row: &Row) -> Option<Reach> {
    let sealed = verify_jws(&row.seal, &shop.keys, &[Alg::EdDsa]).ok()?;
    let said: Value = serde_json::from_slice(&sealed.payload).ok()?;
    let reach = match said.get("version") {
        None => Reach::Short,
        Some(version) if *version == json!(VERSION) => Reach::Whole {
            made: Made::of(said["made"].as_str()?)?,
            content: said["contentHash"].as_str()?.to_owned(),
        },
        Some(_) => return None,
    };
    let same = sealed.payload == canonical(&claims(row, &reach)).as_bytes();
    same.then_some(reach)
}

/// Whether the content that is read back is what was locked. An earlier seal says nothing of
/// it; then the content must give the snapshot's own data again.
pub(super) fn holds_content(row: &Row, reach: &Reach, text: &str) -> bool {
    match (reach, &row.body) {
        (Reach::Whole { content, .. }, _) => content_hash(row) == *content,
        (Reach::Short, None) => true,
        (Reach::Short, Some(body)) => {
            if !is_own(reach, text) {
                return true;
            }
            let said = object_data(text);
            let deleted = said["deleted"] == json!(true);
            content_data(schema(row.kind), body).is_some_and(|data| data == said || deleted)
        }
    }
}

/// What a snapshot of stored content would hold.
pub(super) fn content_data(kind: pb::Schema, body: &[u8]) -> Option<Value> {
    match kind {
        pb::Schema::Policy => pb::Policy::decode(body).ok().map(|one| policy::data(&one)),
        pb::Schema::DataAgreement => pb::DataAgreement::decode(body)
            .ok()
            .map(|one| agreement::data(&one)),
        _ => None,
    }
}

/// What a snapshot holds of its object.
pub(super) fn object_data(text: &str) -> Value {
    let mut snapshot: Value = serde_json::from_str(text).unwrap_or_default();
    let data = snapshot.get_mut("objectData").map(Value::take);
    data.unwrap_or_default()
}

/// Whether this service wrote a snapshot. Where the seal does not say, the form does: earlier
/// systems write theirs in another one.
pub(super) fn is_own(reach: &Reach, text: &str) -> bool {
    match reach {
        Reach::Whole { made, .. } => *made != Made::Foreign,
        Reach::Short => {
            serde_json::from_str::<Value>(text).is_ok_and(|value| canonical(&value) == text)
        }
    }
}

/// Refuses a revision whose seal does not hold, or whose content is not what was locked.
pub(super) fn sound(shop: &Shop, row: &Row) -> Result<Reach, Error> {
    let found = reach(shop, row).filter(|reach| match reach {
        Reach::Whole { content, .. } => content_hash(row) == *content,
        Reach::Short => true,
    });
    found.ok_or_else(|| altered(row))
}

/// The text of a snapshot that is not sealed, with its seal, hashes and content checked.
pub(super) fn sound_text(shop: &Shop, row: &Row) -> Result<String, Error> {
    sound(shop, row)?;
    plain(row)
}
