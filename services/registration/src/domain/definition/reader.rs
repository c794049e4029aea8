//! Reading a definition from JSON: every defect is listed, with its place.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    Container, Decision, Defect, Definition, Field, FieldKind, Form, MAX_BYTES, MAX_ITEMS,
    Outcomes, Property, Register, Role,
};
use crate::domain::expr::{self, Expr};
use crate::domain::flow::Outcome;

pub(super) fn read(bytes: &[u8]) -> Result<Definition, Vec<Defect>> {
    let mut reader = Reader::default();
    if bytes.len() > MAX_BYTES {
        reader.note("", format!("{} bytes, at most {MAX_BYTES}", bytes.len()));
        return Err(reader.defects);
    }
    let raw: Raw = match serde_json::from_slice(bytes) {
        Ok(raw) => raw,
        Err(error) => {
            reader.note("", publica_json::shape(&error));
            return Err(reader.defects);
        }
    };
    let definition = reader.definition(raw);
    reader.references(&definition);
    if reader.defects.is_empty() {
        Ok(definition)
    } else {
        Err(reader.defects)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    service_id: String,
    name: String,
    #[serde(rename = "type", default = "public")]
    kind: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    is_closed: bool,
    #[serde(default)]
    properties: Vec<Property>,
    forms: Vec<RawForm>,
    #[serde(default)]
    determinants: BTreeMap<String, Json>,
    #[serde(default)]
    decisions: Vec<RawDecision>,
    #[serde(default)]
    roles: Vec<RawRole>,
    #[serde(default)]
    register: Option<RawRegister>,
    #[serde(default)]
    consent_agreement: Option<String>,
    #[serde(default)]
    external_documents: bool,
    #[serde(default)]
    strict: bool,
}

fn public() -> String {
    "Public".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawForm {
    #[serde(rename = "eFormId")]
    eform_id: String,
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    version: String,
    containers: Vec<RawContainer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawContainer {
    key: String,
    #[serde(default)]
    title: String,
    fields: Vec<RawField>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawField {
    key: String,
    #[serde(default)]
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    required: bool,
    min: Option<Json>,
    max: Option<Json>,
    #[serde(default)]
    min_length: usize,
    max_length: Option<usize>,
    #[serde(default)]
    options: Vec<String>,
    visible_when: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawDecision {
    when: Json,
    outcome: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRole {
    id: String,
    name: String,
    when: Option<Json>,
    #[serde(default)]
    outcomes: Vec<String>,
    default_outcome: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRegister {
    name: String,
    fields: Vec<String>,
}

#[derive(Default)]
struct Reader {
    defects: Vec<Defect>,
}

impl Reader {
    fn note(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.defects.push(Defect {
            path: path.into(),
            reason: reason.into(),
        });
    }

    fn id(&mut self, path: &str, id: &str) {
        let visible = |c: char| c.is_ascii_graphic() && c != '/';
        if id.is_empty() || id.len() > 128 || !id.chars().all(visible) {
            self.note(
                path,
                "an id is 1 to 128 visible ASCII characters without `/`",
            );
        }
    }

    fn text(&mut self, path: &str, text: &str) {
        let control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if text.chars().any(control) {
            self.note(path, "holds a control character");
        }
    }

    fn most(&mut self, path: &str, count: usize) {
        if count > MAX_ITEMS {
            self.note(path, format!("{count} items, at most {MAX_ITEMS}"));
        }
    }

    fn condition(&mut self, path: String, json: Option<Json>) -> Option<Expr> {
        match expr::read(&json?) {
            Ok(expr) => Some(expr),
            Err(error) => {
                self.note(path, error.to_string());
                None
            }
        }
    }

    fn definition(&mut self, raw: Raw) -> Definition {
        self.id("serviceId", &raw.service_id);
        if raw.name.trim().is_empty() {
            self.note("name", "a name is required");
        }
        self.text("name", &raw.name);
        self.text("description", &raw.description);
        if !["None", "Private", "Public"].contains(&raw.kind.as_str()) {
            self.note("type", "None, Private or Public is expected");
        }
        if raw.forms.is_empty() {
            self.note("forms", "a service needs a form");
        }
        for (path, count) in [
            ("forms", raw.forms.len()),
            ("determinants", raw.determinants.len()),
            ("decisions", raw.decisions.len()),
            ("roles", raw.roles.len()),
            ("properties", raw.properties.len()),
        ] {
            self.most(path, count);
        }
        let mut determinants = BTreeMap::new();
        for (id, json) in raw.determinants {
            if let Some(expr) = self.condition(format!("determinants.{id}"), Some(json)) {
                determinants.insert(id, expr);
            }
        }
        let decisions = self.decisions(raw.decisions);
        let roles = self.roles(raw.roles);
        if decisions.is_empty() && roles.is_empty() {
            self.note("roles", "nobody and no rule could ever decide");
        }
        Definition {
            service_id: raw.service_id,
            name: raw.name,
            kind: raw.kind,
            description: raw.description,
            is_closed: raw.is_closed,
            properties: raw.properties,
            forms: raw
                .forms
                .into_iter()
                .enumerate()
                .map(|(at, form)| self.form(&format!("forms[{at}]"), form))
                .collect(),
            determinants,
            decisions,
            roles,
            register: raw.register.map(|register| Register {
                name: register.name,
                fields: register.fields,
            }),
            consent_agreement: raw.consent_agreement,
            external_documents: raw.external_documents,
            strict: raw.strict,
        }
    }

    fn form(&mut self, path: &str, raw: RawForm) -> Form {
        self.id(&format!("{path}.eFormId"), &raw.eform_id);
        self.text(&format!("{path}.name"), &raw.name);
        self.text(&format!("{path}.description"), &raw.description);
        self.text(&format!("{path}.version"), &raw.version);
        self.most(&format!("{path}.containers"), raw.containers.len());
        let mut keys = BTreeSet::new();
        let containers = raw
            .containers
            .into_iter()
            .enumerate()
            .map(|(at, container)| {
                let path = format!("{path}.containers[{at}]");
                if !keys.insert(container.key.clone()) {
                    self.note(format!("{path}.key"), "two containers share this key");
                }
                self.container(&path, container)
            })
            .collect();
        Form {
            eform_id: raw.eform_id,
            name: raw.name,
            description: raw.description,
            version: if raw.version.is_empty() {
                "1".to_owned()
            } else {
                raw.version
            },
            containers,
        }
    }

    fn container(&mut self, path: &str, raw: RawContainer) -> Container {
        self.key(&format!("{path}.key"), &raw.key);
        self.most(&format!("{path}.fields"), raw.fields.len());
        let mut keys = BTreeSet::new();
        let fields = raw
            .fields
            .into_iter()
            .enumerate()
            .map(|(at, field)| {
                let path = format!("{path}.fields[{at}]");
                self.key(&format!("{path}.key"), &field.key);
                if !keys.insert(field.key.clone()) {
                    self.note(format!("{path}.key"), "two fields share this key");
                }
                self.field(&path, field)
            })
            .collect();
        Container {
            key: raw.key,
            title: raw.title,
            fields,
        }
    }

    fn key(&mut self, path: &str, key: &str) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if key.is_empty() || key.len() > 64 || !key.bytes().all(plain) {
            self.note(path, "a key is 1 to 64 letters, digits and underscores");
        }
    }

    fn field(&mut self, path: &str, raw: RawField) -> Field {
        let mut bound = |name: &str, json: Option<Json>| {
            json.and_then(|json| match json.to_string().trim_matches('"').parse() {
                Ok(number) => Some(number),
                Err(_) => {
                    self.note(format!("{path}.{name}"), "a number is expected");
                    None
                }
            })
        };
        let (min, max) = (bound("min", raw.min), bound("max", raw.max));
        let kind = match raw.kind.as_str() {
            "text" => FieldKind::Text {
                min_length: raw.min_length,
                max_length: raw.max_length.unwrap_or(10_000).min(10_000),
            },
            "number" | "integer" => FieldKind::Number {
                min,
                max,
                whole: raw.kind == "integer",
            },
            "date" => FieldKind::Date,
            "boolean" => FieldKind::Flag,
            "select" => {
                if raw.options.is_empty() {
                    self.note(format!("{path}.options"), "a selector needs options");
                }
                FieldKind::Choice(raw.options)
            }
            _ => {
                self.note(
                    format!("{path}.type"),
                    "text, number, integer, date, boolean or select is expected",
                );
                FieldKind::Flag
            }
        };
        let visible_when = self.condition(format!("{path}.visibleWhen"), raw.visible_when);
        Field {
            key: raw.key,
            label: raw.label,
            kind,
            required: raw.required,
            visible_when,
        }
    }

    fn decisions(&mut self, raw: Vec<RawDecision>) -> Vec<Decision> {
        let mut decisions = Vec::new();
        for (at, decision) in raw.into_iter().enumerate() {
            let path = format!("decisions[{at}]");
            if !["APPROVED", "REJECTED"].contains(&decision.outcome.as_str()) {
                self.note(
                    format!("{path}.outcome"),
                    "APPROVED or REJECTED is expected",
                );
            }
            if let Some(when) = self.condition(format!("{path}.when"), Some(decision.when)) {
                let approve = decision.outcome == "APPROVED";
                decisions.push(Decision {
                    when,
                    approve,
                    reason: decision.reason,
                });
            }
        }
        decisions
    }

    fn roles(&mut self, raw: Vec<RawRole>) -> Vec<Role> {
        let mut ids = BTreeSet::new();
        let mut roles = Vec::new();
        for (at, role) in raw.into_iter().enumerate() {
            let path = format!("roles[{at}]");
            self.id(&format!("{path}.id"), &role.id);
            self.text(&format!("{path}.name"), &role.name);
            if !ids.insert(role.id.clone()) {
                self.note(format!("{path}.id"), "two roles share this id");
            }
            for outcome in &role.outcomes {
                if outcome_of(outcome).is_none() {
                    self.note(
                        format!("{path}.outcomes"),
                        "APPROVED, SENDBACK and REJECTED are expected",
                    );
                }
            }
            let may = |name: &str| {
                role.outcomes.is_empty() || role.outcomes.iter().any(|outcome| outcome == name)
            };
            let outcomes = Outcomes {
                approve: may("APPROVED"),
                send_back: may("SENDBACK"),
                reject: may("REJECTED"),
            };
            let default_outcome = role.default_outcome.as_deref().and_then(|outcome| {
                let named = outcome_of(outcome).filter(|named| outcomes.offer(*named));
                // Sending back needs a reason, which a default cannot give.
                let usable = named.filter(|named| *named != Outcome::SentBack);
                if usable.is_none() {
                    let text = "APPROVED or REJECTED is expected, as far as the role offers it";
                    self.note(format!("{path}.defaultOutcome"), text);
                }
                usable
            });
            let when = self.condition(format!("{path}.when"), role.when);
            roles.push(Role {
                role_id: role.id,
                name: role.name,
                when,
                outcomes,
                default_outcome,
            });
        }
        roles
    }

    /// Every field and determinant that is named must exist, and none may need itself.
    fn references(&mut self, definition: &Definition) {
        let fields: BTreeSet<String> = definition
            .forms
            .iter()
            .flat_map(|form| &form.containers)
            .flat_map(|group| {
                group
                    .fields
                    .iter()
                    .map(|field| format!("{}.{}", group.key, field.key))
            })
            .collect();
        let mut expressions: Vec<(String, &Expr)> = Vec::new();
        for (id, expr) in &definition.determinants {
            expressions.push((format!("determinants.{id}"), expr));
            if reaches(&definition.determinants, id, id) {
                self.note(format!("determinants.{id}"), "the determinant needs itself");
            }
        }
        for (at, decision) in definition.decisions.iter().enumerate() {
            expressions.push((format!("decisions[{at}].when"), &decision.when));
        }
        for (at, role) in definition.roles.iter().enumerate() {
            expressions.extend(
                role.when
                    .iter()
                    .map(|when| (format!("roles[{at}].when"), when)),
            );
        }
        for form in &definition.forms {
            for group in &form.containers {
                for field in &group.fields {
                    let path = format!("{}.{}.visibleWhen", group.key, field.key);
                    expressions.extend(field.visible_when.iter().map(|when| (path.clone(), when)));
                }
            }
        }
        for (path, expr) in expressions {
            let (read, named) = expr.references();
            for field in read.into_iter().filter(|field| !fields.contains(*field)) {
                self.note(path.clone(), format!("there is no field `{field}`"));
            }
            for id in named
                .into_iter()
                .filter(|id| !definition.determinants.contains_key(*id))
            {
                self.note(path.clone(), format!("there is no determinant `{id}`"));
            }
        }
        for field in definition
            .register
            .iter()
            .flat_map(|register| &register.fields)
        {
            if !fields.contains(field) {
                self.note("register.fields", format!("there is no field `{field}`"));
            }
        }
    }
}

fn outcome_of(name: &str) -> Option<Outcome> {
    match name {
        "APPROVED" => Some(Outcome::Approved),
        "SENDBACK" => Some(Outcome::SentBack),
        "REJECTED" => Some(Outcome::Rejected),
        _ => None,
    }
}

/// Whether `from` refers, directly or through others, to `target`.
fn reaches(determinants: &BTreeMap<String, Expr>, from: &str, target: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        let Some(expr) = determinants.get(id) else {
            continue;
        };
        for next in expr.references().1 {
            if next == target {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}
