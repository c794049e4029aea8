//! Sealing many hashes or documents at once with an organisation's credential.

use std::sync::Arc;

use prost::Message as _;
use publica_journal::merkle::{Frontier, leaf_hash};
use publica_journal::{Entry, append, write};
use publica_proto::signature::v1 as pb;
use publica_rpc::Invalid;
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp};
use serde_json::json;

use crate::app::authority::Authorities;
use crate::app::certificate::SEAL;
use crate::app::onetime::{hash_of, says_time};
use crate::app::{App, Who, call};
use crate::domain::cms::{Content, Signer};
use crate::domain::key::Hash;
use crate::domain::pdf::{self, Dictionary, PdfError, Prepared};
use crate::error::Error;
use crate::store::credential::CredentialRow;
use crate::store::signature::{self, SignatureRow};

const SEAL_HASHES: &str = "/publica.signature.v1.SigningService/SealHashes";
const SEAL_DOCUMENTS: &str = "/publica.signature.v1.SigningService/SealDocuments";

const MAX_HASHES: usize = 1_000;
const MAX_DOCUMENTS: usize = 100;
const MAX_TOTAL: usize = 32 * 1024 * 1024;
const MAX_TEXT: usize = 256;
/// Room for the signature in a document: certificates and time-stamp take about 4 KiB.
const RESERVED: usize = 8 * 1024;

/// What a batch leaves behind.
struct Batch {
    receipt: pb::SealReceipt,
    rows: Vec<SignatureRow>,
    credential: CredentialRow,
    action: &'static str,
    origin: Origin,
}

impl Batch {
    async fn store(&self, tx: &mut Tx<'_>) -> Result<pb::SealReceipt, Error> {
        let mut tree = Frontier::default();
        for row in &self.rows {
            signature::insert(tx, row).await?;
            tree.push(leaf_hash(&row.hash), |_, _| ());
        }
        // One entry for the batch; an item is proved by its path to the root.
        let body = json!({
            "sealed": self.rows.len(),
            "refused": self.receipt.items.len() - self.rows.len(),
            "root": hex::encode(tree.root()),
            "certificate": self.credential.certificate_id,
        });
        let entry = Entry::new(self.action).subject("credential", &self.credential.credential_id);
        append(tx, &self.origin, entry.body(body));
        Ok(self.receipt.clone())
    }
}

/// One document on its way.
type Sealing = Result<Prepared, PdfError>;

impl App {
    pub(crate) async fn seal_hashes(
        &self,
        who: &Who,
        request: pb::SealHashesRequest,
    ) -> Result<pb::SealHashesResponse, Error> {
        let says_time = says_time(request.format())?;
        if hash_of(request.hash_type()) != Some(Hash::Sha256) {
            return Err(Error::UnsupportedCombination);
        }
        if request.hashes.is_empty() || request.hashes.len() > MAX_HASHES {
            return Err(Invalid::new().add("hashes", "must be 1 to 1,000").into());
        }
        let db = self.db(&who.origin).await?;
        let (credential, signer) = self.open_seal(&db, who, &request.credential_id).await?;
        let authorities = self.authorities(&db).await?;
        let time = self.clock.now();
        let mut batch = Batch::new(credential, who, "signature.hashes.sealed", time);
        for hash in &request.hashes {
            let sealed = if hash.len() == Hash::Sha256.length() {
                let content = Content::Detached {
                    hash,
                    signing_time: says_time.then_some(time),
                };
                Ok(signer.sign(content, |value| {
                    self.stamp(&authorities, value, time).map(Some)
                })?)
            } else {
                Err("HASH_LENGTH")
            };
            batch.add(self.new_id(), request.format, hash, sealed);
        }
        let fingerprint = &request;
        let call = call(
            "signature.seal_hashes",
            SEAL_HASHES,
            &who.origin,
            &request.request_id,
            fingerprint,
        );
        let receipt = write(&db, call, batch, |tx, batch| Box::pin(batch.store(tx))).await?;
        let items = receipt.items.into_iter().map(|item| pb::SealedHash {
            signature_id: item.signature_id,
            value: item.value,
            error: item.error,
        });
        Ok(pb::SealHashesResponse {
            items: items.collect(),
        })
    }

    pub(crate) async fn seal_documents(
        &self,
        who: &Who,
        request: pb::SealDocumentsRequest,
    ) -> Result<pb::SealDocumentsResponse, Error> {
        check_documents(&request)?;
        let db = self.db(&who.origin).await?;
        let (credential, signer) = self.open_seal(&db, who, &request.credential_id).await?;
        let authorities = self.authorities(&db).await?;
        let organization = credential.organization.clone();
        let mine = self.clock.now();
        let prepared = prepare_all(&request, &organization, mine);
        let batch = Batch::new(credential, who, "signature.documents.sealed", mine);
        let batch = self.seal_prepared(batch, &prepared, &signer, &authorities)?;
        let own_receipt = batch.receipt.encode_to_vec();
        let receipt = self.keep(&db, who, &request, batch).await?;
        let time = receipt.seal_time.as_ref();
        let time = time.and_then(|time| publica_rpc::from_timestamp("seal_time", time).ok());
        // A repeat gets the first seals, put into the same documents again.
        let prepared = match time {
            Some(first) if receipt.encode_to_vec() != own_receipt => {
                prepare_all(&request, &organization, first)
            }
            _ => prepared,
        };
        let items = receipt
            .items
            .into_iter()
            .zip(prepared)
            .map(|(item, prepared)| {
                let document = match prepared {
                    Ok(prepared) if item.error.is_empty() => prepared.fill(&item.value)?,
                    _ => Vec::new(),
                };
                Ok(pb::SealedDocument {
                    signature_id: item.signature_id,
                    document: document.into(),
                    error: item.error,
                })
            });
        Ok(pb::SealDocumentsResponse {
            items: items.collect::<Result<_, PdfError>>()?,
            certificate_id: receipt.certificate_id,
        })
    }

    async fn keep(
        &self,
        db: &Db,
        who: &Who,
        request: &pb::SealDocumentsRequest,
        batch: Batch,
    ) -> Result<pb::SealReceipt, Error> {
        let (id, origin) = (&request.request_id, &who.origin);
        let call = call(
            "signature.seal_documents",
            SEAL_DOCUMENTS,
            origin,
            id,
            request,
        );
        write(db, call, batch, |tx, batch| Box::pin(batch.store(tx))).await
    }

    fn seal_prepared(
        &self,
        mut batch: Batch,
        prepared: &[Sealing],
        signer: &Arc<Signer>,
        authorities: &Authorities,
    ) -> Result<Batch, Error> {
        let format = i32::from(pb::SignatureFormat::Pades);
        for one in prepared {
            let (digest, sealed) = match one {
                Ok(prepared) => {
                    let digest = signer.hash().of(&prepared.signed());
                    let content = Content::Detached {
                        hash: digest.as_ref(),
                        signing_time: None,
                    };
                    let now = self.clock.now();
                    let value = signer.sign(content, |value| {
                        self.stamp(authorities, value, now).map(Some)
                    })?;
                    (digest.as_ref().to_vec(), Ok(value))
                }
                Err(error) => (Vec::new(), Err(error.name())),
            };
            batch.add(self.new_id(), format, &digest, sealed);
        }
        Ok(batch)
    }
}

impl Batch {
    fn new(credential: CredentialRow, who: &Who, action: &'static str, time: Timestamp) -> Self {
        let receipt = pb::SealReceipt {
            items: Vec::new(),
            certificate_id: credential.certificate_id.clone(),
            seal_time: Some(publica_rpc::timestamp(time)),
        };
        Self {
            receipt,
            rows: Vec::new(),
            credential,
            action,
            origin: who.origin.clone(),
        }
    }

    fn add(&mut self, id: String, format: i32, hash: &[u8], sealed: Result<Vec<u8>, &str>) {
        let item = match sealed {
            Ok(value) => pb::SealReceiptItem {
                signature_id: id.clone(),
                value: value.into(),
                error: String::new(),
            },
            Err(error) => {
                let error = error.to_owned();
                self.receipt.items.push(pb::SealReceiptItem {
                    error,
                    ..Default::default()
                });
                return;
            }
        };
        self.receipt.items.push(item);
        let time = self.receipt.seal_time.as_ref();
        let time = time.and_then(|time| publica_rpc::from_timestamp("seal_time", time).ok());
        self.rows.push(SignatureRow {
            signature_id: id,
            owner: self.credential.owner.clone(),
            kind: SEAL,
            format: i64::from(format),
            hash_type: i64::from(i32::from(pb::HashType::Sha2256)),
            hash: hash.to_vec(),
            certificate_id: self.credential.certificate_id.clone(),
            sign_time: time.unwrap_or(Timestamp::EPOCH),
            sealed_value: None,
            sealed_display: None,
        });
    }
}

fn check_documents(request: &pb::SealDocumentsRequest) -> Result<(), Invalid> {
    let mut invalid = Invalid::new();
    if request.documents.is_empty() || request.documents.len() > MAX_DOCUMENTS {
        invalid.push("documents", "must be 1 to 100");
    }
    let total: usize = request
        .documents
        .iter()
        .map(tokio_util::bytes::Bytes::len)
        .sum();
    if total > MAX_TOTAL {
        invalid.push("documents", "are larger than 32 MiB together");
    }
    for (name, text) in [("reason", &request.reason), ("location", &request.location)] {
        if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
            invalid.push(name, "must be at most 256 characters without controls");
        }
    }
    if invalid.is_empty() {
        Ok(())
    } else {
        Err(invalid)
    }
}

fn prepare_all(
    request: &pb::SealDocumentsRequest,
    organization: &str,
    time: Timestamp,
) -> Vec<Sealing> {
    let dictionary = Dictionary {
        time,
        name: organization,
        reason: &request.reason,
        location: &request.location,
        reserved: RESERVED,
    };
    request
        .documents
        .iter()
        .map(|document| pdf::prepare(document, dictionary))
        .collect()
}
