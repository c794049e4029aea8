//! Enrolment as published: one packet, whole or a step of several.

mod shape;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::identity::v1 as pb;
use publica_proto::identity::v1::enrolment_service_client::EnrolmentServiceClient;
use publica_rpc::reason;
use serde_json::{Map, Value, json};
use tonic::Status;

use crate::body::{self, RawBody};
use crate::convert::{idempotency_key, rfc3339};
use crate::problem::Problem;
use crate::respond;
use crate::rest::identity::envelope::{self, JSON, text};
use crate::state::GatewayState;

/// Fields that are identifiers of another authority, and the kind of alias that they become.
const ALIASES: [(&str, &str); 4] = [
    ("nationalId", "national_id"),
    ("documentNumber", "document"),
    ("householdId", "household"),
    ("referenceIdentityNumber", "reference"),
];

/// Members that name somebody who is known already.
const NUMBERS: [&str; 3] = ["individualId", "UIN", "VID"];

/// Fields that have a standard claim.
const CLAIMS: [(&str, &str); 16] = [
    ("fullName", "name"),
    ("name", "name"),
    ("firstName", "given_name"),
    ("givenName", "given_name"),
    ("middleName", "middle_name"),
    ("lastName", "family_name"),
    ("familyName", "family_name"),
    ("dateOfBirth", "birthdate"),
    ("gender", "gender"),
    ("email", "email"),
    ("phone", "phone_number"),
    ("addressLine1", "address.street_address"),
    ("city", "address.locality"),
    ("region", "address.region"),
    ("postalCode", "address.postal_code"),
    ("country", "address.country"),
];

/// Languages by their three-letter code, as enrolment writes them, and their tag.
const LANGUAGES: [(&str, &str); 16] = [
    ("eng", "en"),
    ("fra", "fr"),
    ("ara", "ar"),
    ("spa", "es"),
    ("por", "pt"),
    ("swa", "sw"),
    ("amh", "am"),
    ("hin", "hi"),
    ("tam", "ta"),
    ("kan", "kn"),
    ("khm", "km"),
    ("urd", "ur"),
    ("rus", "ru"),
    ("zho", "zh"),
    ("som", "so"),
    ("est", "et"),
];

/// `PUT /enrollment`
pub(super) async fn enrol(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let entry = match state.enter(&headers).await {
        Ok(entry) => entry,
        Err(fault) => return envelope::not_entered(&fault),
    };
    if let Err(answer) = envelope::check_scope(&entry, &["identity:person:enrol"]) {
        return answer;
    }
    let bytes = match envelope::read(&headers, body) {
        Ok(bytes) => bytes,
        Err(answer) => return answer,
    };
    let envelope: Value = match body::parse_strict(&bytes) {
        Ok(envelope) => envelope,
        Err(fault) => {
            let what = fault.to_string();
            return failed(&state, &Value::Null, "invalid_request", &what);
        }
    };
    let Some(request) = envelope.get("request").and_then(Value::as_object) else {
        let what = "request must be an object";
        return failed(&state, &envelope, "invalid_request", what);
    };
    let time = envelope
        .get("requesttime")
        .or_else(|| envelope.get("requestTime"));
    if !time.and_then(Value::as_str).is_some_and(envelope::is_time) {
        let what = "requesttime must be a time such as 2026-01-31T08:30:00.000Z";
        return failed(&state, &envelope, "invalid_request", what);
    }
    let packet = shape::check(&envelope).and_then(|()| packet(request, idempotency_key(&headers)));
    let (message, sources) = match packet {
        Ok(packet) => packet,
        Err(what) => return failed(&state, &envelope, "invalid_input", &what),
    };
    let mut service = EnrolmentServiceClient::new(state.link("identity"));
    match service.submit_packet(entry.request(message)).await {
        Ok(answer) => answered(&state, &envelope, request, &answer.into_inner()),
        Err(status) => refused(&state, &envelope, &sources, &status),
    }
}

/// Which members of `fields` became the attributes and aliases of a packet, in their order.
#[derive(Debug, Default)]
struct Sources {
    attributes: Vec<String>,
    aliases: Vec<String>,
}

impl Sources {
    /// The member behind a field of the block.
    fn member(&self, field: &str) -> String {
        const MEMBERS: [(&str, &str); 6] = [
            ("packet_id", "id"),
            ("ref_id", "refId"),
            ("process", "process"),
            ("source", "source"),
            ("schema_version", "schemaVersion"),
            ("individual_id", "individualId"),
        ];
        if let Some((_, member)) = MEMBERS.iter().find(|(known, _)| *known == field) {
            return format!("request.{member}");
        }
        let at = |list: &[String]| -> Option<String> {
            let (_, rest) = field.split_once('[')?;
            let at: usize = rest.split(']').next()?.parse().ok()?;
            list.get(at).cloned()
        };
        let source = match field.starts_with("aliases") {
            true => at(&self.aliases),
            false => at(&self.attributes),
        };
        source.map_or_else(
            || "request.fields".to_owned(),
            |name| format!("request.fields.{name}"),
        )
    }
}

fn packet(
    request: &Map<String, Value>,
    request_id: Option<String>,
) -> Result<(pb::SubmitPacketRequest, Sources), String> {
    let empty = Map::new();
    let fields = request.get("fields").and_then(Value::as_object);
    let fields = fields.unwrap_or(&empty);
    let mut attributes = Vec::new();
    let mut aliases = Vec::new();
    let mut sources = Sources::default();
    for (name, value) in fields {
        if NUMBERS.contains(&name.as_str()) {
            continue;
        }
        let values = localised(value).map_err(|what| format!("request.fields.{name} {what}"))?;
        if let Some((_, kind)) = ALIASES.iter().find(|(field, _)| field == name) {
            if let Some((_, value)) = values.into_iter().next() {
                aliases.push(alias(kind, value));
                sources.aliases.push(name.clone());
            }
        } else {
            for value in values {
                attributes.push(attribute(name, value));
                sources.attributes.push(name.clone());
            }
        }
    }
    let named = NUMBERS
        .into_iter()
        .find_map(|name| request.get(name).or_else(|| fields.get(name))?.as_str());
    let mut evidence = request.clone();
    evidence.remove("fields");
    // Whether the packet is the last is not in the published schema; one step is the usual case.
    let finalize = request
        .get("finalize")
        .and_then(Value::as_bool)
        .unwrap_or(true);
    let message = pb::SubmitPacketRequest {
        request_id: request_id.unwrap_or_default(),
        packet_id: text(request, "id"),
        ref_id: text(request, "refId"),
        process: text(request, "process"),
        source: text(request, "source"),
        schema_version: text(request, "schemaVersion"),
        attributes,
        aliases,
        evidence_json: Value::Object(evidence).to_string(),
        finalize,
        individual_id: named.unwrap_or_default().to_owned(),
    };
    Ok((message, sources))
}

fn alias(kind: &str, value: String) -> pb::Alias {
    pb::Alias {
        kind: kind.to_owned(),
        value,
    }
}

/// Why a field of a packet cannot be read.
const NO_TEXT: &str = "is neither a text nor a list of texts by language";

/// The values of a field by language: a plain text, a list of values by language, or a text that
/// holds such a list.
fn localised(value: &Value) -> Result<Vec<(String, String)>, &'static str> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Bool(flag) => Ok(vec![(String::new(), flag.to_string())]),
        Value::Number(number) => Ok(vec![(String::new(), number.to_string())]),
        Value::String(text) if text.trim_start().starts_with('[') => {
            match serde_json::from_str::<Value>(text) {
                Ok(list) => localised(&list),
                Err(_) => Err("begins like a list and is no JSON"),
            }
        }
        Value::String(text) => Ok(vec![(String::new(), text.clone())]),
        Value::Array(list) => list
            .iter()
            .map(|one| {
                let language = match one.get("language") {
                    None | Some(Value::Null) => "",
                    Some(language) => language.as_str().ok_or(NO_TEXT)?,
                };
                let value = one.get("value").and_then(Value::as_str).ok_or(NO_TEXT)?;
                Ok((tag(language), value.to_owned()))
            })
            .collect(),
        // Proofs of documents are evidence, and stand with the packet.
        Value::Object(_) => Ok(Vec::new()),
    }
}

fn tag(language: &str) -> String {
    let known = LANGUAGES.iter().find(|(three, _)| *three == language);
    known.map_or(language, |(_, tag)| tag).to_owned()
}

fn attribute(field: &str, (language, value): (String, String)) -> pb::Attribute {
    let claim = CLAIMS
        .iter()
        .find(|(known, _)| *known == field)
        .map(|(_, claim)| *claim);
    let value = match claim {
        // Enrolment writes dates with slashes, OpenID Connect with hyphens.
        Some("birthdate") if !value.contains('-') => value.replace('/', "-"),
        Some("gender") if matches!(language.as_str(), "" | "en") => value.to_lowercase(),
        _ => value,
    };
    // The bare value is what a client gets that asks for no language.
    let language = if language == "en" {
        String::new()
    } else {
        language
    };
    let name = claim.map_or_else(|| snake_case(field), str::to_owned);
    pb::Attribute {
        name,
        language,
        value,
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

fn answered(
    state: &GatewayState,
    envelope: &Value,
    request: &Map<String, Value>,
    answer: &pb::SubmitPacketResponse,
) -> Response {
    let enrolment = answer.enrolment.clone().unwrap_or_default();
    if enrolment.state() == pb::EnrolmentState::Duplicate {
        let what = "somebody with one of these identifiers is enrolled already";
        return failed(state, envelope, "duplicate_identity", what);
    }
    let mut body = frame(state, envelope);
    body["response"] = json!([{
        "id": enrolment.registration_id,
        "packetName": "id",
        "source": enrolment.source,
        "process": enrolment.process,
        "refId": enrolment.ref_id,
        "schemaVersion": text(request, "schemaVersion"),
        "signature": "",
        "encryptedHash": answer.content_hash,
        "providerName": "Publica",
        "providerVersion": env!("CARGO_PKG_VERSION"),
        "creationDate": rfc3339(enrolment.create_time.as_ref()),
    }]);
    if !answer.vid.is_empty() {
        body["metaData"] = json!({ "vid": answer.vid });
    }
    let status = if answer.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    respond::typed(status, JSON, &body)
}

fn refused(state: &GatewayState, envelope: &Value, sources: &Sources, status: &Status) -> Response {
    let code = match reason(status).as_deref() {
        Some("PACKET_CONFLICT") => "packet_conflict",
        Some("PACKET_CLOSED") => "packet_closed",
        Some("PACKET_TOO_LARGE") => "payload_too_large",
        Some("PERSON_NOT_FOUND") => "invalid_identifier",
        Some("PERSON_NOT_ACTIVE") => "individual_id_blocked",
        Some("INVALID_FIELDS") => "invalid_input",
        _ => return envelope::refused(state, json!({}), status),
    };
    let problem = Problem::of(status);
    match problem.fields().first() {
        Some(field) => {
            let member = sources.member(&field.pointer);
            failed(state, envelope, code, &format!("{member} {}", field.detail))
        }
        None => failed(state, envelope, code, status.message()),
    }
}

fn failed(state: &GatewayState, envelope: &Value, code: &str, message: &str) -> Response {
    let mut body = frame(state, envelope);
    body["errors"] = json!([{ "errorCode": code, "message": message }]);
    respond::typed(StatusCode::OK, JSON, &body)
}

fn frame(state: &GatewayState, envelope: &Value) -> Value {
    let member = |name: &str, usual: &str| {
        envelope
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or(usual)
            .to_owned()
    };
    json!({
        "id": member("id", "govstack.enrollment"),
        "version": member("version", "v1"),
        "responsetime": envelope::time(state.clock().now()),
        "metaData": {},
        "response": [],
        "errors": [],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_claims_and_aliases() {
        let request = json!({
            "id": "10001100020010120230704042404",
            "process": "NEW",
            "fields": {
                "fullName": "[ { \"language\" : \"eng\", \"value\" : \"Amina\" },
                               { \"language\" : \"ara\", \"value\" : \"أمينة\" } ]",
                "gender": "[{\"language\":\"eng\",\"value\":\"Female\"}]",
                "dateOfBirth": "1980/05/12",
                "postalCode": 14022,
                "residenceStatus": "permanent",
                "nationalId": "A-123",
                "proofOfIdentity": {"format": "pdf", "type": "passport", "value": "x"}
            },
            "biometrics": {"segment": []}
        });
        let (packet, sources) = packet(request.as_object().unwrap(), None).unwrap();
        let find = |name: &str, language: &str| {
            let mut all = packet.attributes.iter();
            all.find(|a| a.name == name && a.language == language)
                .map(|a| a.value.as_str())
        };
        assert_eq!(find("name", ""), Some("Amina"));
        assert_eq!(find("name", "ar"), Some("أمينة"));
        assert_eq!(find("gender", ""), Some("female"));
        assert_eq!(find("birthdate", ""), Some("1980-05-12"));
        assert_eq!(find("address.postal_code", ""), Some("14022"));
        assert_eq!(find("residence_status", ""), Some("permanent"));
        assert_eq!(packet.aliases, [alias("national_id", "A-123".to_owned())]);
        assert!(packet.finalize && packet.evidence_json.contains("biometrics"));
        let born = packet.attributes.iter().position(|a| a.name == "birthdate");
        let field = format!("attributes[{}]", born.unwrap());
        assert_eq!(sources.member(&field), "request.fields.dateOfBirth");
        assert_eq!(sources.member("aliases[0]"), "request.fields.nationalId");
        assert_eq!(sources.member("packet_id"), "request.id");
        assert_eq!(sources.member("attributes"), "request.fields");
    }

    #[test]
    fn fields_that_cannot_be_read_are_named() {
        for (value, what) in [
            (
                json!("[ { label\" : 1 } ]"),
                "begins like a list and is no JSON",
            ),
            (json!([1]), NO_TEXT),
            (json!([{"language": 1, "value": "x"}]), NO_TEXT),
            (json!([{"language": "eng"}]), NO_TEXT),
        ] {
            let request = json!({"fields": {"city": value}});
            let fault = packet(request.as_object().unwrap(), None).unwrap_err();
            assert_eq!(fault, format!("request.fields.city {what}"));
        }
    }

    #[test]
    fn names_are_written_our_way() {
        assert_eq!(snake_case("IDSchemaVersion"), "idschema_version");
        assert_eq!(snake_case("addressLine2"), "address_line2");
        assert_eq!(snake_case("zone"), "zone");
    }
}
