//! What is delivered: a CloudEvents 1.0 event.

use serde_json::{Value, json};

use crate::entry::EntryRow;

/// Where an event comes from.
pub(crate) struct Source<'s> {
    pub(crate) log_name: &'s str,
    pub(crate) block: &'s str,
    pub(crate) tenant: &'s str,
}

/// The event of an entry.
pub(crate) fn cloud_event(source: &Source<'_>, position: i64, row: &EntryRow) -> Value {
    let Source {
        log_name,
        block,
        tenant,
    } = source;
    let mut event = json!({
        "specversion": "1.0",
        "id": row.entry_id.to_string(),
        "source": format!("//{log_name}/{block}/{tenant}"),
        "type": format!("org.govstack.{}.v1", row.action),
        "time": row.time.to_string(),
        "datacontenttype": "application/json",
        "tenantid": tenant,
        // Zero-padded, so that it sorts as text.
        "sequence": format!("{position:020}"),
        "data": {
            "outcome": row.outcome.as_str(),
            "actor": row.actor,
            "on_behalf_of": row.on_behalf_of,
            "body": row.body.as_deref().and_then(|body| {
                serde_json::from_slice::<Value>(body).ok()
            }),
        },
    });
    let optional = [
        ("subject", subject(row)),
        ("partitionkey", Some(row.subject_id.clone())),
        ("processid", row.process_id.clone()),
        ("traceid", row.trace_id.clone()),
    ];
    for (name, value) in optional {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            event[name] = Value::String(value);
        }
    }
    event
}

fn subject(row: &EntryRow) -> Option<String> {
    (!row.subject_id.is_empty()).then(|| format!("{}/{}", row.subject_kind, row.subject_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::row;

    #[test]
    fn events_have_what_cloudevents_requires() {
        let source = Source {
            log_name: "example.org",
            block: "payments",
            tenant: "default",
        };
        let event = cloud_event(&source, 7, &row(3, "p1"));
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], "//example.org/payments/default");
        assert_eq!(event["type"], "org.govstack.payments.account.opened.v1");
        assert_eq!(event["subject"], "account/a-3");
        assert_eq!(event["data"]["body"]["n"], 3);
        assert_eq!(event["processid"], "p1");
        assert!(event.get("traceid").is_none());
    }
}
