//! `GET /status/email` and `GET /status/sms`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use serde_json::{Map, Value};

use super::error::{Code, Refusal};
use super::{GETS, enter, request_uid, shapes};
use crate::body::QueryPairs;
use crate::respond;
use crate::state::GatewayState;

pub(super) async fn email(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    read(&state, &headers, &query, api::MessageChannel::Email).await
}

pub(super) async fn sms(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    read(&state, &headers, &query, api::MessageChannel::Sms).await
}

async fn read(
    state: &GatewayState,
    headers: &HeaderMap,
    query: &QueryPairs,
    channel: api::MessageChannel,
) -> Response {
    match try_read(state, headers, query, channel).await {
        Ok(counts) => respond::json(StatusCode::OK, &counts),
        Err(refusal) => refusal.answer(headers),
    }
}

async fn try_read(
    state: &GatewayState,
    headers: &HeaderMap,
    query: &QueryPairs,
    channel: api::MessageChannel,
) -> Result<Value, Refusal> {
    let entry = enter(state, headers, GETS).await?;
    let request_uid = request_uid(headers, GETS)?;
    let asked = asked(query)?;
    let message = api::GetStatusRequest {
        request_uid,
        channel: channel.into(),
    };
    let mut client = MessageServiceClient::new(state.link("messaging"));
    let answer = client.get_status(entry.request(message)).await;
    let answer = answer
        .map_err(|status| Refusal::of_status(&status, GETS, shapes::pointer))?
        .into_inner();
    let counters = answer.counters.unwrap_or_default();
    let mut counts = Map::new();
    for name in asked {
        if let Some(count) = count(&counters, &name) {
            counts.insert(name, Value::from(count));
        }
    }
    Ok(Value::Object(counts))
}

/// The states asked for, each in the spelling of the caller.
fn asked(query: &QueryPairs) -> Result<Vec<String>, Refusal> {
    let mut asked: Vec<String> = Vec::new();
    for (name, value) in query.iter() {
        let indexed = name
            .strip_prefix("status[")
            .and_then(|rest| rest.strip_suffix(']'));
        let named = name == "status"
            || indexed.is_some_and(|index| index.bytes().all(|byte| byte.is_ascii_digit()));
        if !named {
            continue;
        }
        for state in value
            .split(',')
            .map(str::trim)
            .filter(|state| !state.is_empty())
        {
            if count(&api::Counters::default(), state).is_none() {
                let known = "scheduled, processing, deferred, bounced, notSent, delivered";
                return Err(Refusal::input(
                    Code::UnknownStatus,
                    format!("status is none of {known}."),
                    GETS,
                ));
            }
            if !asked.iter().any(|known| known == state) {
                asked.push(state.to_owned());
            }
        }
    }
    if asked.is_empty() {
        return Err(Refusal::input(
            Code::MissingStatus,
            "The query status is required.",
            GETS,
        ));
    }
    Ok(asked)
}

/// The counter of a published name; three documents spell the fifth in three ways.
fn count(counters: &api::Counters, name: &str) -> Option<i64> {
    Some(match name {
        "scheduled" => counters.scheduled,
        "processing" => counters.processing,
        "deferred" => counters.deferred,
        "bounced" => counters.bounced,
        "notSent" | "not sent" | "not_sent" => counters.not_sent,
        "delivered" => counters.delivered,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_of_list_is_read() {
        for query in [
            "status=notSent&status=delivered",
            "status[]=notSent&status[]=delivered",
            "status[0]=notSent&status[1]=delivered",
            "status%5B0%5D=notSent&status=delivered,notSent",
            "status=notSent,delivered&other=1",
        ] {
            assert_eq!(
                asked(&QueryPairs::parse(query)).unwrap(),
                ["notSent", "delivered"]
            );
        }
        assert_eq!(
            asked(&QueryPairs::parse("status=not%20sent")).unwrap(),
            ["not sent"]
        );
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for (query, code) in [
            ("", Code::MissingStatus),
            ("status=", Code::MissingStatus),
            ("states=delivered", Code::MissingStatus),
            ("status=lost", Code::UnknownStatus),
            ("status=delivered,lost", Code::UnknownStatus),
        ] {
            assert_eq!(
                asked(&QueryPairs::parse(query)).unwrap_err().code,
                code,
                "{query}"
            );
        }
    }
}
