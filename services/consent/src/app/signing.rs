//! Signatures: verified before anything is stored, sealed under the person's key.

use std::sync::Arc;

use prost::Message as _;
use publica_jose::{Alg, Jwk, JwkSet, Jws, Validation, verify_jwt};
use publica_proto::consent::v1 as pb;
use publica_proto::signature::v1 as peer;
use publica_proto::signature::v1::validation_service_client::ValidationServiceClient;
use publica_seal::SubjectKey;
use publica_types::{Origin, Timestamp};
use tonic::Code;

use super::Shop;
use super::delegations::Acting;
use crate::domain::signature::{self, Method, Misfit};
use crate::domain::snapshot::sha256_hex;
use crate::error::{Error, Why};
use crate::store::{self, signature::Row};

/// The field under which signatures are sealed.
const SIGNATURE: &str = "signature";
/// The block that judges detached signatures.
pub(crate) const PEER: &str = "signature";
/// The method of signatures that were not verified here.
const IMPORTED: &str = "imported";

/// A signature that was found good.
#[derive(Debug, Clone)]
pub(crate) struct Good {
    pub(crate) signature: pb::Signature,
    pub(crate) method: Method,
    /// Thumbprint of the person's key, or the issuer of the token.
    pub(crate) key_id: String,
    /// A key seen for the first time, to be registered: id and JWK.
    pub(crate) first_use: Option<(String, String)>,
}

/// A person's keys that were not revoked.
pub(crate) async fn keys_of(shop: &Shop, individual_id: &str) -> Result<Vec<Jwk>, Error> {
    let rows = store::individual::good_keys(&shop.db, &[individual_id]).await?;
    Ok(parse_keys(&rows))
}

/// Stored keys that can be read; they were checked when they were registered.
pub(crate) fn parse_keys(rows: &[store::individual::KeyRow]) -> Vec<Jwk> {
    rows.iter()
        .filter_map(|row| Jwk::from_json(row.jwk.as_bytes()).ok())
        .collect()
}

/// Checks everything about a signature but what it is about.
pub(crate) fn check(
    shop: &Shop,
    sent: pb::Signature,
    keys: &[Jwk],
    person: Option<&pb::Individual>,
    now: Timestamp,
) -> Result<Good, Misfit> {
    let method = signature::check_new(&sent, now)?;
    match method {
        Method::Jws => {
            let named = signature::named_key(&sent)?;
            let trusts = keys.is_empty() && shop.rules.trust_on_first_use;
            let first = match named {
                Some(named) if trusts => Some(named),
                _ => None,
            };
            let offered = first.as_ref().map_or(keys, std::slice::from_ref);
            let key_id = signature::check_jws(&sent, offered)?;
            let first_use = first.map(|key| (key_id.clone(), key.to_value().to_string()));
            Ok(Good {
                signature: sent,
                method,
                key_id,
                first_use,
            })
        }
        Method::OidcToken => {
            let key_id = check_token(shop, &sent, person, now)?;
            Ok(Good {
                signature: sent,
                method,
                key_id,
                first_use: None,
            })
        }
        Method::Detached => Err(Misfit {
            step: "method",
            what: "a detached signature is stored one record at a time",
        }),
    }
}

/// What the signature block found about a detached signature that it vouches for.
struct Judged {
    /// The party that the signer's certificate was issued to.
    holder: String,
    /// SHA-256 of the certificate, in hex.
    thumbprint: String,
}

/// Asks the signature block about a detached signature over a payload.
async fn judge(shop: &Shop, origin: &Origin, sent: &pb::Signature) -> Result<Judged, Error> {
    let (value, hash) = signature::detached(sent)?;
    if !shop.peers.is_configured(PEER) {
        return Err(Why::PeerNotConfigured.about(PEER));
    }
    let mut client = ValidationServiceClient::new(shop.peers.link(PEER));
    let request = peer::ValidateSignatureRequest {
        value: value.into(),
        hash_type: peer::HashType::Sha2256.into(),
        hash: hash.into(),
    };
    let answer = client.validate_signature(publica_rpc::outgoing(origin, request));
    let answer = answer.await.map_err(|status| {
        if matches!(
            status.code(),
            Code::PermissionDenied | Code::Unauthenticated
        ) {
            tracing::error!(
                code = ?status.code(),
                "the signature block refuses this service, which needs the scope \
                 signature:validation:read"
            );
        }
        Error::Peer(status)
    })?;
    let report = answer.into_inner().signature.unwrap_or_default();
    let passed = report.indication() == peer::Indication::TotalPassed;
    if !(passed && report.intact && report.trusted) {
        let what = "the signature block does not vouch for it over this payload";
        return Err(Misfit {
            step: "signature",
            what,
        }
        .into());
    }
    Ok(Judged {
        thumbprint: sha256_hex(&report.certificate),
        holder: report.holder,
    })
}

/// Checks a detached signature, and that it is of one of the people who may sign here; which one.
pub(crate) async fn check_detached(
    shop: &Shop,
    origin: &Origin,
    sent: pb::Signature,
    signers: &[&pb::Individual],
    now: Timestamp,
) -> Result<(Good, String), Error> {
    let method = signature::check_new(&sent, now)?;
    let judged = judge(shop, origin, &sent).await?;
    let holder = judged.holder.as_str();
    if holder.is_empty() {
        tracing::warn!(
            "the signature block named no holder; if the certificate is a person's, this service \
             needs the scope signature:holder:read"
        );
        let what = "the signature block does not say to whom the certificate was issued";
        return Err(Misfit { step: "key", what }.into());
    }
    let is_holder =
        |one: &&&pb::Individual| one.individual_id == holder || one.external_id == holder;
    let Some(signer) = signers.iter().find(is_holder) else {
        let what = "the certificate was issued to somebody else";
        return Err(Misfit { step: "key", what }.into());
    };
    let good = Good {
        signature: sent,
        method,
        key_id: judged.thumbprint,
        first_use: None,
    };
    Ok((good, signer.individual_id.clone()))
}

/// Checks a signature of somebody who signs for the person, and finds out which of the delegates
/// made it.
pub(crate) fn check_delegate(
    sent: pb::Signature,
    delegates: Vec<(Acting, Vec<Jwk>)>,
    now: Timestamp,
) -> Result<(Good, Acting), Misfit> {
    let method = signature::check_new(&sent, now)?;
    if method != Method::Jws {
        return Err(Misfit {
            step: "method",
            what: "delegates sign with a registered key",
        });
    }
    let mut last = Misfit {
        step: "key",
        what: "belongs to a delegate, and no delegation lets anybody do this now",
    };
    for (acting, keys) in delegates {
        match signature::check_jws(&sent, &keys) {
            Ok(key_id) => {
                let good = Good {
                    signature: sent,
                    method,
                    key_id,
                    first_use: None,
                };
                return Ok((good, acting));
            }
            Err(misfit) => last = misfit,
        }
    }
    Err(last)
}

/// Checks a token of the person's identity provider: its issuer is configured, it speaks of
/// this person, and its nonce is the payload's hash.
fn check_token(
    shop: &Shop,
    sent: &pb::Signature,
    person: Option<&pb::Individual>,
    now: Timestamp,
) -> Result<String, Misfit> {
    let no = |what| Misfit {
        step: "signature",
        what,
    };
    let person = person.ok_or(no("the person has no external identity"))?;
    let jws = Jws::parse(&sent.signature).map_err(|_| no("is not a token"))?;
    let peeked = jws.unverified_payload().ok();
    let claims = peeked.and_then(|bytes| publica_jose::Claims::from_json(&bytes).ok());
    let issuer = claims
        .as_ref()
        .and_then(publica_jose::Claims::issuer)
        .unwrap_or_default();
    let provider = shop
        .rules
        .identity_providers
        .iter()
        .find(|one| one.issuer == issuer);
    let provider = provider.ok_or(no("the token's issuer is not trusted"))?;
    let validation = Validation::new()
        .typ("JWT")
        .typ_may_be_absent()
        .issuer(&*provider.issuer)
        .audience(&*provider.audience);
    let keys: &JwkSet = &provider.keys;
    let token = verify_jwt(&sent.signature, keys, Alg::ALL, &validation, now)
        .map_err(|_| no("the token does not verify"))?;
    signature::check_nonce(sent, token.claims.text("nonce"))?;
    let same = token.claims.subject() == Some(person.external_id.as_str())
        && (person.identity_provider_id.is_empty()
            || person.identity_provider_id == provider.issuer);
    let by_id = token.claims.subject() == Some(person.individual_id.as_str());
    if same || by_id {
        Ok(provider.issuer.clone())
    } else {
        Err(Misfit {
            step: "key",
            what: "the token speaks of somebody else",
        })
    }
}

/// What is stored of a good signature. Texts that can be had from elsewhere are left out.
pub(crate) fn row(
    shop: &Shop,
    key: &SubjectKey,
    good: &Good,
    acting: Option<&Acting>,
    record_id: &str,
    revision_id: &str,
    now: Timestamp,
) -> Row {
    let mut bare = good.signature.clone();
    if bare.payload == signature::payload(&bare) {
        bare.payload.clear();
    }
    bare.verification_payload.clear();
    bare.signature_id.clear();
    Row {
        signature_id: shop.id(),
        record_id: record_id.to_owned(),
        revision_id: revision_id.to_owned(),
        signed_as: signature::signed_as(acting.map(|one| one.delegate_id.as_str())),
        method: good.method.name().to_owned(),
        key_id: good.key_id.clone(),
        sealed: key.seal(SIGNATURE, &bare.encode_to_vec()),
        created: now,
        delegation_id: acting.map_or_else(String::new, |one| one.delegation_id.clone()),
    }
}

/// What is stored of a signature from an earlier system, which was not verified here.
pub(crate) fn imported(
    shop: &Shop,
    key: &SubjectKey,
    signature: pb::Signature,
    record: &store::record::Row,
    now: Timestamp,
) -> Row {
    let role = signature.verification_signed_as.as_str();
    Row {
        signature_id: shop.id(),
        record_id: record.record_id.clone(),
        revision_id: record.revision_id.clone(),
        signed_as: if role.is_empty() { "individual" } else { role }.to_owned(),
        method: IMPORTED.to_owned(),
        key_id: String::new(),
        sealed: key.seal(SIGNATURE, &signature.encode_to_vec()),
        created: now,
        delegation_id: String::new(),
    }
}

/// Whether a stored signature comes from an earlier system.
pub(crate) fn is_imported(row: &Row) -> bool {
    row.method == IMPORTED
}

/// A stored signature as callers see it, over the given snapshot.
pub(crate) fn open(row: &Row, key: &SubjectKey, snapshot: &str) -> Result<pb::Signature, Error> {
    let mut found: pb::Signature = store::decode(&key.open(SIGNATURE, &row.sealed)?)?;
    snapshot.clone_into(&mut found.verification_payload);
    if found.payload.is_empty() {
        found.payload = signature::payload(&found);
    }
    found.signature_id.clone_from(&row.signature_id);
    if found.object_reference.is_empty() {
        // Signed before the revision had an id; filled in afterwards.
        found.object_reference.clone_from(&row.revision_id);
    }
    Ok(found)
}

/// Whether a stored signature still holds over the snapshot, whatever became of its key since.
/// Tokens are short-lived, so of them only the binding to the payload is checked again.
pub(crate) async fn still_holds(
    shop: &Shop,
    row: &Row,
    key: &SubjectKey,
    snapshot: &str,
) -> Result<bool, Error> {
    let Ok(bytes) = key.open(SIGNATURE, &row.sealed) else {
        return Ok(false);
    };
    if is_imported(row) {
        // Nothing is claimed about it but that it is there.
        return Ok(true);
    }
    let mut stored: pb::Signature = store::decode(&bytes)?;
    snapshot.clone_into(&mut stored.verification_payload);
    if stored.payload.is_empty() {
        stored.payload = signature::payload(&stored);
    }
    // The time that was signed stands in for now: it was near enough when it was stored.
    let then = stored
        .create_time
        .as_ref()
        .and_then(crate::domain::record::read_time);
    let Ok(method) = signature::check_form(&stored, then.unwrap_or(row.created)) else {
        return Ok(false);
    };
    if method == Method::Detached {
        let origin = Origin {
            tenant: shop.db.tenant().clone(),
            ..Origin::system("consent-verification")
        };
        return match judge(shop, &origin, &stored).await {
            Ok(judged) => Ok(judged.thumbprint == row.key_id),
            Err(Error::Signature(_)) => Ok(false),
            // Without the signature block nothing can be said.
            Err(error) => Err(error),
        };
    }
    if method == Method::OidcToken {
        let nonce = Jws::parse(&stored.signature)
            .ok()
            .and_then(|jws| jws.unverified_payload().ok())
            .and_then(|bytes| publica_jose::Claims::from_json(&bytes).ok())
            .and_then(|claims| claims.text("nonce").map(str::to_owned));
        return Ok(signature::check_nonce(&stored, nonce.as_deref()).is_ok());
    }
    let signer = signature::delegate_of(&row.signed_as).unwrap_or(key.subject());
    let rows = store::individual::keys(&shop.db, signer).await?;
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|known| known.key_id == row.key_id)
        .collect();
    Ok(signature::check_jws(&stored, &parse_keys(&rows)).is_ok())
}

/// Checks many signatures on a thread of its own, so that others are served meanwhile.
pub(crate) async fn check_many(
    shop: &Arc<Shop>,
    sent: Vec<(pb::Signature, Vec<Jwk>)>,
    now: Timestamp,
) -> Vec<Result<Good, Misfit>> {
    let shop = Arc::clone(shop);
    let work = move || {
        let checked = sent
            .into_iter()
            .map(|(one, keys)| check(&shop, one, &keys, None, now));
        checked.collect::<Vec<_>>()
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
}
