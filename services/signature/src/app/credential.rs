//! Seal credentials of organisations.

use std::sync::{Arc, PoisonError};

use publica_journal::{Entry, append, write};
use publica_proto::signature::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_store::Db;
use serde_json::json;

use crate::app::authority::Authorities;
use crate::app::certificate::{ACTIVE, Change, SEAL, cursor, message, shown, store_issued};
use crate::app::{App, MAX_PAGE, PAGE, Who, call};
use crate::config::is_country;
use crate::domain::cms::Signer;
use crate::domain::key::{Curve, PrivateKey};
use crate::domain::oid;
use crate::domain::x509::{self, Certificate};
use crate::error::Error;
use crate::sealed::SEAL_KEY;
use crate::store::certificate::{self, CertificateRow};
use crate::store::credential::{self, CredentialRow};

const CREATE: &str = "/publica.signature.v1.CredentialService/CreateCredential";
const CHANGE: &str = "/publica.signature.v1.CredentialService/ChangeCredentialStatus";
/// The most seals that are kept open.
const MAX_OPEN: usize = 256;

fn credential_message(row: &CredentialRow, certificate: pb::Certificate) -> pb::Credential {
    pb::Credential {
        credential_id: row.credential_id.clone(),
        organization: row.organization.clone(),
        certificate: Some(certificate),
        create_time: Some(publica_rpc::timestamp(row.create_time)),
    }
}

/// Text that a name in a certificate can carry.
pub(crate) fn is_name(text: &str, most: usize) -> bool {
    let length = text.chars().count();
    (1..=most).contains(&length) && text.trim() == text && !text.chars().any(char::is_control)
}

/// A name with an organisation, as seals carry it.
pub(crate) fn organization_name(country: &str, organization: &str, identifier: &str) -> Vec<u8> {
    let mut attributes = vec![(oid::COUNTRY, country), (oid::ORGANIZATION, organization)];
    if !identifier.is_empty() {
        attributes.push((oid::ORGANIZATION_IDENTIFIER, identifier));
    }
    attributes.push((oid::COMMON_NAME, organization));
    x509::name(&attributes)
}

/// What is wrong with the parts of such a name.
pub(crate) fn check_name(country: &str, organization: &str, identifier: &str) -> Invalid {
    let mut invalid = Invalid::new();
    if !is_name(organization, 64) {
        invalid.push("organization", "must have 1 to 64 characters");
    }
    if !is_country(country) {
        invalid.push("country", "must be two upper-case letters");
    }
    if !identifier.is_empty() && !is_name(identifier, 64) {
        invalid.push("organization_identifier", "must have at most 64 characters");
    }
    invalid
}

impl App {
    pub(crate) async fn create_credential(
        &self,
        who: &Who,
        request: pb::CreateCredentialRequest,
    ) -> Result<pb::CreateCredentialResponse, Error> {
        let (country, name) = (&*request.country, &*request.organization);
        let identifier = &*request.organization_identifier;
        let invalid = check_name(country, name, identifier);
        if !invalid.is_empty() {
            return Err(invalid.into());
        }
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        let subject = organization_name(country, name, identifier);
        let rows = self.new_credential(&authorities, who.party(), name, &subject)?;
        let call = call(
            "signature.seal",
            CREATE,
            &who.origin,
            &request.request_id,
            &request,
        );
        let input = (rows, authorities, who.origin.clone());
        write(
            &db,
            call,
            input,
            |tx, ((row, certificate), authorities, origin)| {
                Box::pin(async move {
                    store_issued(tx, certificate, origin).await?;
                    credential::insert(tx, row).await?;
                    let body = json!({"certificate": row.certificate_id});
                    let entry = Entry::new("signature.credential.created");
                    append(
                        tx,
                        origin,
                        entry.subject("credential", &row.credential_id).body(body),
                    );
                    let certificate = message(certificate, authorities, tx.now());
                    let credential = Some(credential_message(row, certificate));
                    Ok::<_, Error>(pb::CreateCredentialResponse { credential })
                })
            },
        )
        .await
    }

    /// A key with its certificate, not stored yet.
    pub(crate) fn new_credential(
        &self,
        authorities: &Authorities,
        owner: &str,
        organization: &str,
        subject: &[u8],
    ) -> Result<(CredentialRow, CertificateRow), Error> {
        let key = PrivateKey::generate(Curve::P256, &*self.entropy)?;
        let certificate = self.issue(authorities, SEAL, owner, subject, &key.public())?;
        let row = CredentialRow {
            credential_id: self.new_id(),
            owner: owner.to_owned(),
            organization: organization.to_owned(),
            certificate_id: certificate.certificate_id.clone(),
            sealed_key: self.keyring.seal_block(&SEAL_KEY, &key.to_pkcs8()?),
            create_time: certificate.create_time,
        };
        Ok((row, certificate))
    }

    /// A credential of the caller with its certificate.
    async fn credential(
        &self,
        db: &Db,
        who: &Who,
        id: &str,
    ) -> Result<(CredentialRow, CertificateRow), Error> {
        let row = credential::find(db, id)
            .await?
            .filter(|row| row.owner == who.party());
        let row = row.ok_or(Error::not_found("credential"))?;
        let certificate = certificate::find(db, &row.certificate_id).await?;
        let certificate = certificate.ok_or(Error::Corrupt("a credential's certificate"))?;
        Ok((row, certificate))
    }

    pub(crate) async fn get_credential(
        &self,
        who: &Who,
        request: pb::GetCredentialRequest,
    ) -> Result<pb::GetCredentialResponse, Error> {
        let db = self.db(&who.origin).await?;
        let (row, certificate) = self.credential(&db, who, &request.credential_id).await?;
        let authorities = self.authorities(&db).await?;
        let certificate = message(&certificate, &authorities, self.clock.now());
        let credential = Some(credential_message(&row, certificate));
        Ok(pb::GetCredentialResponse { credential })
    }

    pub(crate) async fn list_credentials(
        &self,
        who: &Who,
        request: pb::ListCredentialsRequest,
    ) -> Result<pb::ListCredentialsResponse, Error> {
        let limit = page_size(request.page_size, PAGE, MAX_PAGE)?;
        let after = PageToken::decode(&who.party(), &request.page_token)?;
        let db = self.db(&who.origin).await?;
        let mut rows = credential::list(&db, who.party(), &cursor(after), limit + 1).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_page_token = match rows.last().filter(|_| more) {
            Some(last) => {
                let place = (last.create_time.micros(), &last.credential_id);
                PageToken::encode(&who.party(), &place)
            }
            None => String::new(),
        };
        let authorities = self.authorities(&db).await?;
        let mut credentials = Vec::with_capacity(rows.len());
        for row in &rows {
            let certificate = certificate::find(&db, &row.certificate_id).await?;
            let certificate = certificate.ok_or(Error::Corrupt("a credential's certificate"))?;
            let certificate = message(&certificate, &authorities, self.clock.now());
            credentials.push(credential_message(row, certificate));
        }
        Ok(pb::ListCredentialsResponse {
            credentials,
            next_page_token,
        })
    }

    pub(crate) async fn change_credential_status(
        &self,
        who: &Who,
        request: pb::ChangeCredentialStatusRequest,
    ) -> Result<pb::ChangeCredentialStatusResponse, Error> {
        let change = Change::read(request.status, &request.reason)?;
        let db = self.db(&who.origin).await?;
        let (row, _) = self.credential(&db, who, &request.credential_id).await?;
        let authorities = self.authorities(&db).await?;
        let call = call(
            "signature.seal_status",
            CHANGE,
            &who.origin,
            &request.request_id,
            &request,
        );
        let input = (row, change, authorities, who.origin.clone());
        let done = write(
            &db,
            call,
            input,
            |tx, (row, change, authorities, origin)| {
                Box::pin(async move {
                    let changed = change
                        .apply(tx, &row.certificate_id, &row.owner, origin)
                        .await?;
                    let certificate = message(&changed, authorities, tx.now());
                    let credential = Some(credential_message(row, certificate));
                    Ok::<_, Error>(pb::ChangeCredentialStatusResponse { credential })
                })
            },
        )
        .await;
        self.forget_list(&db);
        done
    }

    /// The caller's credential, ready to seal: the named one, or the only active one.
    pub(crate) async fn open_seal(
        &self,
        db: &Db,
        who: &Who,
        id: &str,
    ) -> Result<(CredentialRow, Arc<Signer>), Error> {
        let now = self.clock.now();
        let id = if id.is_empty() {
            let mut active = credential::active(db, who.party(), now).await?;
            match (active.pop(), active.is_empty()) {
                (Some(only), true) => only,
                (Some(_), false) => {
                    let problem = "is required: there are several active credentials";
                    return Err(Invalid::new().add("credential_id", problem).into());
                }
                (None, _) => return Err(Error::not_found("credential")),
            }
        } else {
            id.to_owned()
        };
        // The status is read each time: a revocation counts from the next call on.
        let (row, certificate) = self.credential(db, who, &id).await?;
        if shown(&certificate, now) != ACTIVE {
            return Err(Error::CredentialNotActive);
        }
        let place = (db.tenant().clone(), id);
        let known = self
            .seals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&place)
            .cloned();
        if let Some(signer) = known {
            return Ok((row, signer));
        }
        let bytes = self.keyring.open_block(&SEAL_KEY, &row.sealed_key)?;
        let key = PrivateKey::from_pkcs8(&zeroize::Zeroizing::new(bytes))?;
        let authorities = self.authorities(db).await?;
        let certificate = Certificate::read(&certificate.certificate)?;
        let signer = Arc::new(Signer::new(
            key,
            certificate,
            vec![authorities.issuing.der.clone()],
        ));
        let mut open = self.seals.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_OPEN {
            open.clear();
        }
        open.insert(place, signer.clone());
        Ok((row, signer))
    }
}
