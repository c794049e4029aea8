//! Counts of decisions.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::registration::v1 as pb;
use publica_proto::registration::v1::statistics_service_client::StatisticsServiceClient;
use serde_json::{Value, json};

use super::applications::mediator_client;
use super::catalog::finish;
use super::error::SystemError;
use crate::body::QueryPairs;
use crate::respond;
use crate::state::GatewayState;

/// `GET /data/statistics`
pub(super) async fn read(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let work = async {
        let entry = state.enter(&headers).await?;
        mediator_client(&state, &headers)?;
        // A name without a value is no day, no timeframe, and the name of no registration.
        for name in ["startDate", "endDate", "timeframe"] {
            if query.get(name) == Some("") {
                let pointer = format!("/{name}");
                return Err(SystemError::invalid(&pointer, "a value is expected"));
            }
        }
        if query.get("registrationName") == Some("") {
            return Err(SystemError::not_found("registration_not_found"));
        }
        let take = |name: &str| query.get(name).unwrap_or_default().to_owned();
        let request = pb::GetStatisticsRequest {
            start_date: take("startDate"),
            end_date: take("endDate"),
            registration_name: take("registrationName"),
            operator: take("operator"),
            role: take("role"),
            timeframe: take("timeframe"),
        };
        let mut client = StatisticsServiceClient::new(state.link("registration"));
        let found = client
            .get_statistics(entry.request(request))
            .await?
            .into_inner();
        let rows: Vec<Value> = found.rows.iter().map(|found| row(found, &query)).collect();
        Ok(respond::json(StatusCode::OK, &rows))
    };
    finish(&headers, work.await)
}

fn row(row: &pb::StatisticsRow, query: &QueryPairs) -> Value {
    let mut references = json!({});
    for (name, value) in [("startDate", &row.start_date), ("endDate", &row.end_date)] {
        if !value.is_empty() {
            references[name] = json!(value);
        }
    }
    for name in ["registrationName", "operator", "role"] {
        if let Some(value) = query.get(name) {
            references[name] = json!(value);
        }
    }
    if let Some(timeframe) = query.get("timeframe") {
        let mut letters = timeframe.chars();
        let name: String = letters
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .collect();
        references[format!("timeframe{name}{}", letters.as_str())] = json!(true);
    }
    json!({
        "processed": row.approved + row.sent_back + row.rejected,
        "approved": row.approved,
        "sentBack": row.sent_back,
        "rejected": row.rejected,
        "references": references,
    })
}
