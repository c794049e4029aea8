//! The definition of a service as an analyst writes it: forms, determinants, roles, automatic
//! decisions and the register. It is read once, checked whole, and never changes afterwards.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::expr::Expr;
use super::flow::Outcome;

mod reader;

/// The largest definition, in bytes, and the most of anything in it.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
const MAX_ITEMS: usize = 1_000;

/// One thing wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defect {
    /// Where, such as `forms[0].containers[1].key`.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

/// A checked definition.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// Opaque id of the service.
    pub service_id: String,
    /// Its name.
    pub name: String,
    /// `None`, `Private` or `Public`.
    pub kind: String,
    /// What it is for.
    pub description: String,
    /// Whether the process accepts only modelled events.
    pub is_closed: bool,
    /// Free properties.
    pub properties: Vec<Property>,
    /// The forms, the first being the one applicants fill.
    pub forms: Vec<Form>,
    /// Named conditions.
    pub determinants: BTreeMap<String, Expr>,
    /// Automatic decisions, tried in order when a file arrives.
    pub decisions: Vec<Decision>,
    /// Processing roles, by position.
    pub roles: Vec<Role>,
    /// The register that approvals write into.
    pub register: Option<Register>,
    /// The data agreement that applicants must have consented to, if any.
    pub consent_agreement: Option<String>,
    /// Whether applicants may refer to documents that are kept elsewhere.
    pub external_documents: bool,
    /// Whether members that the form does not know are refused instead of dropped.
    pub strict: bool,
}

/// A free property of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Property {
    /// Its code.
    pub code: String,
    /// Its value.
    pub value: String,
}

/// A form: containers of fields.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// Opaque id.
    pub eform_id: String,
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub description: String,
    /// Its version.
    pub version: String,
    /// The groups of fields.
    pub containers: Vec<Container>,
}

/// A group of fields.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    /// Its key.
    pub key: String,
    /// What people read.
    pub title: String,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// One field of a form.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// Its key, unique in the container.
    pub key: String,
    /// What people read.
    pub label: String,
    /// What values it takes.
    pub kind: FieldKind,
    /// Whether it must be given when it is visible.
    pub required: bool,
    /// The condition under which it is shown; always, if none.
    pub visible_when: Option<Expr>,
}

/// The kinds of values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FieldKind {
    /// Text with bounds in characters.
    Text {
        /// Fewest characters.
        min_length: usize,
        /// Most characters.
        max_length: usize,
    },
    /// A number with inclusive bounds.
    Number {
        /// Smallest value.
        min: Option<rust_decimal::Decimal>,
        /// Largest value.
        max: Option<rust_decimal::Decimal>,
        /// Whether fractions are refused.
        whole: bool,
    },
    /// A day as `YYYY-MM-DD`.
    Date,
    /// True or false.
    Flag,
    /// One of several texts.
    Choice(Vec<String>),
}

/// An automatic decision.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    /// When it applies.
    pub when: Expr,
    /// Approved or refused.
    pub approve: bool,
    /// Why, as the applicant reads it.
    pub reason: String,
}

/// A processing role.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// Opaque id.
    pub role_id: String,
    /// Its name.
    pub name: String,
    /// When the role is needed; always, if none.
    pub when: Option<Expr>,
    /// Whether it may approve, send back, refuse.
    pub outcomes: Outcomes,
    /// What a completion without a decision means, if anything.
    pub default_outcome: Option<Outcome>,
}

/// What a role may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub approve: bool,
    pub send_back: bool,
    pub reject: bool,
}

impl Outcomes {
    /// Whether the role may decide so.
    pub(crate) fn offer(self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Approved => self.approve,
            Outcome::SentBack => self.send_back,
            Outcome::Rejected => self.reject,
        }
    }
}

/// The register behind a service.
#[derive(Debug, Clone)]
pub(crate) struct Register {
    /// Its name.
    pub name: String,
    /// The fields an approval writes, as `container.key`.
    pub fields: Vec<String>,
}

impl Definition {
    /// Reads and checks a definition; every defect is listed.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Vec<Defect>> {
        reader::read(bytes)
    }

    /// A form by its id, or the first.
    pub(crate) fn form(&self, eform_id: &str) -> Option<&Form> {
        if eform_id.is_empty() {
            self.forms.first()
        } else {
            self.forms.iter().find(|form| form.eform_id == eform_id)
        }
    }
}

impl Form {
    /// The form's data as a JSON Schema (2020-12).
    pub(crate) fn schema(&self) -> Json {
        let containers: serde_json::Map<String, Json> = self
            .containers
            .iter()
            .map(|container| (container.key.clone(), container.schema()))
            .collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "type": "object",
            "properties": containers,
        })
    }
}

impl Container {
    fn schema(&self) -> Json {
        let fields: serde_json::Map<String, Json> = self
            .fields
            .iter()
            .map(|field| (field.key.clone(), field.schema()))
            .collect();
        let required: Vec<&str> = self
            .fields
            .iter()
            // A field that may be hidden is not required of every applicant.
            .filter(|field| field.required && field.visible_when.is_none())
            .map(|field| field.key.as_str())
            .collect();
        json!({
            "type": "object", "title": self.title, "properties": fields, "required": required,
        })
    }
}

impl Field {
    fn schema(&self) -> Json {
        let mut schema = match &self.kind {
            FieldKind::Text {
                min_length,
                max_length,
            } => json!({
                "type": "string", "minLength": min_length, "maxLength": max_length,
            }),
            FieldKind::Number { min, max, whole } => {
                let mut schema = json!({"type": if *whole { "integer" } else { "number" }});
                let bound = |value: &rust_decimal::Decimal| {
                    serde_json::from_str::<Json>(&value.to_string()).unwrap_or(Json::Null)
                };
                if let Some(min) = min {
                    schema["minimum"] = bound(min);
                }
                if let Some(max) = max {
                    schema["maximum"] = bound(max);
                }
                schema
            }
            FieldKind::Date => json!({"type": "string", "format": "date"}),
            FieldKind::Flag => json!({"type": "boolean"}),
            FieldKind::Choice(options) => json!({"type": "string", "enum": options}),
        };
        schema["title"] = Json::String(self.label.clone());
        schema
    }
}
