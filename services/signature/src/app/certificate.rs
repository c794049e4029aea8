//! Certificates for keys on devices, and the status of every certificate.

use std::time::Duration;

use publica_journal::{Entry, append, write};
use publica_proto::signature::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_store::{StoreError, Tx};
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::authority::Authorities;
use crate::app::{App, MAX_PAGE, PAGE, Who, call, subject};
use crate::domain::crl::{reason_code, reason_name};
use crate::domain::csr::Csr;
use crate::domain::key::sha256;
use crate::domain::oid;
use crate::domain::x509::{self, Profile, Template};
use crate::error::Error;
use crate::store::certificate::{self, CertificateRow};

const CREATE: &str = "/publica.signature.v1.CertificateService/CreateCertificate";
const CHANGE: &str = "/publica.signature.v1.CertificateService/ChangeCertificateStatus";
const REMOTE_ID: &str = "signature.scd_remote_id";

pub(crate) const ACTIVE: i64 = 1;
pub(crate) const SUSPENDED: i64 = 2;
pub(crate) const REVOKED: i64 = 3;
const EXPIRED: i64 = 4;
/// The reason of a suspension.
const HOLD: i64 = 6;

pub(crate) const ONE_TIME: i64 = 1;
pub(crate) const DEVICE: i64 = 2;
pub(crate) const SEAL: i64 = 3;

const SCD_TYPES: &[&str] = &[
    "REMOTE_SCD_APP_APPLE",
    "REMOTE_SCD_APP_ANDROID",
    "REMOTE_SCD_APP_SE_APPLE",
    "REMOTE_SCD_APP_SE_ANDROID",
    "REMOTE_SCD_SIM",
    "REMOTE_SCD_ESIM",
    "REMOTE_SCD_SMARTID",
];

/// The status that shows: what has ended is expired, unless it was revoked before.
pub(crate) fn shown(row: &CertificateRow, now: Timestamp) -> i64 {
    if row.state != REVOKED && row.not_after < now {
        EXPIRED
    } else {
        row.state
    }
}

/// The message of a certificate.
pub(crate) fn message(
    row: &CertificateRow,
    authorities: &Authorities,
    now: Timestamp,
) -> pb::Certificate {
    pb::Certificate {
        certificate_id: row.certificate_id.clone(),
        kind: i32::try_from(row.kind).unwrap_or_default(),
        certificate: row.certificate.clone().into(),
        chain: authorities.chain(),
        status: i32::try_from(shown(row, now)).unwrap_or_default(),
        reason: match row.state {
            ACTIVE => String::new(),
            _ => reason_name(row.reason).to_owned(),
        },
        change_time: row.change_time.map(publica_rpc::timestamp),
        pseudonym: row.pseudonym.clone().unwrap_or_default(),
        expire_time: Some(publica_rpc::timestamp(row.not_after)),
    }
}

/// A pseudonym as it is compared.
fn checked_pseudonym(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    ((3..=64).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_lowercase())
}

impl App {
    pub(crate) async fn create_certificate(
        &self,
        who: &Who,
        request: pb::CreateCertificateRequest,
    ) -> Result<pb::CreateCertificateResponse, Error> {
        let pseudonym = self.checked_device(&request)?;
        let csr = Csr::read(&request.csr)?;
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        // Only what this block knows goes into the certificate; what the request says is not
        // proved by it.
        let name = x509::name(&[(oid::PSEUDONYM, &pseudonym), (oid::COMMON_NAME, &pseudonym)]);
        let mut row = self.issue(&authorities, DEVICE, who.party(), &name, &csr.spki)?;
        row.pseudonym = Some(pseudonym);
        row.scd_type.clone_from(&request.scd_type);
        row.scd_key_id = request.scd_key_id;
        let call = call(
            "signature.certify",
            CREATE,
            &who.origin,
            &request.request_id,
            &request,
        );
        let (remote_id, keyring) = (request.scd_remote_id.clone(), self.keyring.clone());
        let input = (row, remote_id, keyring, authorities, who.origin.clone());
        let done = write(
            &db,
            call,
            input,
            |tx, (row, remote_id, keyring, known, origin)| {
                Box::pin(async move {
                    let pseudonym = row.pseudonym.as_deref().unwrap_or_default();
                    if certificate::pseudonym_taken(tx, pseudonym).await? {
                        return Err(Error::PseudonymTaken);
                    }
                    let key = keyring.subject(tx, &subject(&row.owner)).await?;
                    let sealed = key.seal(REMOTE_ID, remote_id.as_bytes());
                    let row = CertificateRow {
                        sealed_remote_id: Some(sealed),
                        ..row.clone()
                    };
                    store_issued(tx, &row, origin).await?;
                    let certificate = Some(message(&row, known, tx.now()));
                    Ok(pb::CreateCertificateResponse { certificate })
                })
            },
        );
        // Nothing else in this unit is unique but the key; ids are random.
        done.await.map_err(|error| match error {
            Error::Store(StoreError::UniqueViolation { .. }) => Error::KeyTaken,
            other => other,
        })
    }

    /// Checks what is said about a device; gives the pseudonym, a new one if none was asked for.
    fn checked_device(&self, request: &pb::CreateCertificateRequest) -> Result<String, Invalid> {
        let mut invalid = Invalid::new();
        if !SCD_TYPES.contains(&&*request.scd_type) {
            invalid.push("scd_type", "is not a kind of device");
        }
        if request.scd_remote_id.is_empty() || request.scd_remote_id.len() > 512 {
            invalid.push("scd_remote_id", "must have 1 to 512 octets");
        }
        if request.scd_key_id < 0 {
            invalid.push("scd_key_id", "must not be negative");
        }
        let pseudonym = match &*request.pseudonym {
            "" => Some(format!("p-{}", &self.new_id()[..16])),
            given => checked_pseudonym(given),
        };
        if pseudonym.is_none() {
            invalid.push("pseudonym", "must be 3 to 64 letters, digits, dots, dashes");
        }
        if !invalid.is_empty() {
            return Err(invalid);
        }
        Ok(pseudonym.unwrap_or_default())
    }

    /// Issues an end-entity certificate; the row is not stored yet.
    pub(crate) fn issue(
        &self,
        authorities: &Authorities,
        kind: i64,
        owner: &str,
        name: &[u8],
        spki: &[u8],
    ) -> Result<CertificateRow, Error> {
        let now = self.clock.now();
        let (profile, life) = if kind == ONE_TIME {
            (Profile::OneTime, Duration::from_mins(1))
        } else {
            let days = u64::from(self.config.certificate_days);
            (Profile::Signing, Duration::from_hours(24 * days))
        };
        let serial = self.new_serial();
        let template = Template {
            profile,
            serial: &serial,
            subject: name,
            spki,
            not_before: now.minus(Duration::from_secs(5)),
            not_after: now.plus(life),
            public_url: &self.config.public_url,
        };
        let certificate = x509::issue(&template, authorities.issuer())?;
        let not_after = template.not_after;
        Ok(CertificateRow {
            certificate_id: self.new_id(),
            kind,
            owner: owner.to_owned(),
            pseudonym: None,
            serial,
            key_hash: sha256(spki),
            not_after,
            state: ACTIVE,
            reason: 0,
            change_time: None,
            create_time: now,
            certificate,
            scd_type: String::new(),
            scd_key_id: 0,
            sealed_remote_id: None,
        })
    }

    pub(crate) async fn get_certificate(
        &self,
        who: &Who,
        request: pb::GetCertificateRequest,
    ) -> Result<pb::GetCertificateResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = certificate::find(&db, &request.certificate_id).await?;
        let row = row.filter(|row| row.owner == who.party());
        let row = row.ok_or(Error::not_found("certificate"))?;
        let authorities = self.authorities(&db).await?;
        let certificate = Some(message(&row, &authorities, self.clock.now()));
        Ok(pb::GetCertificateResponse { certificate })
    }

    pub(crate) async fn list_certificates(
        &self,
        who: &Who,
        request: pb::ListCertificatesRequest,
    ) -> Result<pb::ListCertificatesResponse, Error> {
        let limit = page_size(request.page_size, PAGE, MAX_PAGE)?;
        let arguments = (who.party(), request.status);
        let after = PageToken::decode::<(i64, String)>(&arguments, &request.page_token)?;
        let db = self.db(&who.origin).await?;
        let now = self.clock.now();
        let status = i64::from(request.status);
        let after = cursor(after);
        let mut rows = certificate::list(&db, who.party(), status, now, &after, limit + 1).await?;
        let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next_page_token = match rows.last().filter(|_| more) {
            Some(last) => {
                let place = (last.create_time.micros(), &last.certificate_id);
                PageToken::encode(&arguments, &place)
            }
            None => String::new(),
        };
        let authorities = self.authorities(&db).await?;
        let certificates = rows
            .iter()
            .map(|row| message(row, &authorities, now))
            .collect();
        Ok(pb::ListCertificatesResponse {
            certificates,
            next_page_token,
        })
    }

    pub(crate) async fn change_certificate_status(
        &self,
        who: &Who,
        request: pb::ChangeCertificateStatusRequest,
    ) -> Result<pb::ChangeCertificateStatusResponse, Error> {
        let change = Change::read(request.status, &request.reason)?;
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        let call = call(
            "signature.status",
            CHANGE,
            &who.origin,
            &request.request_id,
            &request,
        );
        let (id, owner) = (request.certificate_id.clone(), who.party().to_owned());
        let input = (id, owner, change, authorities, who.origin.clone());
        let done = write(
            &db,
            call,
            input,
            |tx, (id, owner, change, authorities, origin)| {
                Box::pin(async move {
                    let row = change.apply(tx, id, owner, origin).await?;
                    let certificate = Some(message(&row, authorities, tx.now()));
                    Ok(pb::ChangeCertificateStatusResponse { certificate })
                })
            },
        )
        .await;
        self.forget_list(&db);
        done
    }
}

/// A cursor, or the place before everything.
pub(crate) fn cursor(after: Option<(i64, String)>) -> (Timestamp, String) {
    after.map_or((Timestamp::EPOCH, String::new()), |(micros, id)| {
        (Timestamp::from_micros(micros), id)
    })
}

/// Stores an issued certificate with its entry.
pub(crate) async fn store_issued(
    tx: &mut Tx<'_>,
    row: &CertificateRow,
    origin: &Origin,
) -> Result<(), Error> {
    certificate::insert(tx, row).await?;
    let thumbprint = hex::encode(sha256(&row.certificate));
    let body = json!({"kind": row.kind, "thumbprint": thumbprint});
    let entry = Entry::new("signature.certificate.issued");
    append(
        tx,
        origin,
        entry.subject("certificate", &row.certificate_id).body(body),
    );
    Ok(())
}

/// A change of status that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    to: i64,
    reason: i64,
}

impl Change {
    pub(crate) fn read(status: i32, reason: &str) -> Result<Self, Invalid> {
        let mut invalid = Invalid::new();
        let to = i64::from(status);
        if !(ACTIVE..=REVOKED).contains(&to) {
            invalid.push("status", "must be ACTIVE, SUSPENDED or REVOKED");
        }
        let code = if reason.is_empty() {
            Some(0)
        } else {
            reason_code(reason)
        };
        if code.is_none() || (to == REVOKED && code == Some(6)) {
            invalid.push("reason", "is not a reason for this status");
        }
        if !invalid.is_empty() {
            return Err(invalid);
        }
        let reason = match to {
            SUSPENDED => HOLD,
            ACTIVE => 0,
            _ => i64::from(code.unwrap_or_default()),
        };
        Ok(Self { to, reason })
    }

    /// Applies it; the status it has already is no change.
    pub(crate) async fn apply(
        self,
        tx: &mut Tx<'_>,
        id: &str,
        owner: &str,
        origin: &Origin,
    ) -> Result<CertificateRow, Error> {
        let row = certificate::find_in(tx, id).await?;
        let row = row.filter(|row| row.owner == owner && row.kind != ONE_TIME);
        let mut row = row.ok_or(Error::not_found("certificate"))?;
        let now = tx.now();
        let from = shown(&row, now);
        if from == self.to {
            return Ok(row);
        }
        let refused = match from {
            REVOKED => Some("revoked"),
            EXPIRED => Some("expired"),
            _ => None,
        };
        if let Some(status) = refused {
            return Err(Error::StatusChange { status });
        }
        if !certificate::change(tx, id, from, self.to, self.reason, now).await? {
            return Err(StoreError::Conflict { source: None }.into());
        }
        let action = match self.to {
            ACTIVE => "signature.certificate.activated",
            SUSPENDED => "signature.certificate.suspended",
            _ => "signature.certificate.revoked",
        };
        let body = json!({"reason": reason_name(self.reason)});
        append(
            tx,
            origin,
            Entry::new(action).subject("certificate", id).body(body),
        );
        row.state = self.to;
        row.reason = self.reason;
        row.change_time = Some(now);
        Ok(row)
    }
}
