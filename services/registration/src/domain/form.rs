//! Checking what an applicant filled in against its form.
//!
//! Canonical form data groups fields by container. Clients also send flat members; a flat member
//! goes to the container that has a field of that key, where exactly one has.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use super::definition::{Definition, Field, FieldKind, Form};
use super::expr::{EvalError, Expr, Facts, Value};

/// One thing wrong with a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defect {
    /// The field, as `container.key`.
    pub field: String,
    /// The rule that does not hold, named as in JSON Schema where it has a name there.
    pub rule: &'static str,
    /// What is wrong, without the value.
    pub reason: String,
}

/// Form data that passed, and what was dropped on the way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    /// The data by container and key, visible and known fields only.
    pub data: Map<String, Json>,
    /// Fields that were dropped: unknown ones and hidden ones.
    pub dropped: Vec<String>,
}

/// The most members a submission may have.
const MAX_MEMBERS: usize = 2_000;

/// The facts of one file: its data, the determinants of its service, and the day.
pub(crate) struct FileFacts<'a> {
    definition: &'a Definition,
    data: &'a Map<String, Json>,
    today: &'a str,
}

impl<'a> FileFacts<'a> {
    /// Facts from canonical form data.
    pub(crate) fn new(
        definition: &'a Definition,
        data: &'a Map<String, Json>,
        today: &'a str,
    ) -> Self {
        Self {
            definition,
            data,
            today,
        }
    }
}

impl Facts for FileFacts<'_> {
    fn field(&self, path: &str) -> Value {
        let Some((container, key)) = path.split_once('.') else {
            return Value::Missing;
        };
        self.data
            .get(container)
            .and_then(|group| group.get(key))
            .map_or(Value::Missing, value_of)
    }

    fn determinant(&self, id: &str) -> Option<&Expr> {
        self.definition.determinants.get(id)
    }

    fn today(&self) -> &str {
        self.today
    }
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::Null | Json::Object(_) => Value::Missing,
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => number
            .to_string()
            .parse()
            .map_or(Value::Missing, Value::Number),
        Json::String(text) if text.is_empty() => Value::Missing,
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value_of).collect()),
    }
}

/// Groups data by container. Members that no container knows are returned by name.
pub(crate) fn canonical(
    form: &Form,
    data: &Map<String, Json>,
) -> Result<(Map<String, Json>, Vec<String>), Defect> {
    let members: usize = data
        .values()
        .map(|value| value.as_object().map_or(1, Map::len))
        .sum();
    if members > MAX_MEMBERS {
        return Err(Defect {
            field: String::new(),
            rule: "maxProperties",
            reason: format!("{members} members, at most {MAX_MEMBERS}"),
        });
    }
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for container in &form.containers {
        for field in &container.fields {
            owners.entry(&field.key).or_default().push(&container.key);
        }
    }
    let mut grouped: Map<String, Json> = Map::new();
    let mut unknown = Vec::new();
    let mut put = |container: &str, key: &str, value: &Json| {
        let group = grouped
            .entry(container.to_owned())
            .or_insert_with(|| Json::Object(Map::new()));
        if let Json::Object(group) = group {
            group.insert(key.to_owned(), value.clone());
        }
    };
    for (name, value) in data {
        let is_container = form
            .containers
            .iter()
            .any(|container| container.key == *name);
        match value {
            Json::Object(group) if is_container => {
                for (key, value) in group {
                    if owners
                        .get(key.as_str())
                        .is_some_and(|at| at.contains(&name.as_str()))
                    {
                        put(name, key, value);
                    } else {
                        unknown.push(format!("{name}.{key}"));
                    }
                }
            }
            value => match owners.get(name.as_str()).map(Vec::as_slice) {
                Some([only]) => put(only, name, value),
                _ => unknown.push(name.clone()),
            },
        }
    }
    Ok((grouped, unknown))
}

/// Checks form data. Hidden fields are neither required nor kept.
pub(crate) fn check(
    definition: &Definition,
    form: &Form,
    data: &Map<String, Json>,
    today: &str,
) -> Result<Checked, Vec<Defect>> {
    let (mut grouped, mut dropped) = canonical(form, data).map_err(|defect| vec![defect])?;
    if definition.strict && !dropped.is_empty() {
        return Err(unknown_fields(dropped));
    }
    hide(definition, form, &mut grouped, today, &mut dropped).map_err(|defect| vec![defect])?;
    let visible = grouped.clone();
    let facts = FileFacts::new(definition, &visible, today);
    let mut defects = Vec::new();
    for container in &form.containers {
        for field in &container.fields {
            let path = format!("{}.{}", container.key, field.key);
            if !is_visible(field, &facts).unwrap_or(false) {
                continue;
            }
            let given = visible
                .get(&container.key)
                .and_then(|group| group.get(&field.key));
            if let Err((rule, reason)) = check_field(field, given) {
                defects.push(Defect {
                    field: path,
                    rule,
                    reason,
                });
            }
        }
    }
    if defects.is_empty() {
        Ok(Checked {
            data: grouped,
            dropped,
        })
    } else {
        Err(defects)
    }
}

/// What a strict service says to fields that its form does not know.
pub(crate) fn unknown_fields(fields: Vec<String>) -> Vec<Defect> {
    let defect = |field| Defect {
        field,
        rule: "additionalProperties",
        reason: "the form has no such field".to_owned(),
    };
    fields.into_iter().map(defect).collect()
}

fn is_visible(field: &Field, facts: &dyn Facts) -> Result<bool, EvalError> {
    field
        .visible_when
        .as_ref()
        .map_or(Ok(true), |when| when.holds(facts))
}

/// Takes hidden fields out, again and again until nothing changes: a field may be hidden because
/// another one is.
fn hide(
    definition: &Definition,
    form: &Form,
    grouped: &mut Map<String, Json>,
    today: &str,
    dropped: &mut Vec<String>,
) -> Result<(), Defect> {
    loop {
        let before = grouped.clone();
        let facts = FileFacts::new(definition, &before, today);
        let mut changed = false;
        for container in &form.containers {
            for field in &container.fields {
                let path = format!("{}.{}", container.key, field.key);
                let visible = is_visible(field, &facts).map_err(|error| Defect {
                    field: path.clone(),
                    rule: "visibleWhen",
                    reason: error.to_string(),
                })?;
                let Some(Json::Object(group)) = grouped.get_mut(&container.key) else {
                    continue;
                };
                if !visible && group.remove(&field.key).is_some() {
                    dropped.push(path);
                    changed = true;
                }
            }
        }
        if !changed {
            return Ok(());
        }
    }
}

/// The rule that a value breaks, and what is expected instead.
type Broken = (&'static str, String);

fn broken<T>(rule: &'static str, expected: impl Into<String>) -> Result<T, Broken> {
    Err((rule, expected.into()))
}

fn check_field(field: &Field, given: Option<&Json>) -> Result<(), Broken> {
    let given = match given {
        None | Some(Json::Null) => None,
        Some(Json::String(text)) if text.trim().is_empty() => None,
        other => other,
    };
    let Some(given) = given else {
        return if field.required {
            broken("required", "a value is required")
        } else {
            Ok(())
        };
    };
    let typed = |sound: bool, expected: &str| match sound {
        true => Ok(()),
        false => broken("type", expected),
    };
    match &field.kind {
        FieldKind::Text {
            min_length,
            max_length,
        } => check_text(given, *min_length, *max_length),
        FieldKind::Number { min, max, whole } => check_number(given, *min, *max, *whole),
        FieldKind::Date => match given.as_str() {
            Some(text) if is_day(text) => Ok(()),
            _ => broken("format", "a day as YYYY-MM-DD is expected"),
        },
        FieldKind::Flag => typed(given.is_boolean(), "true or false is expected"),
        FieldKind::Choice(options) => match given.as_str() {
            Some(text) if options.iter().any(|option| option == text) => Ok(()),
            _ => broken("enum", "one of the offered options is expected"),
        },
    }
}

fn check_text(given: &Json, min_length: usize, max_length: usize) -> Result<(), Broken> {
    let Some(text) = given.as_str() else {
        return broken("type", "a text is expected");
    };
    let length = text.chars().count();
    if length < min_length || length > max_length {
        let rule = if length < min_length {
            "minLength"
        } else {
            "maxLength"
        };
        let expected = format!("{min_length} to {max_length} characters are expected");
        return broken(rule, expected);
    }
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.chars().any(control) {
        return broken("pattern", "holds a control character");
    }
    Ok(())
}

fn check_number(
    given: &Json,
    min: Option<Decimal>,
    max: Option<Decimal>,
    whole: bool,
) -> Result<(), Broken> {
    let number: Option<Decimal> = match given {
        Json::Number(number) => number.to_string().parse().ok(),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        return broken("type", "a number is expected");
    };
    if whole && number.fract() != Decimal::ZERO {
        return broken("type", "a whole number is expected");
    }
    match (min, max) {
        (Some(min), _) if number < min => broken("minimum", format!("at least {min} is expected")),
        (_, Some(max)) if number > max => broken("maximum", format!("at most {max} is expected")),
        _ => Ok(()),
    }
}

/// Whether a text is a day of the Gregorian calendar.
pub(crate) fn is_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = bytes.get(range)?;
        part.iter().all(u8::is_ascii_digit).then(|| {
            part.iter()
                .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
        })
    };
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition() -> Definition {
        Definition::read(
            json!({
                "serviceId": "support", "name": "Support",
                "forms": [{"eFormId": "f", "name": "Form", "containers": [{
                    "key": "household", "fields": [
                        {"key": "members", "type": "integer", "required": true,
                         "min": 1, "max": 50},
                        {"key": "income", "type": "number", "required": true, "min": 0},
                        {"key": "pregnant", "type": "boolean"},
                        {"key": "due", "type": "date", "required": true,
                         "visibleWhen": {"==": [{"var": "household.pregnant"}, true]}},
                        {"key": "region", "type": "select", "options": ["north", "south"]},
                    ],
                }]}],
                "determinants": {"poor": {"<": [{"var": "household.income"}, 100]}},
                "decisions": [{"when": {"determinant": "poor"}, "outcome": "APPROVED"}],
            })
            .to_string()
            .as_bytes(),
        )
        .unwrap()
    }

    fn checked(data: &Json) -> Result<Checked, Vec<Defect>> {
        let definition = definition();
        let form = definition.form("").unwrap();
        check(&definition, form, data.as_object().unwrap(), "2026-01-01")
    }

    #[test]
    fn flat_and_grouped_data_end_up_the_same() {
        let flat = checked(&json!({"members": 3, "income": "99.5"})).unwrap();
        let grouped = checked(&json!({"household": {"members": 3, "income": "99.5"}})).unwrap();
        assert_eq!(flat, grouped);
        assert_eq!(
            flat.data,
            *json!({"household": {"members": 3, "income": "99.5"}})
                .as_object()
                .unwrap()
        );
    }

    #[test]
    fn every_defect_is_named_without_its_value() {
        let defects = checked(&json!({
            "household": {"members": 51, "income": -1, "region": "secret", "pregnant": true},
        }))
        .unwrap_err();
        let named: Vec<&str> = defects.iter().map(|defect| defect.field.as_str()).collect();
        assert_eq!(
            named,
            [
                "household.members",
                "household.income",
                "household.due",
                "household.region"
            ]
        );
        assert!(
            defects
                .iter()
                .all(|defect| !defect.reason.contains("secret"))
        );
    }

    #[test]
    fn hidden_and_unknown_fields_are_dropped() {
        let result = checked(&json!({
            "members": 1, "income": 5, "due": "2026-02-30", "other": 1, "household": {"x": 1},
        }))
        .unwrap();
        assert_eq!(result.dropped, ["household.x", "other", "household.due"]);
        assert!(result.data["household"].get("due").is_none());
    }

    #[test]
    fn definitions_are_checked_whole() {
        let defects = Definition::read(
            json!({
                "serviceId": "a/b", "name": " ", "type": "Odd",
                "forms": [{"eFormId": "f", "name": "F", "containers": [
                    {"key": "c", "fields": [
                        {"key": "k", "type": "text"}, {"key": "k", "type": "colour"},
                    ]},
                ]}],
                "determinants": {
                    "x": {"determinant": "y"}, "y": {"!": [{"determinant": "x"}]},
                    "z": {"eval": ["code"]},
                },
                "roles": [{"id": "r", "name": "R", "when": {"var": "c.missing"}}],
            })
            .to_string()
            .as_bytes(),
        )
        .unwrap_err();
        let paths: Vec<&str> = defects.iter().map(|defect| defect.path.as_str()).collect();
        for expected in [
            "serviceId",
            "name",
            "type",
            "determinants.z",
            "determinants.x",
            "determinants.y",
            "roles[0].when",
            "forms[0].containers[0].fields[1].key",
            "forms[0].containers[0].fields[1].type",
        ] {
            assert!(paths.contains(&expected), "{expected} in {defects:?}");
        }
    }

    #[test]
    fn the_schema_says_what_is_checked() {
        let definition = definition();
        let schema = definition.form("f").unwrap().schema();
        let household = &schema["properties"]["household"];
        assert_eq!(household["required"], json!(["members", "income"]));
        assert_eq!(household["properties"]["members"]["maximum"], json!(50));
    }
}
