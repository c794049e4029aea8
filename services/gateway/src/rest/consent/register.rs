//! The register of processing activities, as article 30 of the General Data Protection Regulation
//! asks for it, drawn from the published agreements and the policies that they are under.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::call::{Answer, Call};
use super::{agreements, output};
use crate::respond;

/// Members that an activity has in common with its agreement.
const SAME: [&str; 14] = [
    "version",
    "purpose",
    "purposeDescription",
    "purposeCode",
    "lawfulBasis",
    "active",
    "controller",
    "recipients",
    "dataSources",
    "processingMethods",
    "privacyRights",
    "noticeUrl",
    "lifecycle",
    "timestamp",
];
/// Members of the policy that say where data is and how long.
const OF_POLICY: [(&str, &str); 6] = [
    ("jurisdiction", "jurisdiction"),
    ("storageLocation", "storageLocation"),
    ("geographicRestriction", "geographicRestriction"),
    ("dataRetentionPeriodDays", "retentionDays"),
    ("thirdPartyDataSharing", "thirdPartyDataSharing"),
    ("authorityContact", "authorityContact"),
];

pub(crate) async fn list(call: Call) -> Answer {
    let (rows, page) = agreements::page(&call, true).await?;
    let rows: Vec<Value> = rows.iter().map(activity).collect();
    let body = output::page("processingActivities", rows, page);
    Ok(respond::json(StatusCode::OK, &body))
}

/// What is done with data under one agreement.
fn activity(agreement: &Value) -> Value {
    let mut told = Map::new();
    let mut tell = |name: &str, value: &Value| {
        if !value.is_null() && value.as_str() != Some("") {
            told.insert(name.to_owned(), value.clone());
        }
    };
    tell("dataAgreementId", &agreement["id"]);
    tell("revisionId", &agreement["publishedRevisionId"]);
    for name in SAME {
        tell(name, &agreement[name]);
    }
    tell("impactAssessment", &agreement["dpia"]);
    tell("impactAssessmentDate", &agreement["dpiaDate"]);
    let policy = &agreement["policy"];
    for (name, called) in OF_POLICY {
        tell(called, &policy[name]);
    }
    if policy.is_object() {
        let named = ["id", "name", "version", "url"].map(|name| (name, policy[name].clone()));
        tell("policy", &output::members(named));
    }
    tell("dataCategories", &categories(agreement));
    tell("recipientCountries", &countries(agreement));
    Value::Object(told)
}

/// Categories of data, with what is of each.
fn categories(agreement: &Value) -> Value {
    let mut found: BTreeMap<&str, (Vec<&str>, bool)> = BTreeMap::new();
    let attributes = agreement["dataAttributes"].as_array();
    for one in attributes.into_iter().flatten() {
        let category = found
            .entry(one["category"].as_str().unwrap_or_default())
            .or_default();
        category.0.extend(one["name"].as_str());
        category.1 |= one["specialCategory"] == json!(true);
    }
    let told = found.into_iter().map(|(name, (attributes, special))| {
        json!({ "category": name, "attributes": attributes, "specialCategory": special })
    });
    told.collect()
}

/// Where recipients are: transfers to other countries show here.
fn countries(agreement: &Value) -> Value {
    let recipients = agreement["recipients"].as_array();
    let countries: BTreeSet<&str> = recipients
        .into_iter()
        .flatten()
        .filter_map(|one| one["country"].as_str())
        .collect();
    json!(countries)
}
