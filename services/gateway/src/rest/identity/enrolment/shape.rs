//! The published shape of a packet: which members have which type. What has no type there is
//! taken as it is; absent and null members are as good as each other.

use serde_json::Value;

/// What a value must be.
enum Shape {
    Text,
    Flag,
    Whole,
    /// One of some words.
    Word(&'static [&'static str]),
    /// A text or a list: the published text holds a list as JSON.
    TextOrList,
    Any,
    List(&'static Shape),
    Members(&'static [(&'static str, Shape)]),
}

use Shape::{Any, Flag, List, Members, Text, TextOrList, Whole, Word};

const VERSION: Shape = Members(&[("major", Whole), ("minor", Whole)]);
const MAKER: Shape = Members(&[("organization", Text), ("type", Text)]);
const OBJECT: Shape = Members(&[]);

const BIR_INFO: Shape = Members(&[
    ("creator", Text),
    ("index", Text),
    ("payload", List(&Any)),
    ("integrity", Flag),
    ("creationDate", Text),
    ("notValidBefore", Text),
    ("notValidAfter", Text),
]);

const BDB_INFO: Shape = Members(&[
    ("challengeResponse", List(&Any)),
    ("index", Text),
    ("format", MAKER),
    ("encryption", Flag),
    ("creationDate", Text),
    ("notValidBefore", Text),
    ("notValidAfter", Text),
    ("type", List(&Word(&["FACE", "FINGER", "IRIS"]))),
    ("subtype", List(&Text)),
    ("level", Word(&["RAW", "INTERMEDIATE", "PROCESSED"])),
    ("product", MAKER),
    ("captureDevice", MAKER),
    ("featureExtractionAlgorithm", MAKER),
    ("comparisonAlgorithm", MAKER),
    ("compressionAlgorithm", MAKER),
    (
        "purpose",
        Word(&[
            "VERIFY",
            "IDENTIFY",
            "ENROLL",
            "ENROLLVERIFY",
            "ENROLLIDENTIFY",
            "AUDIT",
        ]),
    ),
    (
        "quality",
        Members(&[
            ("algorithm", MAKER),
            ("score", Whole),
            ("qualityCalculationFailed", Text),
        ]),
    ),
]);

const SEGMENT: Shape = Members(&[
    ("version", VERSION),
    ("cbeffversion", VERSION),
    ("birInfo", BIR_INFO),
    ("bdbInfo", BDB_INFO),
    ("bdb", List(&Any)),
    ("sb", List(&Any)),
    ("birs", List(&OBJECT)),
    ("sbInfo", Members(&[("format", MAKER)])),
    ("others", OBJECT),
]);

const BIOMETRICS: Shape = Members(&[
    ("version", VERSION),
    ("cbeffversion", VERSION),
    ("birInfo", BIR_INFO),
    ("segment", List(&SEGMENT)),
    ("segments", List(&SEGMENT)),
    ("others", OBJECT),
]);

const ENVELOPE: Shape = Members(&[
    ("id", Text),
    ("version", Text),
    (
        "request",
        Members(&[
            ("offlineMode", Flag),
            ("id", Text),
            ("refId", Text),
            ("process", Text),
            ("source", Text),
            ("schemaVersion", Text),
            ("finalize", Flag),
            ("individualId", Text),
            ("fields", OBJECT),
            (
                "metaInfo",
                Members(&[
                    ("metaData", TextOrList),
                    ("capturedRegisteredDevices", TextOrList),
                    ("operationsData", TextOrList),
                ]),
            ),
            ("audits", List(&OBJECT)),
            ("documents", OBJECT),
            ("biometrics", BIOMETRICS),
        ]),
    ),
]);

/// Checks a whole packet; the fault names the member.
pub(super) fn check(envelope: &Value) -> Result<(), String> {
    fits(&ENVELOPE, envelope, "").map_err(|(path, what)| match path.as_str() {
        "" => format!("the body {what}"),
        path => format!("{path} {what}"),
    })
}

fn fits(shape: &Shape, value: &Value, path: &str) -> Result<(), (String, String)> {
    let must = |sound: bool, what: &str| match sound {
        true => Ok(()),
        false => Err((path.to_owned(), format!("must be {what}"))),
    };
    if value.is_null() {
        return Ok(());
    }
    match shape {
        Any => Ok(()),
        Text => must(value.is_string(), "a text"),
        TextOrList => must(value.is_string() || value.is_array(), "a text or a list"),
        Flag => must(value.is_boolean(), "true or false"),
        Whole => must(value.is_i64() || value.is_u64(), "a whole number"),
        Word(words) => {
            let known = value.as_str().is_some_and(|word| words.contains(&word));
            must(known, &format!("one of {}", words.join(", ")))
        }
        List(inner) => {
            let Some(items) = value.as_array() else {
                return must(false, "a list");
            };
            for (at, item) in items.iter().enumerate() {
                fits(inner, item, &format!("{path}[{at}]"))?;
            }
            Ok(())
        }
        Members(members) => {
            let Some(object) = value.as_object() else {
                return must(false, "an object");
            };
            for (name, inner) in *members {
                if let Some(value) = object.get(*name) {
                    let joint = if path.is_empty() { "" } else { "." };
                    fits(inner, value, &format!("{path}{joint}{name}"))?;
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_of_a_wrong_type_are_named() {
        let request = |request: Value| check(&json!({ "request": request }));
        let sound = json!({"id": "1", "offlineMode": false, "metaInfo": {"metaData": "[]"},
            "audits": [{"eventId": "x"}], "documents": {}, "extra": 1, "source": null,
            "biometrics": {"segment": [{"bdbInfo": {"type": ["FINGER"], "level": "RAW",
                "quality": {"score": 90}}}]}});
        assert_eq!(request(sound), Ok(()));
        for (wrong, path) in [
            (json!({"id": 1}), "request.id must be a text"),
            (
                json!({"offlineMode": "no"}),
                "request.offlineMode must be true or false",
            ),
            (json!({"fields": []}), "request.fields must be an object"),
            (
                json!({"audits": [1]}),
                "request.audits[0] must be an object",
            ),
            (
                json!({"biometrics": {"segment": [{}, {"bdbInfo": {"level": "raw"}}]}}),
                "request.biometrics.segment[1].bdbInfo.level must be one of RAW, INTERMEDIATE, \
                 PROCESSED",
            ),
            (
                json!({"biometrics": {"version": {"major": 1.5}}}),
                "request.biometrics.version.major must be a whole number",
            ),
        ] {
            assert_eq!(request(wrong), Err(path.to_owned()));
        }
        assert_eq!(
            check(&json!([])),
            Err("the body must be an object".to_owned())
        );
    }
}
