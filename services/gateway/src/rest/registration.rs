//! The registration surface as GovStack publishes it, and the native paths beside it.

mod answer;
mod applications;
mod catalog;
mod documents;
mod error;
mod statistics;
mod tasks;

use axum::Router;
use axum::http::{HeaderMap, Method};
use axum::routing::{get, post};

use crate::description::Operation;
use crate::rest::Surface;
use crate::state::GatewayState;

use error::SystemError;

/// The surface.
pub(crate) const SURFACE: Surface = Surface {
    block: "registration",
    router,
    operations: OPERATIONS,
    services: &[
        "publica.registration.v1.CatalogService",
        "publica.registration.v1.ApplicationService",
        "publica.registration.v1.TaskService",
        "publica.registration.v1.DocumentService",
        "publica.registration.v1.StatisticsService",
        "publica.registration.v1.RegistryService",
    ],
};

const OPERATIONS: &[Operation] = &[
    Operation::published("GET", "/services", "Services that can be applied for"),
    Operation::published("GET", "/services/{serviceId}", "One service"),
    Operation::published(
        "GET",
        "/services/{serviceId}/eForms",
        "The forms of a service",
    ),
    Operation::published("GET", "/eForms/{eFormId}", "One form with its schema"),
    Operation::published(
        "POST",
        "/services/{serviceId}/applications",
        "Submit an application",
    ),
    Operation::published("POST", "/documents", "Upload documents"),
    Operation::native("GET", "/documents/{documentId}", "Read a document"),
    Operation::published("GET", "/applications", "Application files"),
    Operation::published("GET", "/applications/{fileId}", "One application file"),
    Operation::published(
        "PUT",
        "/applications/{fileId}",
        "Change an application file",
    ),
    Operation::published("GET", "/tasks", "Tasks of operators"),
    Operation::published("GET", "/tasks/{taskId}", "One task with the form's data"),
    Operation::published("POST", "/tasks/{taskId}/complete", "Decide a task"),
    Operation::published("GET", "/data/statistics", "Counts of decisions"),
    Operation::published("GET", "/data/statistics/1.0", "Counts of decisions"),
    Operation::native(
        "POST",
        "/api/v1/services",
        "Publish the definition of a service",
    ),
    Operation::native(
        "POST",
        "/api/v1/services/{serviceId}/open",
        "Open or close a service",
    ),
    Operation::native(
        "POST",
        "/api/v1/applications/{fileId}/withdraw",
        "Withdraw a file",
    ),
    Operation::native(
        "GET",
        "/api/v1/applications/{fileId}/events",
        "The history of a file",
    ),
    Operation::native(
        "POST",
        "/api/v1/tasks/{taskId}/claim",
        "Take a task, or give it back",
    ),
    Operation::native(
        "POST",
        "/api/v1/registers/{register}/read",
        "Read a register entry",
    ),
];

/// Uploads carry several documents in one body.
const UPLOAD_LIMIT: usize = 16 * 1024 * 1024;

fn router(state: GatewayState) -> Router {
    published()
        .merge(native())
        .method_not_allowed_fallback(|method: Method, headers: HeaderMap| async move {
            SystemError::method_not_allowed(&method)
                .traced(&headers)
                .answer()
        })
        .fallback(|headers: HeaderMap| async move {
            SystemError::not_found("path_not_found")
                .traced(&headers)
                .answer()
        })
        .with_state(state)
}

/// The published paths. A verb that an item does not have is looked at only once the item is
/// known to exist: 404 wins over 405.
fn published() -> Router<GatewayState> {
    Router::new()
        .route("/services", get(catalog::list))
        .route(
            "/services/{serviceId}",
            get(catalog::read).fallback(catalog::other_method_of_service),
        )
        .route(
            "/services/{serviceId}/eForms",
            get(catalog::forms).fallback(catalog::other_method_of_service),
        )
        .route(
            "/eForms/{eFormId}",
            get(catalog::form).fallback(catalog::other_method_of_form),
        )
        .route(
            "/services/{serviceId}/applications",
            post(applications::submit).fallback(catalog::other_method_of_service),
        )
        .route("/documents", post(documents::upload))
        .route("/documents/{documentId}", get(documents::read))
        .route("/applications", get(applications::list))
        .route(
            "/applications/{fileId}",
            get(applications::read)
                .put(applications::update)
                .fallback(applications::other_method),
        )
        .route("/tasks", get(tasks::list))
        .route(
            "/tasks/{taskId}",
            get(tasks::read).fallback(tasks::other_method),
        )
        .route(
            "/tasks/{taskId}/complete",
            post(tasks::complete).fallback(tasks::other_method),
        )
        .route("/data/statistics", get(statistics::read))
        .route("/data/statistics/1.0", get(statistics::read))
}

fn native() -> Router<GatewayState> {
    Router::new()
        .route("/api/v1/services", post(catalog::publish))
        .route("/api/v1/services/{serviceId}/open", post(catalog::open))
        .route(
            "/api/v1/applications/{fileId}/withdraw",
            post(applications::withdraw),
        )
        .route(
            "/api/v1/applications/{fileId}/events",
            get(applications::events),
        )
        .route("/api/v1/tasks/{taskId}/claim", post(tasks::claim))
        .route(
            "/api/v1/registers/{register}/read",
            post(applications::read_register),
        )
}
