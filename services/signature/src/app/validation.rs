//! Judging signatures: the domain judges the bytes, the store knows what was revoked.

use publica_journal::Entry;
use publica_proto::signature::v1 as pb;
use publica_rpc::Invalid;
use publica_store::Db;
use publica_types::Timestamp;
use serde_json::json;

use crate::app::authority::Authorities;
use crate::app::certificate::{REVOKED, SEAL, SUSPENDED};
use crate::app::onetime::hash_of;
use crate::app::{App, Who};
use crate::domain::judge::{self, Indication, Revocation, Signed, Verdict};
use crate::domain::pdf::{self, Coverage, Found, Pdf};
use crate::domain::x509::name_text;
use crate::error::Error;
use crate::store::certificate;

const MAX_DOCUMENT: usize = 32 * 1024 * 1024;
/// The most signatures of one document that are judged.
const MAX_SIGNATURES: usize = 32;

impl App {
    pub(crate) async fn validate_document(
        &self,
        who: &Who,
        request: pb::ValidateDocumentRequest,
    ) -> Result<pb::ValidateDocumentResponse, Error> {
        if request.document.is_empty() || request.document.len() > MAX_DOCUMENT {
            return Err(Invalid::new()
                .add("document", "must have up to 32 MiB")
                .into());
        }
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        // Judging a large document takes a while, and other calls should not wait for it.
        let (bytes, now) = (request.document.clone(), self.clock.now());
        let known = authorities.clone();
        let judged = tokio::task::spawn_blocking(move || judge_all(&bytes, &known, now));
        let judged = judged.await.map_err(|_| Error::Interrupted)??;
        let mut signatures = Vec::with_capacity(judged.len());
        for (found, coverage, verdict) in judged {
            let (verdict, _) = self.with_status(&db, verdict, &authorities).await?;
            let mut report = report(&verdict);
            report.field = found.field;
            report.sub_filter = found.sub_filter;
            report.covers_whole_file = coverage == Coverage::WholeFile;
            signatures.push(report);
        }
        self.note(who, &signatures).await?;
        Ok(pb::ValidateDocumentResponse { signatures })
    }

    pub(crate) async fn validate_signature(
        &self,
        who: &Who,
        request: pb::ValidateSignatureRequest,
    ) -> Result<pb::ValidateSignatureResponse, Error> {
        let hash = hash_of(request.hash_type()).ok_or(Error::UnsupportedCombination)?;
        if request.hash.len() != hash.length() {
            return Err(Invalid::new().add("hash", "does not fit hash_type").into());
        }
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        let signed = Signed::Hash(hash, &request.hash);
        let now = self.clock.now();
        let verdict = judge::judge(&request.value, signed, authorities.anchors(), now);
        let (verdict, holder) = self.with_status(&db, verdict, &authorities).await?;
        let mut report = report(&verdict);
        if who.sees_holders() {
            report.holder = holder;
        }
        self.note(who, std::slice::from_ref(&report)).await?;
        Ok(pb::ValidateSignatureResponse {
            signature: Some(report),
        })
    }

    /// Adds what the store knows about the signer's certificate; and the person it was issued to,
    /// if it is a person's.
    async fn with_status(
        &self,
        db: &Db,
        mut verdict: Verdict,
        authorities: &Authorities,
    ) -> Result<(Verdict, String), Error> {
        let own = |issuer: &[u8]| issuer == authorities.issuing.subject;
        let certificate = verdict
            .certificate
            .as_ref()
            .filter(|found| own(&found.issuer));
        let Some(certificate) = certificate.filter(|_| verdict.trusted) else {
            return Ok((verdict, String::new()));
        };
        let Some(status) = certificate::status(db, &certificate.serial).await? else {
            // Signed by our authority and not on record: a restored store, or a stolen key.
            let reason = "The certificate is not on record with its authority.";
            verdict.doubt("TRY_LATER", reason);
            return Ok((verdict, String::new()));
        };
        let (state, changed, kind, owner) = status;
        match (state, changed) {
            (SUSPENDED, _) => verdict.revoked(Revocation::Suspended),
            (REVOKED, Some(time)) => verdict.revoked(Revocation::Revoked(time)),
            _ => {}
        }
        let holder = if kind == SEAL { String::new() } else { owner };
        Ok((verdict, holder))
    }

    async fn note(&self, who: &Who, reports: &[pb::SignatureReport]) -> Result<(), Error> {
        let passed = pb::Indication::TotalPassed;
        let passed = reports
            .iter()
            .filter(|report| report.indication() == passed)
            .count();
        let body = json!({"signatures": reports.len(), "passed": passed});
        let entry = Entry::new("signature.document.validated").body(body);
        Ok(self.journal.record(&who.origin, entry).await?)
    }
}

/// Judges every signature of a document; takes a while for large ones.
fn judge_all(
    bytes: &[u8],
    authorities: &Authorities,
    now: Timestamp,
) -> Result<Vec<(Found, Coverage, Verdict)>, Error> {
    let document = Pdf::open(bytes)?;
    let found = pdf::find(&document)?;
    if found.len() > MAX_SIGNATURES {
        let problem = "has more than 32 signatures";
        return Err(Invalid::new().add("document", problem).into());
    }
    let judged = found.into_iter().map(|one| {
        let coverage = one.coverage(&document);
        let verdict = judge_found(&document, &one, coverage, authorities, now);
        (one, coverage, verdict)
    });
    Ok(judged.collect())
}

fn judge_found(
    document: &Pdf<'_>,
    found: &Found,
    coverage: Coverage,
    authorities: &Authorities,
    now: Timestamp,
) -> Verdict {
    let Some(hole) = found.hole.clone() else {
        return Verdict::unreadable("The byte range does not fit the document.");
    };
    if found.sub_filter != "ETSI.CAdES.detached" && found.sub_filter != "adbe.pkcs7.detached" {
        let reason = "Signatures of this kind are not judged here.";
        let mut verdict = Verdict::unreadable(reason);
        verdict.indication = Indication::Indeterminate;
        verdict.sub_indication = "SIG_CONSTRAINTS_FAILURE";
        return verdict;
    }
    let parts = [
        &document.bytes[..hole.start],
        &document.bytes[hole.end..found.end],
    ];
    let signed = Signed::Bytes(&parts);
    let mut verdict = judge::judge(&found.contents, signed, authorities.anchors(), now);
    match coverage {
        Coverage::WholeFile => {}
        Coverage::Extended => {
            let note = "Later revisions only added signatures or validation data.";
            verdict.reasons.push(note.to_owned());
        }
        Coverage::Changed => {
            let reason = "The document was changed after this signature.";
            verdict.doubt("SIG_CONSTRAINTS_FAILURE", reason);
        }
    }
    verdict
}

fn report(verdict: &Verdict) -> pb::SignatureReport {
    let indication = match verdict.indication {
        Indication::Passed => pb::Indication::TotalPassed,
        Indication::Failed => pb::Indication::TotalFailed,
        Indication::Indeterminate => pb::Indication::Indeterminate,
    };
    let certificate = verdict.certificate.as_ref();
    pb::SignatureReport {
        indication: indication.into(),
        sub_indication: verdict.sub_indication.to_owned(),
        reasons: verdict.reasons.clone(),
        intact: verdict.intact,
        trusted: verdict.trusted,
        level: verdict.level().to_owned(),
        signer: certificate
            .map(|found| name_text(&found.subject))
            .unwrap_or_default(),
        certificate: certificate
            .map(|found| found.der.clone())
            .unwrap_or_default()
            .into(),
        timestamped: verdict.stamped.is_some(),
        timestamp_time: verdict.stamped.map(publica_rpc::timestamp),
        claimed_time: verdict.claimed.map(publica_rpc::timestamp),
        ..pb::SignatureReport::default()
    }
}
