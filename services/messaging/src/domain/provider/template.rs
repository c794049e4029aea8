//! Texts with places for what a message has: `{{ to }}`.

use serde_json::{Map, Number, Value};

/// Nesting of a JSON body.
const DEPTH_MAX: usize = 16;
/// Why a number cannot stand somewhere.
const ALONE: &str = "a number must be all that a text holds";

/// What a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    To,
    ToDigits,
    From,
    Text,
    Id,
    Parts,
    Validity,
    Secret,
}

impl Place {
    const ALL: [(&'static str, Self); 8] = [
        ("to", Self::To),
        ("to_digits", Self::ToDigits),
        ("from", Self::From),
        ("text", Self::Text),
        ("id", Self::Id),
        ("parts", Self::Parts),
        ("validity_seconds", Self::Validity),
        ("secret", Self::Secret),
    ];

    fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, place)| place).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("has a place that is none of {}", names.join(", "))
        })
    }
}

/// What stands in the places of one message.
pub(crate) struct Values<'a> {
    /// The number, in its international form with a plus.
    pub(crate) to: &'a str,
    pub(crate) from: &'a str,
    pub(crate) text: &'a str,
    /// The same at each attempt, so that a provider knows a repeat.
    pub(crate) id: &'a str,
    pub(crate) parts: usize,
    pub(crate) validity_seconds: u64,
    pub(crate) secret: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
    /// It stands for a number rather than a text.
    number: bool,
}

impl Template {
    /// Reads a text. What is not between double braces stands for itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut number) = (Vec::new(), false);
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or("has an open place")?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let name = match inside.split_once('|') {
                None => inside,
                Some((name, filter)) if filter.trim() == "number" => {
                    number = true;
                    name
                }
                Some(_) => return Err("has a filter other than number".to_owned()),
            };
            pieces.push(Piece::Place(Place::parse(name.trim())?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if number && pieces.len() != 1 {
            return Err(ALONE.to_owned());
        }
        Ok(Self { pieces, number })
    }

    pub(crate) fn render(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Place(place) => match place {
                    Place::To => text.push_str(values.to),
                    Place::ToDigits => text.push_str(values.to.trim_start_matches('+')),
                    Place::From => text.push_str(values.from),
                    Place::Text => text.push_str(values.text),
                    Place::Id => text.push_str(values.id),
                    Place::Parts => text.push_str(&values.parts.to_string()),
                    Place::Validity => text.push_str(&values.validity_seconds.to_string()),
                    Place::Secret => text.push_str(values.secret),
                },
            }
        }
        text
    }

    fn has(&self, place: Place) -> bool {
        self.pieces.contains(&Piece::Place(place))
    }
}

/// A body with places.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Json(Node),
    Form(Vec<(String, Template)>),
}

/// A JSON value whose texts have places. Values are put in as values, so that nothing in a
/// message can be taken for JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Fixed(Value),
    Text(Template),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Body {
    /// Reads a JSON body.
    pub(crate) fn json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|_| "is no JSON".to_owned())?;
        let body = Self::Json(Node::read(value, 0)?);
        body.check().map(|()| body)
    }

    /// Reads the fields of a form.
    pub(crate) fn form<'a>(
        fields: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let fields = fields.map(|(name, text)| {
            let template = Template::parse(text).map_err(|why| format!("{name}: {why}"))?;
            if template.number {
                return Err(format!("{name}: a form has no numbers"));
            }
            Ok((name.to_owned(), template))
        });
        let body = Self::Form(fields.collect::<Result<_, _>>()?);
        body.check().map(|()| body)
    }

    /// A message that goes nowhere, or says nothing, is no message.
    fn check(&self) -> Result<(), String> {
        let has = |place| self.templates().iter().any(|one| one.has(place));
        if !has(Place::To) && !has(Place::ToDigits) {
            return Err("has no place for the number, {{ to }} or {{ to_digits }}".to_owned());
        }
        if !has(Place::Text) {
            return Err("has no place for the text, {{ text }}".to_owned());
        }
        Ok(())
    }

    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Json(node) => node.templates(),
            Self::Form(fields) => fields.iter().map(|(_, template)| template).collect(),
        }
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Form(_) => "application/x-www-form-urlencoded",
        }
    }

    pub(crate) fn render(&self, values: &Values<'_>) -> Vec<u8> {
        match self {
            Self::Json(node) => node.render(values).to_string().into_bytes(),
            Self::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, template) in fields {
                    form.append_pair(name, &template.render(values));
                }
                form.finish().into_bytes()
            }
        }
    }
}

impl Node {
    fn read(value: Value, depth: usize) -> Result<Self, String> {
        if depth > DEPTH_MAX {
            return Err("is nested too deeply".to_owned());
        }
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(&text)?),
            Value::Array(items) => {
                let items = items.into_iter().map(|item| Self::read(item, depth + 1));
                Self::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let members = members
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::read(value, depth + 1)?)));
                Self::Object(members.collect::<Result<_, String>>()?)
            }
            fixed => Self::Fixed(fixed),
        })
    }

    fn render(&self, values: &Values<'_>) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => {
                let text = template.render(values);
                let number = text.trim_start_matches('+').parse::<u64>();
                match number {
                    Ok(number) if template.number => Value::Number(Number::from(number)),
                    _ => Value::String(text),
                }
            }
            Self::List(items) => items.iter().map(|item| item.render(values)).collect(),
            Self::Object(members) => {
                let members = members
                    .iter()
                    .map(|(name, node)| (name.clone(), node.render(values)));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    fn templates(&self) -> Vec<&Template> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::Text(template) => vec![template],
            Self::List(items) => items.iter().flat_map(Self::templates).collect(),
            Self::Object(members) => members
                .iter()
                .flat_map(|(_, node)| node.templates())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Values<'_> {
        Values {
            to: "+254722000111",
            from: "Ministry",
            text,
            id: "m-1",
            parts: 2,
            validity_seconds: 3_600,
            secret: "s3&cret",
        }
    }

    #[test]
    fn json_keeps_its_form_whatever_a_message_says() {
        let body = Body::json(
            r#"{"to": ["{{ to }}"], "n": "{{ to | number }}", "text": "{{text}}", "flash": false,
                "ref": "pub-{{ id }}", "more": {"parts": "{{ parts | number }}", "x": 7}}"#,
        )
        .unwrap();
        let hostile = "\", \"to\": \"+1\" {{ secret }}\n\u{1F600}";
        let sent: Value = serde_json::from_slice(&body.render(&values(hostile))).unwrap();
        let expected = serde_json::json!({
            "to": ["+254722000111"], "n": 254_722_000_111_u64, "text": hostile, "flash": false,
            "ref": "pub-m-1", "more": {"parts": 2, "x": 7},
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn forms_are_escaped() {
        let fields = [
            ("to", "{{ to_digits }}"),
            ("message", "{{ text }}"),
            ("key", "{{ secret }}"),
        ];
        let body = Body::form(fields.into_iter()).unwrap();
        let sent = body.render(&values("a&to=1 ü+"));
        let expected = "to=254722000111&message=a%26to%3D1+%C3%BC%2B&key=s3%26cret";
        assert_eq!(String::from_utf8(sent).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_rendered_is_refused() {
        for (text, why) in [
            ("{", "is no JSON"),
            (r#"{"a": "{{ to }}"}"#, "has no place for the text"),
            (r#"{"a": "{{ text }}"}"#, "has no place for the number"),
            (r#"{"a": "{{ to"}"#, "has an open place"),
            (r#"{"a": "{{ whom }}"}"#, "none of to, to_digits"),
            (r#"{"a": "{{ to | upper }}"}"#, "other than number"),
            (r#"{"a": "x{{ to | number }}"}"#, ALONE),
        ] {
            let refused = Body::json(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let numbers = [("to", "{{ to | number }}"), ("text", "{{ text }}")];
        assert!(Body::form(numbers.into_iter()).is_err());
    }
}
