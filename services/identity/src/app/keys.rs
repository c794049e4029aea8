//! Keys that sign tokens: made when first needed, published ahead of use, rotated, withdrawn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use publica_jose::{Alg, JwkSet, SigningKey};
use publica_journal::Entry;
use publica_proto::identity::v1 as pb;
use publica_rpc::{PageToken, page_size, timestamp};
use publica_store::{Db, Tx};
use publica_types::{Origin, SharedEntropy, Tenant, Timestamp};
use serde_json::{Value, json};

use crate::app::person::next;
use crate::app::{App, Mutation};
use crate::certificate;
use crate::convert;
use crate::domain::authorization::SCOPES;
use crate::domain::client::{ACR_VALUES, AUTHORIZATION_CODE, CLIENT_CREDENTIALS, USER_CLAIMS};
use crate::error::{Error, Refused};
use crate::sealed::SIGNING_KEY;
use crate::store::signing_key::{self, StoredKey};

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 500;
/// How long a loaded set is used before another replica's rotation is looked for.
const FRESH: Duration = Duration::from_secs(10);
/// How long a key is published before it may sign: longer than verifiers keep a set.
const AHEAD: Duration = Duration::from_mins(15);
/// Published keys end at this distance, unless they are retired before.
const HORIZON: Duration = Duration::from_hours(10 * 366 * 24);

/// The keys of a tenant, opened.
pub(crate) struct KeySet {
    /// The key that signs.
    pub(crate) signing: SigningKey,
    /// Every key that verifies.
    pub(crate) published: JwkSet,
    rows: Vec<StoredKey>,
    loaded: Timestamp,
}

/// Key sets of all tenants that were asked for.
#[derive(Default)]
pub(crate) struct Keys(Mutex<HashMap<Tenant, Arc<KeySet>>>);

impl Keys {
    fn get(&self, tenant: &Tenant) -> Option<Arc<KeySet>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .cloned()
    }

    fn put(&self, tenant: Tenant, set: Arc<KeySet>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(tenant, set);
    }

    fn forget(&self, tenant: &Tenant) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(tenant);
    }
}

impl App {
    /// The keys of a tenant; the first call ever makes one.
    pub(crate) async fn key_set(&self, db: &Db) -> Result<Arc<KeySet>, Error> {
        let now = self.now();
        if let Some(set) = self.keys.get(db.tenant())
            && now.since(set.loaded) < FRESH
        {
            return Ok(set);
        }
        let mut rows = signing_key::published(db, now).await?;
        if self.active(&rows).is_none() {
            self.make(db, "active").await?;
            rows = signing_key::published(db, now).await?;
        }
        let set = Arc::new(self.open_keys(rows, now)?);
        self.keys.put(db.tenant().clone(), set.clone());
        Ok(set)
    }

    fn active<'a>(&self, rows: &'a [StoredKey]) -> Option<&'a StoredKey> {
        let algorithm = &self.config.keys.algorithm;
        rows.iter()
            .find(|row| row.state == "active" && row.algorithm == *algorithm)
    }

    fn open_keys(&self, rows: Vec<StoredKey>, now: Timestamp) -> Result<KeySet, Error> {
        let active = self.active(&rows).ok_or(Error::Record("signing key"))?;
        let private = self.keyring.open_block(&SIGNING_KEY, &active.sealed)?;
        let signing = SigningKey::from_jwk(&private)?;
        let keys: Vec<Value> = rows
            .iter()
            .filter_map(|row| serde_json::from_str(&row.public_jwk).ok())
            .collect();
        let published = JwkSet::from_value(&json!({ "keys": keys }))?;
        Ok(KeySet {
            signing,
            published,
            rows,
            loaded: now,
        })
    }

    /// Makes a key, unless there is one of that state.
    async fn make(&self, db: &Db, state: &'static str) -> Result<(), Error> {
        let algorithm = self.config.keys.algorithm.clone();
        let (entropy, issuer) = (self.entropy.clone(), self.config.issuer.clone());
        let now = self.now();
        // An RSA key takes long enough to make that it must not hold up a worker.
        let made = tokio::task::spawn_blocking(move || generate(&algorithm, entropy, &issuer, now));
        let (key, public) = made.await.map_err(|_| Error::Record("signing key"))??;
        let private = key.to_private_jwk()?;
        let row = StoredKey {
            kid: key.kid().to_owned(),
            algorithm: self.config.keys.algorithm.clone(),
            state: state.to_owned(),
            sealed: self
                .keyring
                .seal_block(&SIGNING_KEY, private.expose().as_bytes()),
            public_jwk: public.to_string(),
            created: now,
            activated: (state == "active").then_some(now),
            expires: now.plus(HORIZON),
        };
        db.write("identity.make_key", row, |tx, row| {
            Box::pin(async move {
                if signing_key::insert(tx, row).await? {
                    let entry = Entry::new("identity.key.made")
                        .subject("key", &row.kid)
                        .body(json!({ "algorithm": row.algorithm, "state": row.state }));
                    publica_journal::append(tx, &Origin::system("identity.keys"), entry);
                }
                Ok::<_, Error>(())
            })
        })
        .await
    }

    /// Keeps a next key published and rotates when it is time.
    pub(crate) async fn tend_keys(&self, tenant: &Tenant) -> Result<(), Error> {
        let db = self.of(tenant).await?;
        let set = self.key_set(&db).await?;
        let algorithm = self.config.keys.algorithm.as_str();
        let staged = set
            .rows
            .iter()
            .find(|row| row.state == "next" && row.algorithm == algorithm);
        let Some(staged) = staged else {
            self.make(&db, "next").await?;
            self.keys.forget(tenant);
            return Ok(());
        };
        let days = u64::from(self.config.keys.rotate_days);
        let now = self.now();
        let due = self
            .active(&set.rows)
            .and_then(|row| row.activated)
            .is_some_and(|activated| {
                now.since(activated) >= Duration::from_secs(days * 24 * 3_600)
            });
        if due && now.since(staged.created) >= AHEAD {
            let origin = Origin::system("identity.keys").in_tenant(tenant.clone());
            let input = (self.clone(), origin);
            let rotated = db.write("identity.rotate_key", input, |tx, (app, origin)| {
                Box::pin(async move { app.rotate(tx, origin).await.map(drop) })
            });
            rotated.await?;
            self.keys.forget(tenant);
        }
        Ok(())
    }

    /// Makes the next key the signing one.
    pub(crate) async fn rotate_signing_key(
        &self,
        mutation: &Mutation,
    ) -> Result<pb::RotateSigningKeyResponse, Error> {
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.rotate_signing_key");
        let input = (self.clone(), mutation.origin.clone());
        let rotated = publica_journal::write(&db, call, input, |tx, (app, origin)| {
            Box::pin(async move {
                let key = app.rotate(tx, origin).await?;
                let signing_key = Some(convert::signing_key(&key));
                Ok::<_, Error>(pb::RotateSigningKeyResponse { signing_key })
            })
        });
        let response = rotated.await?;
        self.keys.forget(db.tenant());
        // Whoever rotates again finds a next key without waiting for the background work.
        self.make(&db, "next").await?;
        Ok(response)
    }

    async fn rotate(&self, tx: &mut Tx<'_>, origin: &Origin) -> Result<StoredKey, Error> {
        let now = tx.now();
        let algorithm = self.config.keys.algorithm.as_str();
        let staged = signing_key::in_state(tx, "next", algorithm).await?;
        let staged = staged.filter(|key| now.since(key.created) >= AHEAD);
        let staged = staged.ok_or(Refused::TooEarly)?;
        if let Some(active) = signing_key::in_state(tx, "active", algorithm).await? {
            // Tokens that it signed a moment ago must still verify until they end.
            let end = now.plus(self.config.token_lifetime()).plus(AHEAD);
            signing_key::retire(tx, &active.kid, end).await?;
        }
        if !signing_key::activate(tx, &staged.kid, now).await? {
            return Err(Refused::TooEarly.into());
        }
        let entry = Entry::new("identity.key.rotated").subject("key", &staged.kid);
        publica_journal::append(tx, origin, entry);
        Ok(StoredKey {
            state: "active".to_owned(),
            activated: Some(now),
            ..staged
        })
    }

    /// Keys that verifiers need.
    pub(crate) async fn published_keys(
        &self,
        origin: &Origin,
    ) -> Result<pb::GetKeySetResponse, Error> {
        let db = self.db(origin).await?;
        let set = self.key_set(&db).await?;
        let now = self.now();
        let keys = set
            .rows
            .iter()
            .filter(|row| row.expires > now)
            .map(|row| pb::PublicKey {
                kid: row.kid.clone(),
                jwk: row.public_jwk.clone(),
                expire_time: Some(timestamp(row.expires)),
            });
        Ok(pb::GetKeySetResponse {
            keys: keys.collect(),
        })
    }

    /// A page of keys without their private parts.
    pub(crate) async fn list_signing_keys(
        &self,
        origin: &Origin,
        request: &pb::ListSigningKeysRequest,
    ) -> Result<pb::ListSigningKeysResponse, Error> {
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let before: Option<(i64, String)> = PageToken::decode(&(), &request.page_token)?;
        let before = before.map(|(micros, kid)| (Timestamp::from_micros(micros), kid));
        let db = self.db(origin).await?;
        let mut found = signing_key::list(&db, before, size + 1).await?;
        let next_page_token = next(&mut found, size, |key| {
            PageToken::encode(&(), &(key.created.micros(), key.kid.as_str()))
        });
        let signing_keys = found.iter().map(convert::signing_key).collect();
        Ok(pb::ListSigningKeysResponse {
            signing_keys,
            next_page_token,
        })
    }

    /// What the discovery document says.
    pub(crate) fn metadata(&self) -> pb::GetMetadataResponse {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pb::GetMetadataResponse {
            issuer: self.config.issuer.clone(),
            scopes: owned(&SCOPES),
            acr_values: owned(&ACR_VALUES[1..2]),
            claims: owned(&USER_CLAIMS),
            grant_types: owned(&[AUTHORIZATION_CODE, CLIENT_CREDENTIALS]),
            signing_algorithms: vec![self.config.keys.algorithm.clone()],
            assertion_algorithms: crate::app::token::ASSERTION_ALGS
                .iter()
                .map(|alg| alg.name().to_owned())
                .collect(),
            ui_locales: self.config.ui_locales.clone(),
        }
    }
}

/// A new key and what is published of it.
fn generate(
    algorithm: &str,
    entropy: SharedEntropy,
    issuer: &str,
    now: Timestamp,
) -> Result<(SigningKey, Value), Error> {
    let alg: Alg = algorithm.parse()?;
    let key = SigningKey::generate(alg, &*entropy)?;
    let mut public = key.public_jwk().to_value();
    // The published schema wants a certificate beside each RSA key.
    if alg == Alg::Rs256
        && let Some(certificate) = certificate::self_signed(&key, issuer, &*entropy, now)
    {
        public["x5c"] = json!([certificate.base64]);
        public["x5t#S256"] = json!(certificate.thumbprint);
    }
    Ok((key, public))
}
