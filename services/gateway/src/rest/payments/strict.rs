//! Unknown members and stale dates, for governments that want them refused.

use axum::http::Extensions;
use publica_types::Timestamp;
use serde_json::Value;

use crate::config::PaymentsConfig;

/// What a body may hold: the members of the object, and those of the objects in its list.
struct Known {
    path: &'static str,
    members: &'static [&'static str],
    items: &'static [&'static str],
}

/// Bodies by their path. One that ends in a slash, or in `check`, has an id behind it. Where
/// version 1 and 3 share one, both are listed.
const KNOWN: [Known; 21] = [
    Known {
        path: "/register-beneficiary",
        members: &["requestid", "sourcebbid", "beneficiaries"],
        items: &["payeefunctionalid", "paymentmodality", "financialaddress"],
    },
    Known {
        path: "/update-beneficiary-details",
        members: &["requestid", "sourcebbid", "beneficiaries"],
        items: &["payeefunctionalid", "paymentmodality", "financialaddress"],
    },
    Known {
        path: "/prepayment-validation",
        members: &["requestid", "sourcebbid", "batchid", "creditinstructions"],
        items: INSTRUCTION,
    },
    Known {
        path: "/bulk-payment",
        members: &["requestid", "sourcebbid", "batchid", "creditinstructions"],
        items: INSTRUCTION,
    },
    Known {
        path: "/prepayment-validation-response",
        members: &["requestid", "source_batchid"],
        items: &[],
    },
    Known {
        path: "/vouchers/voucher_preactivation",
        members: &[
            "voucher_amount",
            "voucher_currency",
            "voucher_group",
            "gov_stack_bb",
            "voucher_comment",
        ],
        items: &[],
    },
    Known {
        path: "/vouchers/voucher_activation",
        members: &["voucher_serial_number", "gov_stack_bb"],
        items: &[],
    },
    Known {
        path: "/vouchers/voucher_redemption",
        members: &[
            "voucher_number",
            "gov_stack_bb",
            "merchant_name",
            "merchant_bank_details",
            "merchant_voucher_group",
            "override",
        ],
        items: &[],
    },
    Known {
        path: "/vouchers/voucherstatuscheck",
        members: &["voucherserialnumber", "gov_stack_bb"],
        items: &[],
    },
    Known {
        path: "/identityaccountmapper/beneficiary",
        members: &["requestid", "sourcebbid", "beneficiaries"],
        items: &[
            "payeeidentity",
            "paymentmodality",
            "bankinginstitutioncode",
            "financialaddress",
            "status",
        ],
    },
    Known {
        path: "/beneficiary",
        members: &["requestid", "payeepartyids"],
        items: &[],
    },
    Known {
        path: "/batchtransactions",
        members: &[],
        items: &[
            "requestid",
            "creditparty",
            "debitparty",
            "paymentmode",
            "amount",
            "currency",
            "descriptiontext",
        ],
    },
    Known {
        path: "/vouchers",
        members: &[
            "requestid",
            "batchid",
            "voucherinstructions",
            "voucherserialnumber",
            "agentid",
            "vouchersecretnumber",
        ],
        items: &[
            "instructionid",
            "groupcode",
            "currency",
            "amount",
            "payeefunctionalid",
            "narration",
            "serialnumber",
        ],
    },
    Known {
        path: "/billtransferrequests",
        members: &[
            "requestid",
            "billinquiryrequestid",
            "billid",
            "paymentreferenceid",
            "status",
            "rejectreason",
        ],
        items: &[],
    },
    Known {
        path: "/rtprequest",
        members: &[
            "requestid",
            "rtpid",
            "billid",
            "requesttype",
            "payerfidetails",
            "alias",
            "billdetails",
        ],
        items: &[],
    },
    Known {
        path: "/rtpresponse",
        members: &[
            "requestid",
            "txnid",
            "rtpid",
            "billid",
            "rtpstatus",
            "rejectreason",
        ],
        items: &[],
    },
    Known {
        path: "/bills/",
        members: &["code", "reason", "requestid", "billid", "billdetails"],
        items: &[],
    },
    Known {
        path: "/batches/authorization",
        members: &["clientcorrelationid", "status", "reason"],
        items: &[],
    },
    Known {
        path: "/beneficiaries/validation",
        members: &[
            "clientcorrelationid",
            "batchid",
            "numberoffailedcases",
            "failedaccountlookups",
        ],
        items: &["instructionid", "failurereason"],
    },
    Known {
        path: "/api/v1/batch",
        members: &[
            "requestid",
            "batchid",
            "totaltransactions",
            "ongoing",
            "failed",
            "completed",
            "totalamount",
            "completed_amount",
            "ongoing_amount",
            "failed_amount",
            "currency",
            "result_file",
            "resultgeneratedat",
            "note",
        ],
        items: &[],
    },
    Known {
        path: "/voucherredemption",
        members: &[
            "requestid",
            "billinquiryrequestid",
            "billid",
            "billdetails",
            "vouchersecrethash",
        ],
        items: &[],
    },
];

const INSTRUCTION: &[&str] = &[
    "instructionid",
    "payeefunctionalid",
    "amount",
    "currency",
    "narration",
];

fn options(extensions: &Extensions) -> PaymentsConfig {
    extensions
        .get::<PaymentsConfig>()
        .cloned()
        .unwrap_or_default()
}

/// Refuses members that the published body does not have, where that is wanted.
pub(super) fn check(extensions: &Extensions, path: &str, body: &[u8]) -> Result<(), String> {
    if !options(extensions).strict_fields {
        return Ok(());
    }
    let path = path.trim_end_matches('/').to_lowercase();
    let known = KNOWN.iter().find(|known| {
        let with_id = known.path.ends_with('/') || known.path.ends_with("check");
        path == known.path || (with_id && path.starts_with(known.path))
    });
    match (known, serde_json::from_slice::<Value>(body)) {
        (Some(known), Ok(value)) => match stranger(&value, known) {
            Some(name) => Err(format!("The member {name} is not known.")),
            None => Ok(()),
        },
        // What cannot be parsed is refused anyway, in the path's own words.
        _ => Ok(()),
    }
}

fn stranger(value: &Value, known: &Known) -> Option<String> {
    let odd = |value: &Value, names: &[&str]| {
        let members = value.as_object()?;
        let fits = |name: &&String| names.contains(&name.to_lowercase().as_str());
        let name = members.keys().find(|name| !fits(name))?;
        // Repeated as far as a message has room, and never what it holds.
        Some(name.chars().filter(|c| !c.is_control()).take(40).collect())
    };
    let items = |list: &Value| {
        let list = list.as_array()?;
        list.iter().find_map(|item| odd(item, known.items))
    };
    match value {
        Value::Array(_) => items(value),
        _ => odd(value, known.members).or_else(|| match known.items.is_empty() {
            true => None,
            false => value.as_object()?.values().find_map(items),
        }),
    }
}

/// Refuses a date that is too far from now, where a limit is set.
pub(super) fn check_date(
    extensions: &Extensions,
    given: Timestamp,
    now: Timestamp,
) -> Result<(), String> {
    let limit = options(extensions).date_skew_seconds;
    let away = now.since(given).max(given.since(now)).as_secs();
    match limit > 0 && away > limit {
        true => Err(format!("X-Date is more than {limit} seconds from now.")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extensions(strict_fields: bool, date_skew_seconds: u64) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(PaymentsConfig {
            strict_fields,
            date_skew_seconds,
        });
        extensions
    }

    #[test]
    fn strangers_are_named() {
        let strict = extensions(true, 0);
        for (path, body, sound) in [
            (
                "/bulk-payment",
                r#"{"RequestID":"x","CreditInstructions":[{"Amount":1}]}"#,
                true,
            ),
            ("/bulk-payment", r#"{"RequestID":"x","Extra":1}"#, false),
            (
                "/bulk-payment",
                r#"{"CreditInstructions":[{"Amount":1,"Extra":2}]}"#,
                false,
            ),
            (
                "/batchtransactions",
                r#"[{"requestId":"x"},{"odd":1}]"#,
                false,
            ),
            (
                "/vouchers/voucherstatuscheck/12",
                r#"{"voucherserialnumber":"12"}"#,
                true,
            ),
            (
                "/vouchers/voucherstatuscheck/12",
                r#"{"serial":"12"}"#,
                false,
            ),
            ("/bills/WAT1", r#"{"code":"00","billDetails":{}}"#, true),
            ("/bills/WAT1", r#"{"code":"00","bill":{}}"#, false),
            (
                "/batches/authorization",
                r#"{"clientCorrelationId":"x","status":"Y"}"#,
                true,
            ),
            ("/batches/authorization", r#"{"statis":"Y"}"#, false),
            (
                "/beneficiaries/validation",
                r#"{"failedAccountLookups":[{"instructionID":"x","failureReason":"y"}]}"#,
                true,
            ),
            (
                "/beneficiaries/validation",
                r#"{"failedAccountLookups":[{"instruction":"x"}]}"#,
                false,
            ),
            ("/api/v1/batch", r#"{"TotalTransactions":1}"#, true),
            ("/api/v1/batch", r#"{"Transactions":1}"#, false),
            ("/bulk-payment", "not json", true),
            ("/elsewhere", r#"{"odd":1}"#, true),
        ] {
            assert_eq!(
                check(&strict, path, body.as_bytes()).is_ok(),
                sound,
                "{path} {body}"
            );
            assert!(check(&extensions(false, 0), path, body.as_bytes()).is_ok());
        }
    }

    #[test]
    fn dates_may_be_limited() {
        let now = Timestamp::from_micros(1_000_000_000_000);
        let near = Timestamp::from_micros(1_000_300_000_000);
        let far = Timestamp::from_micros(999_699_000_000);
        let limited = extensions(false, 300);
        assert!(check_date(&limited, near, now).is_ok());
        assert!(check_date(&limited, far, now).is_err());
        assert!(check_date(&extensions(false, 0), far, now).is_ok());
        assert!(check_date(&Extensions::new(), far, now).is_ok());
    }
}
