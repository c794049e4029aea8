//! One request of this surface, and the way from it to the block.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_auth::CallerKind;
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_proto::consent::v1::data_agreement_service_client::DataAgreementServiceClient;
use publica_proto::consent::v1::delegation_service_client::DelegationServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::consent::v1::policy_service_client::PolicyServiceClient;
use publica_proto::consent::v1::revision_service_client::RevisionServiceClient;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::journal::v1::webhook_service_client::WebhookServiceClient;
use publica_rpc::Link;
use serde_json::{Map, Value, json};

use super::error::{Fault, trace_id};
use super::input;
use crate::body::{BodyFault, Params, QueryPairs, is_json, read};
use crate::convert::idempotency_key;
use crate::state::{Entry, GatewayState};

/// The header that names the person.
const INDIVIDUAL: &str = "x-consentbb-individualid";
/// The largest body; a signature may carry a snapshot of 256 KiB twice.
const BODY_LIMIT: usize = 1_024 * 1_024;
/// Rows of a page when the caller does not say, and at most.
const LIMIT_DEFAULT: i32 = 100;
const LIMIT_MAX: i32 = 1_000;
/// The largest answer of the block: a page of records with their texts.
const MAX_MESSAGE: usize = 64 * 1_024 * 1_024;

/// What a handler answers.
pub(crate) type Answer = Result<Response, Fault>;

/// A request, taken apart.
pub(crate) struct Call {
    pub(crate) state: GatewayState,
    pub(crate) headers: HeaderMap,
    params: Params,
    pub(crate) query: QueryPairs,
    body: Result<Bytes, BodyFault>,
}

impl FromRequest<GatewayState> for Call {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, state: &GatewayState) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let params = Params::from_request_parts(&mut parts, state)
            .await
            .unwrap_or_default();
        let query = QueryPairs::parse(parts.uri.query().unwrap_or_default());
        let headers = parts.headers.clone();
        let body = read(Request::from_parts(parts, body), BODY_LIMIT).await;
        Ok(Self {
            state: state.clone(),
            headers,
            params,
            query,
            body,
        })
    }
}

/// A handler, its faults answered in this surface's shape.
pub(crate) fn on<F, Fut>(
    handler: F,
) -> impl Fn(Call) -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>>
+ Clone
+ Send
+ Sync
+ 'static
where
    F: Fn(Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    move |call: Call| {
        let handler = handler.clone();
        Box::pin(async move {
            let trace = trace_id(&call.headers);
            handler(call)
                .await
                .unwrap_or_else(|fault| fault.answer(&trace))
        })
    }
}

impl Call {
    /// Finds out who calls.
    pub(crate) async fn enter(&self) -> Result<Entry, Fault> {
        Ok(self.state.enter(&self.headers).await?)
    }

    /// An id from the path, refused before the block is asked.
    pub(crate) fn id(&self, name: &str) -> Result<String, Fault> {
        let id = self.params.get(name).unwrap_or_default();
        check_id(name, id)?;
        Ok(id.to_owned())
    }

    /// An id from the query; empty when it is not there.
    pub(crate) fn query_id(&self, name: &str) -> Result<String, Fault> {
        match self.query.get(name) {
            None | Some("") => Ok(String::new()),
            Some(id) => {
                check_id(name, id)?;
                Ok(id.to_owned())
            }
        }
    }

    /// A text from the query; empty when it is not there.
    pub(crate) fn text(&self, name: &str) -> String {
        self.query.get(name).unwrap_or_default().to_owned()
    }

    /// A flag from the query.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        match self.query.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("") => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(Fault::member(name, "must be true or false")),
        }
    }

    /// A time from the query.
    pub(crate) fn time(&self, name: &str) -> Result<Option<prost_types::Timestamp>, Fault> {
        match self.query.get(name) {
            None | Some("") => Ok(None),
            Some(text) => crate::convert::parse_rfc3339(text)
                .map(Some)
                .ok_or_else(|| Fault::member(name, "must be a time such as 2026-01-31T12:00:00Z")),
        }
    }

    /// The order that the query asks for.
    pub(crate) fn order(&self) -> Result<i32, Fault> {
        match self.query.get("sort").unwrap_or_default() {
            "" | "desc" | "-timestamp" => Ok(pb::SortOrder::Descending.into()),
            "asc" | "timestamp" => Ok(pb::SortOrder::Ascending.into()),
            _ => Err(Fault::member("sort", "must be asc or desc")),
        }
    }

    /// The body as a JSON object.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Fault> {
        let bytes = self.body.clone()?;
        self.need_json()?;
        input::object(&bytes)
    }

    /// Refuses a body that says it is something else. One that says nothing is read as JSON.
    fn need_json(&self) -> Result<(), Fault> {
        if is_json(&self.headers) {
            return Ok(());
        }
        let text = "the body must be application/json";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Err(Fault::new(status, "unsupported_media_type", text))
    }

    /// The body as a JSON object; nothing at all counts as an empty one.
    pub(crate) fn optional_object(&self) -> Result<Map<String, Value>, Fault> {
        let bytes = self.body.clone()?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        self.need_json()?;
        input::object(&bytes)
    }

    /// The body as form fields, if that is what it is.
    pub(crate) fn form(&self) -> Option<QueryPairs> {
        let kind = self.headers.get("content-type")?.to_str().ok()?;
        if !kind
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded")
        {
            return None;
        }
        let bytes = self.body.as_ref().ok()?;
        Some(QueryPairs::parse(std::str::from_utf8(bytes).ok()?))
    }

    /// The name that makes the call repeatable.
    pub(crate) fn request_id(&self) -> String {
        idempotency_key(&self.headers).unwrap_or_default()
    }

    /// The revision that the caller believes to be the latest.
    pub(crate) fn etag(&self) -> String {
        let value = self
            .headers
            .get("if-match")
            .and_then(|value| value.to_str().ok());
        value.unwrap_or_default().trim_matches('"').to_owned()
    }

    /// The person that the call is about: named in the header, the query, or by being the
    /// caller. What is named more than once must agree.
    pub(crate) fn individual(&self, entry: &Entry) -> Result<String, Fault> {
        let header = self
            .headers
            .get(INDIVIDUAL)
            .map(|value| value.to_str().unwrap_or("?"));
        let query = self.query.get("individualId").filter(|id| !id.is_empty());
        let named = match (header, query) {
            (Some(header), Some(query)) if header != query => {
                let text = "header and query name different individuals";
                return Err(Fault::bad("individual_mismatch", text));
            }
            (header, query) => header.or(query),
        };
        if let Some(id) = named {
            check_id("individualId", id)?;
            return Ok(id.to_owned());
        }
        let caller = entry.caller();
        if caller.kind == CallerKind::Person && !caller.allows("consent:record:write") {
            return Ok(caller.subject.clone());
        }
        let text = "an individual must be named in X-ConsentBB-IndividualId or individualId";
        Err(Fault::bad("individual_required", text))
    }

    fn link(&self) -> Link {
        self.state.link("consent")
    }

    pub(crate) fn policies(&self) -> PolicyServiceClient<Link> {
        PolicyServiceClient::new(self.link()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn agreements(&self) -> DataAgreementServiceClient<Link> {
        DataAgreementServiceClient::new(self.link()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn people(&self) -> IndividualServiceClient<Link> {
        IndividualServiceClient::new(self.link()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn records(&self) -> ConsentRecordServiceClient<Link> {
        ConsentRecordServiceClient::new(self.link()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn delegations(&self) -> DelegationServiceClient<Link> {
        DelegationServiceClient::new(self.link())
    }

    pub(crate) fn revisions(&self) -> RevisionServiceClient<Link> {
        RevisionServiceClient::new(self.link()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn decisions(&self) -> ConsentServiceClient<Link> {
        ConsentServiceClient::new(self.link())
    }

    pub(crate) fn journal(&self) -> JournalServiceClient<Link> {
        JournalServiceClient::new(self.link())
    }

    pub(crate) fn webhooks(&self) -> WebhookServiceClient<Link> {
        WebhookServiceClient::new(self.link())
    }

    /// The page that the query asks for.
    pub(crate) fn paging(&self) -> Result<Paging, Fault> {
        let number = |name: &str, default: i32| match self.query.get(name) {
            None | Some("") => Ok(default),
            Some(text) => match text.parse::<i32>() {
                Ok(number) if number >= 0 => Ok(number),
                _ => Err(Fault::member(
                    name,
                    "must be an integer that is not negative",
                )),
            },
        };
        let limit = number("limit", LIMIT_DEFAULT)?.min(LIMIT_MAX);
        let offset = number("offset", 0)?;
        let count = self.flag("count")?.unwrap_or(false);
        Ok(Paging {
            limit,
            offset,
            cursor: self.text("cursor"),
            count,
        })
    }
}

/// An id of this surface.
pub(crate) fn check_id(name: &str, id: &str) -> Result<(), Fault> {
    let sound = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
    if sound {
        Ok(())
    } else {
        Err(Fault::member(name, "is not an id"))
    }
}

/// A page in offset and limit, as published.
pub(crate) struct Paging {
    pub(crate) limit: i32,
    pub(crate) offset: i32,
    pub(crate) cursor: String,
    pub(crate) count: bool,
}

impl Paging {
    /// The size to ask the block for, which has no empty pages.
    pub(crate) fn size(&self) -> i32 {
        self.limit.max(1)
    }

    /// The rows to show.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>) -> Vec<T> {
        rows.truncate(usize::try_from(self.limit).unwrap_or(0));
        rows
    }

    /// What is said about the page.
    pub(crate) fn member(&self, next: &str, total: Option<i64>) -> Value {
        let mut page = json!({
            "limit": self.limit,
            "offset": self.offset,
            "hasNext": !next.is_empty(),
            "hasPrevious": self.offset > 0 || !self.cursor.is_empty(),
        });
        if !next.is_empty() {
            page["nextCursor"] = json!(next);
        }
        if let Some(total) = total {
            let limit = i64::from(self.limit.max(1));
            page["totalItems"] = json!(total);
            page["totalPages"] = json!((total + limit - 1) / limit);
            page["currentPage"] = json!(i64::from(self.offset) / limit + 1);
        }
        page
    }
}
