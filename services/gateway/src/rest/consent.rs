//! The consent surface as GovStack publishes it, and the native paths beside it.
//!
//! Every published path ends in a slash; both forms are served, at the root and below `/api`.

mod agreements;
mod audit;
mod call;
mod delegations;
mod error;
mod export;
mod individuals;
mod input;
mod native;
mod output;
mod policies;
mod reading;
mod records;
mod register;
mod strict;
mod verification;
mod webhooks;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use crate::description::Operation;
use crate::rest::Surface;
use crate::state::GatewayState;

use call::on;
use error::{Fault, trace_id};

/// The surface.
pub(crate) const SURFACE: Surface = Surface {
    block: "consent",
    router,
    operations: OPERATIONS,
    services: &[
        "publica.consent.v1.ConsentService",
        "publica.consent.v1.PolicyService",
        "publica.consent.v1.DataAgreementService",
        "publica.consent.v1.IndividualService",
        "publica.consent.v1.ConsentRecordService",
        "publica.consent.v1.DelegationService",
        "publica.consent.v1.RevisionService",
    ],
};

macro_rules! operations {
    ($($kind:ident $method:literal $path:literal $summary:literal;)*) => {
        const OPERATIONS: &[Operation] = &[$(Operation::$kind($method, $path, $summary)),*];
    };
}

operations! {
    published "POST" "/config/policy/" "Create a policy";
    published "GET" "/config/policy/{policyId}/" "Read a policy, or a revision of it";
    published "PUT" "/config/policy/{policyId}/" "Replace a policy";
    published "DELETE" "/config/policy/{policyId}/" "Delete a policy";
    published "GET" "/config/policy/{policyId}/revisions/" "Revisions of a policy";
    published "GET" "/config/policies/" "Policies";
    published "POST" "/config/data-agreement/" "Create a data agreement";
    published "GET" "/config/data-agreement/{dataAgreementId}/" "Read a data agreement";
    published "PUT" "/config/data-agreement/{dataAgreementId}/" "Replace a data agreement";
    published "DELETE" "/config/data-agreement/{dataAgreementId}/" "End a data agreement";
    published "GET" "/config/data-agreements/" "Data agreements";
    published "POST" "/config/individual/" "Create an individual";
    published "GET" "/config/individual/{individualId}/" "Read an individual";
    published "GET" "/config/individuals/" "Individuals";
    published "POST" "/config/webhook/" "Create a webhook";
    published "GET" "/config/webhook/{webhookId}/" "Read a webhook";
    published "PUT" "/config/webhook/{webhookId}/" "Replace a webhook";
    published "DELETE" "/config/webhook/{webhookId}/" "Delete a webhook";
    published "GET" "/config/webhooks/" "Webhooks";
    published "POST" "/service/individual/" "Create an individual";
    published "GET" "/service/individual/{individualId}/" "Read an individual";
    published "PUT" "/service/individual/{individualId}/" "Replace an individual";
    published "GET" "/service/individuals/" "Individuals";
    published "GET" "/service/data-agreement/{dataAgreementId}/" "The published agreement";
    published "GET" "/service/policy/{policyId}/" "The policy behind an agreement";
    published "GET" "/service/verification/data-agreements/" "Published agreements";
    published "GET" "/service/verification/consent-records/" "Whether consent exists";
    published "GET" "/service/verification/consent-record/{consentRecordId}/" "One record";
    published "POST" "/service/individual/record/data-agreement/{dataAgreementId}/"
        "Opt in, unsigned";
    published "GET" "/service/individual/record/data-agreement/{dataAgreementId}/"
        "The current record under an agreement";
    published "GET" "/service/individual/record/data-agreement/{dataAgreementId}/all/"
        "Every record under an agreement";
    published "POST" "/service/individual/record/consent-record/draft/" "Draft a pair to sign";
    published "POST" "/service/individual/record/consent-record/" "Store a signed pair";
    published "GET" "/service/individual/record/consent-record/" "Current records";
    published "PUT" "/service/individual/record/consent-record/{consentRecordId}/"
        "Change an answer";
    published "POST" "/service/individual/record/consent-record/{consentRecordId}/signature/"
        "Draft a signature";
    published "PUT" "/service/individual/record/consent-record/{consentRecordId}/signature/"
        "Attach a signature";
    published "DELETE" "/service/individual/record/" "Forget the individual";
    published "GET" "/audit/consent-records/" "Records, for auditors";
    published "GET" "/audit/consent-record/{consentRecordId}/" "One record, for auditors";
    published "GET" "/audit/data-agreements/" "Agreements, for auditors";
    published "GET" "/audit/data-agreement/{dataAgreementId}/" "One agreement, for auditors";
    native "GET" "/config/data-agreement/{dataAgreementId}/revisions/" "Its revisions";
    native "GET" "/config/data-agreement/{dataAgreementId}/attributes/" "Its attributes";
    native "POST" "/config/data-agreement/{dataAgreementId}/attributes/"
        "Add an attribute to the next draft";
    native "GET" "/config/controllers/" "Organisations that agreements name";
    native "GET" "/config/controller/{controllerId}/" "One of them";
    native "GET" "/config/data-agreement/{dataAgreementId}/compare/"
        "What differs between two revisions, and what needs new answers";
    native "GET" "/config/data-agreement/{dataAgreementId}/gaps/"
        "What publication and receipts lack";
    native "POST" "/config/data-agreement/{dataAgreementId}/publish/" "Publish the draft";
    native "POST" "/config/data-agreement/{dataAgreementId}/approve/" "Approve the draft";
    native "GET" "/config/lifecycles/" "Stages of an agreement's life";
    native "GET" "/config/lifecycle/{lifecycleId}/" "One of them";
    native "GET" "/config/webhooks/event-types/" "Events that webhooks can subscribe to";
    native "POST" "/config/webhook/{webhookId}/rotate-secret/" "A new signing secret";
    native "GET" "/config/webhook/{webhookId}/deliveries/" "Its deliveries, good ones too";
    native "POST" "/config/webhook/{webhookId}/ping/" "Try it";
    native "POST" "/config/webhook/{webhookId}/deliveries/{deliveryId}/redeliver/"
        "Send one of them again";
    native "POST" "/config/webhook/{webhookId}/replay/" "Send a stretch of time again";
    native "DELETE" "/service/individual/{individualId}/"
        "Erase a person, as far as nothing must be kept";
    native "GET" "/service/individual/{individualId}/keys/" "Keys that the person signs with";
    native "POST" "/service/individual/{individualId}/keys/" "Register a key";
    native "DELETE" "/service/individual/{individualId}/keys/{keyId}/" "Revoke a key";
    native "POST" "/service/delegation/" "Let somebody act for a person";
    native "GET" "/service/delegations/" "Who may act for a person";
    native "GET" "/service/delegation/{delegationId}/" "One delegation";
    native "DELETE" "/service/delegation/{delegationId}/" "End a delegation";
    native "GET" "/service/individual/export/" "Everything about a person";
    native "GET" "/service/individual/record/history/" "What happened, and who used data";
    native "GET" "/audit/export/" "Records, a line each";
    native "GET" "/audit/register/" "Processing activities, as agreements tell them";
    native "GET" "/audit/chain/head/" "The signed head of the log";
    native "GET" "/audit/admin-log/" "Entries of the log";
    native "GET" "/service/individual/notifications/" "Whether changes are told";
    native "PUT" "/service/individual/notifications/" "Switch change notices on or off";
    native "GET" "/service/individual/record/consent-record/{consentRecordId}/receipt/"
        "A receipt";
    native "POST" "/service/verification/check/" "May this data be used now?";
    native "POST" "/service/verification/check-batch/" "Several such questions";
    native "GET" "/audit/revisions/" "Revisions of all objects";
    native "GET" "/audit/revision/{revisionId}/verify/" "Verify the chain of a revision";
    native "GET" "/audit/consent-record/{consentRecordId}/verify/" "Verify a record's chain";
    native "POST" "/v1/decisions" "May this data be used now?";
    native "GET" "/v1/revocations" "What was revoked after a cursor";
    native "GET" "/v1/keys" "Keys that verify decisions and receipts";
    native "POST" "/v1/individuals:batch" "Create individuals with their keys";
    native "POST" "/v1/records:batch" "Store signed pairs";
}

/// Adds a path with and without the slash at its end.
fn both(
    router: Router<GatewayState>,
    path: &str,
    methods: MethodRouter<GatewayState>,
) -> Router<GatewayState> {
    let bare = path.strip_suffix('/').unwrap_or(path);
    router.route(path, methods.clone()).route(bare, methods)
}

fn config() -> Vec<(&'static str, MethodRouter<GatewayState>)> {
    vec![
        ("/config/policy/", post(on(policies::create))),
        (
            "/config/policy/{policyId}/",
            get(on(policies::read))
                .put(on(policies::replace))
                .delete(on(policies::delete)),
        ),
        (
            "/config/policy/{policyId}/revisions/",
            get(on(policies::revisions)),
        ),
        ("/config/policies/", get(on(policies::list))),
        ("/config/data-agreement/", post(on(agreements::create))),
        (
            "/config/data-agreement/{dataAgreementId}/",
            get(on(agreements::read))
                .put(on(agreements::replace))
                .delete(on(agreements::end)),
        ),
        (
            "/config/data-agreement/{dataAgreementId}/revisions/",
            get(on(agreements::revisions)),
        ),
        (
            "/config/data-agreement/{dataAgreementId}/attributes/",
            get(on(agreements::attributes)).post(on(agreements::add_attribute)),
        ),
        (
            "/config/data-agreement/{dataAgreementId}/compare/",
            get(on(agreements::compare)),
        ),
        (
            "/config/data-agreement/{dataAgreementId}/gaps/",
            get(on(agreements::gaps)),
        ),
        (
            "/config/data-agreement/{dataAgreementId}/publish/",
            post(on(agreements::publish)),
        ),
        (
            "/config/data-agreement/{dataAgreementId}/approve/",
            post(on(agreements::approve)),
        ),
        ("/config/data-agreements/", get(on(agreements::list))),
        ("/config/individual/", post(on(individuals::create))),
        (
            "/config/individual/{individualId}/",
            get(on(individuals::read)),
        ),
        ("/config/individuals/", get(on(individuals::list))),
        ("/config/webhook/", post(on(webhooks::create))),
        (
            "/config/webhook/{webhookId}/",
            get(on(webhooks::read))
                .put(on(webhooks::replace))
                .delete(on(webhooks::delete)),
        ),
        ("/config/webhooks/", get(on(webhooks::list))),
        (
            "/config/webhooks/event-types/",
            get(on(webhooks::event_types)),
        ),
        (
            "/config/webhook/{webhookId}/rotate-secret/",
            post(on(webhooks::rotate)),
        ),
        (
            "/config/webhook/{webhookId}/ping/",
            post(on(webhooks::ping)),
        ),
        (
            "/config/webhook/{webhookId}/deliveries/",
            get(on(webhooks::deliveries)),
        ),
        (
            "/config/webhook/{webhookId}/deliveries/{deliveryId}/redeliver/",
            post(on(webhooks::redeliver)),
        ),
        (
            "/config/webhook/{webhookId}/replay/",
            post(on(webhooks::replay)),
        ),
        ("/config/controllers/", get(on(agreements::controllers))),
        (
            "/config/controller/{controllerId}/",
            get(on(agreements::controller)),
        ),
        ("/config/lifecycles/", get(on(agreements::lifecycles))),
        (
            "/config/lifecycle/{lifecycleId}/",
            get(on(agreements::lifecycle)),
        ),
    ]
}

fn service() -> Vec<(&'static str, MethodRouter<GatewayState>)> {
    vec![
        ("/service/individual/", post(on(individuals::create))),
        (
            "/service/individual/notifications/",
            get(on(individuals::preference)).put(on(individuals::set_preference)),
        ),
        ("/service/individual/export/", get(on(export::person))),
        (
            "/service/individual/{individualId}/",
            get(on(individuals::read))
                .put(on(individuals::replace))
                .delete(on(individuals::erase)),
        ),
        (
            "/service/individual/{individualId}/keys/",
            get(on(individuals::keys)).post(on(individuals::add_key)),
        ),
        (
            "/service/individual/{individualId}/keys/{keyId}/",
            axum::routing::delete(on(individuals::revoke_key)),
        ),
        ("/service/individuals/", get(on(individuals::list))),
        ("/service/delegation/", post(on(delegations::create))),
        ("/service/delegations/", get(on(delegations::list))),
        (
            "/service/delegation/{delegationId}/",
            get(on(delegations::read)).delete(on(delegations::end)),
        ),
        (
            "/service/data-agreement/{dataAgreementId}/",
            get(on(agreements::read_published)),
        ),
        ("/service/policy/{policyId}/", get(on(policies::read))),
        (
            "/service/verification/data-agreements/",
            get(on(verification::agreements)),
        ),
        (
            "/service/verification/consent-records/",
            get(on(verification::records)),
        ),
        (
            "/service/verification/consent-record/{consentRecordId}/",
            get(on(verification::record)),
        ),
        (
            "/service/verification/check/",
            post(on(verification::check)),
        ),
        (
            "/service/verification/check-batch/",
            post(on(verification::check_batch)),
        ),
    ]
}

fn answers() -> Vec<(&'static str, MethodRouter<GatewayState>)> {
    vec![
        (
            "/service/individual/record/",
            axum::routing::delete(on(records::erase)),
        ),
        (
            "/service/individual/record/history/",
            get(on(export::history)),
        ),
        (
            "/service/individual/record/data-agreement/{dataAgreementId}/",
            get(on(records::current)).post(on(records::opt_in)),
        ),
        (
            "/service/individual/record/data-agreement/{dataAgreementId}/all/",
            get(on(records::all_of_agreement)),
        ),
        (
            "/service/individual/record/consent-record/draft/",
            post(on(records::draft)),
        ),
        (
            "/service/individual/record/consent-record/",
            get(on(records::list)).post(on(records::sign)),
        ),
        (
            "/service/individual/record/consent-record/{consentRecordId}/",
            axum::routing::put(on(records::change)),
        ),
        (
            "/service/individual/record/consent-record/{consentRecordId}/signature/",
            post(on(records::draft_signature)).put(on(records::attach)),
        ),
        (
            "/service/individual/record/consent-record/{consentRecordId}/receipt/",
            get(on(records::receipt)),
        ),
    ]
}

fn auditing() -> Vec<(&'static str, MethodRouter<GatewayState>)> {
    vec![
        ("/audit/consent-records/", get(on(audit::records))),
        (
            "/audit/consent-record/{consentRecordId}/",
            get(on(audit::record)),
        ),
        (
            "/audit/consent-record/{consentRecordId}/verify/",
            get(on(audit::verify_record)),
        ),
        ("/audit/data-agreements/", get(on(audit::agreements))),
        (
            "/audit/data-agreement/{dataAgreementId}/",
            get(on(audit::agreement)),
        ),
        ("/audit/revisions/", get(on(audit::revisions))),
        ("/audit/export/", get(on(export::audit))),
        ("/audit/register/", get(on(register::list))),
        ("/audit/chain/head/", get(on(export::head))),
        ("/audit/admin-log/", get(on(export::log))),
        (
            "/audit/revision/{revisionId}/verify/",
            get(on(audit::verify_revision)),
        ),
    ]
}

fn router(state: GatewayState) -> Router {
    let published = config()
        .into_iter()
        .chain(service())
        .chain(answers())
        .chain(auditing());
    let published = published
        .fold(Router::new(), |router, (path, methods)| {
            both(router, path, methods)
        })
        .method_not_allowed_fallback(wrong_method);
    Router::new()
        .nest("/api", published.clone())
        .merge(published)
        .route("/v1/decisions", post(native::decide))
        .route("/v1/revocations", axum::routing::get(native::revocations))
        .route("/v1/keys", axum::routing::get(native::keys))
        .route("/v1/individuals:batch", post(native::create_individuals))
        .route("/v1/records:batch", post(native::sign_records))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_here)
        .layer(axum::middleware::from_fn(strict::on_request))
        // Answers are about people; no cache on the way may keep them.
        .layer(axum::middleware::map_response(
            |mut response: Response| async move {
                let keep_out = HeaderValue::from_static("no-store");
                response
                    .headers_mut()
                    .insert(header::CACHE_CONTROL, keep_out);
                response
            },
        ))
        .with_state(state)
}

async fn wrong_method(method: Method, headers: HeaderMap) -> Response {
    let text = format!("the method {method} is not offered here");
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
        .answer(&trace_id(&headers))
}

/// An id that no path can hold ends here as well, so it is a bad request like any other.
async fn nothing_here(headers: HeaderMap) -> Response {
    let text = "there is nothing at this path";
    Fault::new(StatusCode::BAD_REQUEST, "path_not_found", text).answer(&trace_id(&headers))
}
