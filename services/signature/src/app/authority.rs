//! The certification hierarchy of a store: made at first use, then loaded once.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use publica_journal::{Entry, append};
use publica_proto::signature::v1 as pb;
use publica_store::Db;
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::{App, Who};
use crate::domain::cms::Signer;
use crate::domain::crl;
use crate::domain::key::{Curve, PrivateKey};
use crate::domain::x509::{self, Certificate, Issuer, Profile, Template};
use crate::domain::{oid, tsp};
use crate::error::Error;
use crate::sealed::AUTHORITY;
use crate::store::authority::{self, AuthorityRow};
use crate::store::certificate;

const DAY: Duration = Duration::from_hours(24);
/// How long a list is given out again; a change made by another replica shows after that.
const LIST_AGE: Duration = Duration::from_secs(30);
const ROOT: &str = "root";
const ISSUING: &str = "issuing";
const TIMESTAMPING: &str = "timestamping";

/// The authorities with their keys.
#[derive(Debug)]
pub(crate) struct Authorities {
    pub(crate) root: Certificate,
    pub(crate) issuing: Certificate,
    pub(crate) issuing_key: PrivateKey,
    pub(crate) timestamping: Signer,
}

impl Authorities {
    /// Who issues end-entity certificates.
    pub(crate) fn issuer(&self) -> Issuer<'_> {
        Issuer {
            name: &self.issuing.subject,
            key: &self.issuing_key,
        }
    }

    /// From the next authority to the root, for those who hold an end-entity certificate.
    pub(crate) fn chain(&self) -> Vec<prost::bytes::Bytes> {
        vec![
            self.issuing.der.clone().into(),
            self.root.der.clone().into(),
        ]
    }

    /// What ends the paths that are trusted.
    pub(crate) fn anchors(&self) -> &[Certificate] {
        std::slice::from_ref(&self.root)
    }
}

impl App {
    /// The authorities of a store.
    pub(crate) async fn authorities(&self, db: &Db) -> Result<Arc<Authorities>, Error> {
        let known = self
            .authorities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(db.tenant())
            .cloned();
        if let Some(found) = known {
            return Ok(found);
        }
        let mut rows = authority::list(db).await?;
        if rows.is_empty() {
            self.found_authorities(db).await?;
            rows = authority::list(db).await?;
        }
        let opened = Arc::new(self.open_authorities(&rows)?);
        let mut known = self
            .authorities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(known.entry(db.tenant().clone()).or_insert(opened).clone())
    }

    fn open_authorities(&self, rows: &[AuthorityRow]) -> Result<Authorities, Error> {
        let row = |role| {
            let found = rows.iter().find(|row| row.role == role);
            found.ok_or(Error::Corrupt("an authority is missing"))
        };
        let key = |row: &AuthorityRow| -> Result<PrivateKey, Error> {
            let bytes =
                zeroize::Zeroizing::new(self.keyring.open_block(&AUTHORITY, &row.sealed_key)?);
            Ok(PrivateKey::from_pkcs8(&bytes)?)
        };
        let (root, issuing, tsa) = (row(ROOT)?, row(ISSUING)?, row(TIMESTAMPING)?);
        let certificate = Certificate::read(&tsa.certificate)?;
        Ok(Authorities {
            root: Certificate::read(&root.certificate)?,
            issuing: Certificate::read(&issuing.certificate)?,
            issuing_key: key(issuing)?,
            timestamping: Signer::new(key(tsa)?, certificate, Vec::new()),
        })
    }

    /// Makes the hierarchy. Of two processes that do so at once, the first one's stands.
    async fn found_authorities(&self, db: &Db) -> Result<(), Error> {
        let rows = self.new_authorities()?;
        let input = (rows, Origin::system("signature"));
        db.write(
            "signature.found_authorities",
            input,
            |tx, (rows, origin)| {
                Box::pin(async move {
                    let now = tx.now();
                    for (at, row) in rows.iter().enumerate() {
                        if !authority::insert(tx, row, now).await? && at == 0 {
                            return Ok::<_, Error>(());
                        }
                    }
                    let body = json!({"authorities": rows.len()});
                    append(
                        tx,
                        origin,
                        Entry::new("signature.authorities.founded").body(body),
                    );
                    Ok(())
                })
            },
        )
        .await
    }

    fn new_authorities(&self) -> Result<Vec<AuthorityRow>, Error> {
        let now = self.clock.now().minus(Duration::from_secs(5));
        let make = || PrivateKey::generate(Curve::P256, &*self.entropy);
        let (root_key, issuing_key, tsa_key) = (make()?, make()?, make()?);
        let operator = &*self.config.operator;
        let name = |role: &str| {
            x509::name(&[
                (oid::COUNTRY, &self.config.country),
                (oid::ORGANIZATION, operator),
                (oid::COMMON_NAME, &format!("{operator} {role}")),
            ])
        };
        let root_name = name("root authority");
        let issuer = Issuer {
            name: &root_name,
            key: &root_key,
        };
        let issue = |role: &str, profile, key: &PrivateKey, subject: &[u8], years: u32| {
            let template = Template {
                profile,
                serial: &self.new_serial(),
                subject,
                spki: &key.public(),
                not_before: now,
                not_after: now.plus(DAY * 365 * years),
                public_url: &self.config.public_url,
            };
            Ok::<_, Error>(AuthorityRow {
                role: role.to_owned(),
                certificate: x509::issue(&template, issuer)?,
                sealed_key: self.keyring.seal_block(&AUTHORITY, &key.to_pkcs8()?),
            })
        };
        Ok(vec![
            issue(ROOT, Profile::Root, &root_key, &root_name, 20)?,
            issue(
                ISSUING,
                Profile::Issuing,
                &issuing_key,
                &name("issuing authority"),
                10,
            )?,
            issue(
                TIMESTAMPING,
                Profile::Timestamping,
                &tsa_key,
                &name("time-stamping authority"),
                10,
            )?,
        ])
    }

    /// A time-stamp over a signature value.
    pub(crate) fn stamp(
        &self,
        authorities: &Authorities,
        signature: &[u8],
        time: Timestamp,
    ) -> Result<Vec<u8>, crate::domain::key::KeyError> {
        tsp::token_over(
            &authorities.timestamping,
            signature,
            &self.new_serial(),
            time,
        )
    }

    pub(crate) async fn list_authorities(
        &self,
        who: &Who,
        _request: pb::ListAuthoritiesRequest,
    ) -> Result<pb::ListAuthoritiesResponse, Error> {
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        Ok(pb::ListAuthoritiesResponse {
            root: authorities.root.der.clone().into(),
            issuing: authorities.issuing.der.clone().into(),
            timestamping: authorities.timestamping.certificate.der.clone().into(),
        })
    }

    pub(crate) async fn get_revocation_list(
        &self,
        who: &Who,
        _request: pb::GetRevocationListRequest,
    ) -> Result<pb::GetRevocationListResponse, Error> {
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        let now = self.clock.now();
        if let Some(list) = self.recent_list(&db, now) {
            return Ok(list);
        }
        let end = now.plus(Duration::from_mins(self.config.crl_minutes.into()));
        let revoked: Vec<crl::Revoked> = certificate::listed(&db, now)
            .await?
            .into_iter()
            .map(|(serial, time, reason)| crl::Revoked {
                serial,
                time: time.unwrap_or(now),
                reason: u8::try_from(reason).unwrap_or_default(),
            })
            .collect();
        let list = pb::GetRevocationListResponse {
            crl: crl::list(authorities.issuer(), now, end, &revoked)?.into(),
            update_time: Some(publica_rpc::timestamp(now)),
            expire_time: Some(publica_rpc::timestamp(end)),
        };
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.insert(db.tenant().clone(), (now, list.clone()));
        Ok(list)
    }

    /// Anybody may ask for the list, so it is not signed anew for each call.
    fn recent_list(&self, db: &Db, now: Timestamp) -> Option<pb::GetRevocationListResponse> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, list) = lists.get(db.tenant())?;
        (now.since(*made) < LIST_AGE).then(|| list.clone())
    }

    /// After a change of status the next list is a new one.
    pub(crate) fn forget_list(&self, db: &Db) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.remove(db.tenant());
    }
}
