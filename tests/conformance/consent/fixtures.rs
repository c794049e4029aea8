//! Bodies and tokens that several tests send.

use publica_jose::{Jws, Protected, sign_jws};
use publica_testkit::{token_for, tokens};
use publica_types::Tenant;
use serde_json::{Value, json};

/// A token that a person got by way of a portal.
pub(super) fn person_token(subject: &str) -> String {
    let machine = token_for(subject, &[], &Tenant::default());
    let payload = Jws::parse(&machine).unwrap().unverified_payload().unwrap();
    let mut claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["client_id"] = json!("portal");
    let header = Protected::new().typ("at+jwt");
    sign_jws(tokens().key(), header, claims.to_string().as_bytes()).unwrap()
}

pub(super) fn policy() -> Value {
    json!({"id": "", "name": "Privacy", "version": "1.0", "url": "https://example.com/policy/1.0",
        "jurisdiction": "EU", "industrySector": "Public", "dataRetentionPeriodDays": 365,
        "geographicRestriction": "EU", "storageLocation": "EU", "unknownMember": 1})
}

pub(super) fn agreement() -> Value {
    json!({"id": "", "version": "1.0", "purpose": "Registration in Health App",
        "lawfulBasis": "Consent", "dataUse": "data_source", "dpia": "done", "active": true,
        "forgettable": true, "lifecycle": {"id": "2", "name": "Complete"},
        "controllerName": "Ministry", "controllerUrl": "https://example.com/",
        "policy": policy(),
        "dataAttributes": [{"name": "income", "sensitivity": true, "category": "household"}]})
}
