//! The strict form: answers that hold the published members alone. A client asks for it with
//! `Prefer: handling=strict` (RFC 7240), a listener of its own with its settings.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::{Map, Value};

use super::OPERATIONS;
use crate::description::Operation;

/// The largest answer that is rewritten; a page of records with their texts.
const MAX_ANSWER: usize = 64 * 1_024 * 1_024;

const INDIVIDUAL: &[&str] = &["id", "externalId", "externalIdType", "identityProviderId"];
const POLICY: &[&str] = &[
    "id",
    "name",
    "version",
    "url",
    "jurisdiction",
    "industrySector",
    "dataRetentionPeriodDays",
    "geographicRestriction",
    "storageLocation",
];
const AGREEMENT: &[&str] = &[
    "id",
    "version",
    "controller",
    "policy",
    "purpose",
    "lawfulBasis",
    "dataUse",
    "dpia",
    "active",
    "forgettable",
    "compatibleWithVersion",
    "lifecycle",
    "signature",
];
const RECORD: &[&str] = &[
    "id",
    "dataAgreement",
    "dataAgreementRevision",
    "dataAgreementRevisionHash",
    "individual",
    "optIn",
    "state",
    "signature",
];
const REVISION: &[&str] = &[
    "id",
    "schemaName",
    "objectId",
    "signedWithoutObjectId",
    "serializedSnapshot",
    "serializedHash",
    "timestamp",
    "authorizedByIndividual",
    "authorizedByOther",
    "successor",
    "predecessorHash",
    "predecessorSignature",
];
const SIGNATURE: &[&str] = &[
    "id",
    "payload",
    "signature",
    "verificationMethod",
    "verificationPayload",
    "verificationPayloadHash",
    "verificationArtifact",
    "verificationSignedBy",
    "verificationSignedAs",
    "verificationJwsHeader",
    "timestamp",
    "signedWithoutObjectReference",
    "objectType",
    "objectReference",
];
const WEBHOOK: &[&str] = &["id", "payloadUrl", "contentType", "disabled", "secretKey"];

/// The published members of what stands under a name; none for what is not an object.
fn members_of(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "individual" | "individuals" | "authorizedByIndividual" => INDIVIDUAL,
        "policy" | "policies" => POLICY,
        "dataAgreement" | "dataAgreements" | "compatibleWithVersion" => AGREEMENT,
        "consentRecord" | "consentRecords" => RECORD,
        "revision" | "dataAgreementRevision" | "successor" => REVISION,
        "signature" => SIGNATURE,
        "webhook" | "webhooks" => WEBHOOK,
        "controller" => &["id", "name", "url"],
        "lifecycle" => &["id", "name"],
        _ => return None,
    })
}

/// What an answer of a published operation is wrapped in.
fn wrappers(operation: &Operation) -> &'static [&'static str] {
    match (operation.method, operation.path) {
        ("DELETE", "/config/webhook/{webhookId}/" | "/service/individual/record/") => &[],
        ("DELETE", _) => &["revision"],
        (_, "/config/policies/") => &["policies"],
        (_, "/config/policy/{policyId}/revisions/") => &["policy"],
        // Printed in the singular.
        (_, "/config/data-agreements/" | "/audit/data-agreement/{dataAgreementId}/") => {
            &["dataAgreement"]
        }
        (_, "/service/verification/data-agreements/" | "/audit/data-agreements/") => {
            &["dataAgreements"]
        }
        (_, "/config/individuals/" | "/service/individuals/") => &["individuals"],
        (_, "/config/webhooks/") => &["webhooks"],
        (
            _,
            "/service/verification/consent-records/"
            | "/audit/consent-records/"
            | "/service/individual/record/data-agreement/{dataAgreementId}/all/",
        )
        | ("GET", "/service/individual/record/consent-record/") => &["consentRecords"],
        (_, "/audit/consent-record/{consentRecordId}/")
        | ("GET", "/service/individual/record/data-agreement/{dataAgreementId}/") => {
            &["consentRecord"]
        }
        (_, "/service/individual/record/consent-record/draft/") => &["consentRecord", "signature"],
        (_, "/service/individual/record/consent-record/") => {
            &["consentRecord", "revision", "signature"]
        }
        (_, path) if path.ends_with("/signature/") => &["signature"],
        (_, path) if path.contains("/webhook/") => &["webhook"],
        (_, path) if path.contains("/policy/") => &["policy", "revision"],
        (_, path) if path.contains("record") => &["consentRecord", "revision"],
        (_, path) if path.contains("/data-agreement/") => &["dataAgreement", "revision"],
        _ => &["individual"],
    }
}

/// The operation that a request asks for, if it is a published one.
fn published(method: &str, path: &str) -> Option<&'static Operation> {
    let path = path.strip_prefix("/api").unwrap_or(path).trim_matches('/');
    let asked: Vec<&str> = path.split('/').collect();
    let fits = |one: &&Operation| {
        let parts: Vec<&str> = one.path.trim_matches('/').split('/').collect();
        let mut pairs = parts.iter().zip(&asked);
        parts.len() == asked.len()
            && pairs.all(|(part, word)| part.starts_with('{') || part == word)
    };
    let same_method = OPERATIONS.iter().filter(|one| one.method == method);
    // A path that is spelt out wins over one with a parameter, as in the router.
    let best = same_method
        .filter(fits)
        .min_by_key(|one| one.path.matches('{').count());
    best.filter(|one| one.published)
}

fn prefers_strict(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim().eq_ignore_ascii_case("handling=strict"))
}

/// Leaves out what is not published.
fn prune(value: &mut Value, members: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, members)),
        Value::Object(object) => {
            object.retain(|name, _| members.contains(&name.as_str()));
            descend(object);
        }
        _ => {}
    }
}

fn descend(object: &mut Map<String, Value>) {
    for (name, value) in object.iter_mut() {
        if let Some(members) = members_of(name) {
            prune(value, members);
        }
    }
}

/// Answers in the strict form where the request asks for it.
pub(crate) async fn on_request(request: Request, next: Next) -> Response {
    let operation = prefers_strict(request.headers())
        .then(|| published(request.method().as_str(), request.uri().path()))
        .flatten();
    let response = next.run(request).await;
    let Some(operation) = operation.filter(|_| response.status() == StatusCode::OK) else {
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, MAX_ANSWER).await else {
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        return Response::from_parts(parts, Body::empty());
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    prune(&mut value, wrappers(operation));
    parts.headers.remove(header::CONTENT_LENGTH);
    let applied = HeaderValue::from_static("handling=strict");
    parts.headers.insert("preference-applied", applied);
    Response::from_parts(parts, Body::from(value.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn published_operations_are_told_from_native_ones() {
        let found = |method, path| published(method, path).map(|one| one.path);
        for (method, path, expected) in [
            (
                "GET",
                "/api/config/policy/1/",
                Some("/config/policy/{policyId}/"),
            ),
            (
                "GET",
                "/config/policy/1",
                Some("/config/policy/{policyId}/"),
            ),
            ("GET", "/service/individual/notifications/", None),
            ("POST", "/config/data-agreement/1/publish/", None),
            (
                "POST",
                "/service/individual/record/consent-record/draft/",
                Some("/service/individual/record/consent-record/draft/"),
            ),
            ("PATCH", "/config/policies/", None),
        ] {
            assert_eq!(found(method, path), expected, "{path}");
        }
    }

    #[test]
    fn every_published_operation_has_known_wrappers() {
        for one in OPERATIONS.iter().filter(|one| one.published) {
            for wrapper in wrappers(one) {
                assert!(members_of(wrapper).is_some(), "{} {}", one.path, wrapper);
            }
        }
    }

    #[test]
    fn what_is_not_published_is_left_out_at_every_depth() {
        let mut value = json!({"consentRecord": {"id": "1", "individualId": "7", "optIn": true,
            "individual": {"id": "7", "timestamp": "x"},
            "signature": {"signature": "s", "extra": 1},
            "dataAgreement": {"id": "2", "policyId": "3", "policy": {"id": "3", "language": "en"}}},
            "pagination": {}});
        prune(&mut value, &["consentRecord"]);
        let expected = json!({"consentRecord": {"id": "1", "optIn": true,
            "individual": {"id": "7"}, "signature": {"signature": "s"},
            "dataAgreement": {"id": "2", "policy": {"id": "3"}}}});
        assert_eq!(value, expected);
    }

    #[test]
    fn the_preference_is_read_among_others() {
        let mut headers = HeaderMap::new();
        assert!(!prefers_strict(&headers));
        headers.insert(
            "prefer",
            HeaderValue::from_static("wait=5, Handling=Strict"),
        );
        assert!(prefers_strict(&headers));
    }
}
