//! One signature of a person, with a key that lives as long as it takes.

use publica_journal::{Entry, append, write};
use publica_proto::signature::v1 as pb;
use publica_rpc::Invalid;
use publica_seal::Keyring;
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::audit::{DISPLAY, VALUE, signature_message, value_bytes};
use crate::app::authority::Authorities;
use crate::app::certificate::{ONE_TIME, store_issued};
use crate::app::{App, Who, call, subject};
use crate::domain::cms::read::SignedData;
use crate::domain::cms::{Content, Signer};
use crate::domain::key::{Curve, Hash, PrivateKey, sha256};
use crate::domain::oid;
use crate::domain::x509::{self, Certificate};
use crate::error::Error;
use crate::store::certificate::CertificateRow;
use crate::store::signature::{self, SignatureRow};

const SIGN: &str = "/publica.signature.v1.SigningService/SignHash";
const MAX_DISPLAY: usize = 256;

/// The hash that a type stands for, where it is offered.
pub(crate) fn hash_of(kind: pb::HashType) -> Option<Hash> {
    match kind {
        pb::HashType::Sha2256 => Some(Hash::Sha256),
        pb::HashType::Sha2384 => Some(Hash::Sha384),
        pb::HashType::Sha2512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// Whether a format is offered, and if so whether it says its time itself.
pub(crate) fn says_time(format: pb::SignatureFormat) -> Result<bool, Error> {
    match format {
        pb::SignatureFormat::Cades | pb::SignatureFormat::Asic => Ok(true),
        // PAdES forbids signing-time; the signature dictionary has it.
        pb::SignatureFormat::Pades => Ok(false),
        pb::SignatureFormat::Unspecified => Err(Invalid::new().add("format", "is required").into()),
        _ => Err(Error::UnsupportedCombination),
    }
}

/// Text that a person can be shown without being misled.
fn is_plain(text: &str) -> bool {
    let misleading = |letter: char| {
        letter.is_control() && letter != '\n'
            || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().count() <= MAX_DISPLAY && !text.chars().any(misleading)
}

/// The hash that a request was made with, and whether its format says its time itself.
fn checked(request: &pb::SignHashRequest) -> Result<(Hash, bool), Error> {
    let says_time = says_time(request.format())?;
    if request.hash_type() == pb::HashType::Unspecified {
        return Err(Invalid::new().add("hash_type", "is required").into());
    }
    let hash = hash_of(request.hash_type()).ok_or(Error::UnsupportedCombination)?;
    if request.hash.len() != hash.length() {
        return Err(Invalid::new().add("hash", "does not fit hash_type").into());
    }
    if !is_plain(&request.display_text) {
        let problem = "must be at most 256 characters without controls";
        return Err(Invalid::new().add("display_text", problem).into());
    }
    Ok((hash, says_time))
}

/// A finished signature on its way into the store.
struct Finished {
    row: SignatureRow,
    certificate: CertificateRow,
    value: Vec<u8>,
    display: String,
    keyring: Keyring,
    origin: Origin,
}

impl App {
    pub(crate) async fn sign_hash(
        &self,
        who: &Who,
        request: pb::SignHashRequest,
    ) -> Result<pb::SignHashResponse, Error> {
        let (hash, says_time) = checked(&request)?;
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        let time = self.clock.now();
        let (certificate, value) = self.sign_once(
            &authorities,
            who,
            hash,
            &request.hash,
            says_time.then_some(time),
        )?;
        let row = SignatureRow {
            signature_id: self.new_id(),
            owner: who.party().to_owned(),
            kind: ONE_TIME,
            format: i64::from(request.format),
            hash_type: i64::from(request.hash_type),
            hash: request.hash.to_vec(),
            certificate_id: certificate.certificate_id.clone(),
            sign_time: time,
            sealed_value: None,
            sealed_display: None,
        };
        let call = call(
            "signature.sign",
            SIGN,
            &who.origin,
            &request.request_id,
            &request,
        );
        let own_id = row.signature_id.clone();
        let mine = signature_message(&row, &authorities, Some((&certificate.certificate, &value)));
        let finished = Finished {
            row,
            certificate,
            value,
            display: request.display_text.clone(),
            keyring: self.keyring.clone(),
            origin: who.origin.clone(),
        };
        let done = write(&db, call, finished, |tx, finished| {
            Box::pin(finished.store(tx))
        })
        .await?;
        // The ledger keeps the id alone: the signature itself is sealed.
        let stored: pb::Signature = done.signature.unwrap_or_default();
        if stored.signature_id == own_id {
            return Ok(pb::SignHashResponse {
                signature: Some(mine),
            });
        }
        let row = signature::find(&db, &stored.signature_id).await?;
        let row = row.ok_or(Error::not_found("signature"))?;
        let signature = Some(self.opened(&db, &row, &authorities).await?);
        Ok(pb::SignHashResponse { signature })
    }

    /// Makes a key, certifies it, signs, time-stamps, and lets the key go.
    fn sign_once(
        &self,
        authorities: &Authorities,
        who: &Who,
        hash: Hash,
        digest: &[u8],
        signing_time: Option<Timestamp>,
    ) -> Result<(CertificateRow, Vec<u8>), Error> {
        let key = PrivateKey::generate(Curve::fitting(hash), &*self.entropy)?;
        // One person has another pseudonym with each client.
        let pair = format!("{}\n{}", who.party(), who.client());
        let pseudonym = hex::encode(&self.keyring.lookup("signature.pseudonym", &pair)[..16]);
        let name = x509::name(&[(oid::PSEUDONYM, &pseudonym), (oid::COMMON_NAME, &pseudonym)]);
        let row = self.issue(authorities, ONE_TIME, who.party(), &name, &key.public())?;
        let certificate = Certificate::read(&row.certificate)?;
        let signer = Signer::new(key, certificate, vec![authorities.issuing.der.clone()]);
        let content = Content::Detached {
            hash: digest,
            signing_time,
        };
        let now = self.clock.now();
        let value = signer.sign(content, |value| {
            self.stamp(authorities, value, now).map(Some)
        })?;
        // Verified before it leaves: the token is in the life of the certificate by design.
        SignedData::read(&value)?;
        Ok((row, value))
    }
}

impl Finished {
    async fn store(&self, tx: &mut Tx<'_>) -> Result<pb::SignHashResponse, Error> {
        store_issued(tx, &self.certificate, &self.origin).await?;
        let key = self.keyring.subject(tx, &subject(&self.row.owner)).await?;
        let value = value_bytes(&self.certificate.certificate, &self.value);
        let mut row = self.row.clone();
        row.sealed_value = Some(key.seal(VALUE, &value));
        if !self.display.is_empty() {
            row.sealed_display = Some(key.seal(DISPLAY, self.display.as_bytes()));
        }
        signature::insert(tx, &row).await?;
        let thumbprint = hex::encode(sha256(&self.certificate.certificate));
        let body = json!({
            "digest": hex::encode(&row.hash[..8]),
            "thumbprint": thumbprint,
            "format": row.format,
        });
        let entry = Entry::new("signature.hash.signed").subject("signature", &row.signature_id);
        append(tx, &self.origin, entry.body(body));
        let entry = Entry::new("signature.key.destroyed");
        let entry = entry.subject("certificate", &row.certificate_id);
        append(tx, &self.origin, entry);
        let signature = pb::Signature {
            signature_id: row.signature_id,
            ..Default::default()
        };
        Ok(pb::SignHashResponse {
            signature: Some(signature),
        })
    }
}
