//! Templates: parsed once, strict about variables, rendered for each recipient.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};

mod measure;

/// Steps of the template engine a rendition may take.
const FUEL: u64 = 100_000;
/// Largest rendered part.
pub(crate) const CONTENT_MAX: usize = 1024 * 1024;

const SUBJECT: &str = "subject";
const TEXT: &str = "text";
const HTML: &str = "html";

/// Sources in one language.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Variant {
    #[prost(string, tag = "1")]
    pub(crate) locale: String,
    #[prost(string, tag = "2")]
    pub(crate) subject: String,
    #[prost(string, tag = "3")]
    pub(crate) text: String,
    #[prost(string, tag = "4")]
    pub(crate) html: String,
    #[prost(string, tag = "5")]
    pub(crate) charset: String,
}

/// What a recipient reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// Why a template cannot be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("{part} cannot be parsed: {why}")]
    Syntax { part: &'static str, why: String },
    #[error("uses the variable `{0}`, which was not declared")]
    Undeclared(String),
    #[error("a variable has no value")]
    Missing,
    #[error("takes too long or becomes too large")]
    Costly,
    #[error("fails while it is rendered")]
    Failed,
}

impl TemplateError {
    /// A stable word for events.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing_parameter",
            Self::Costly => "template_too_costly",
            _ => "template_failed",
        }
    }
}

/// A parsed variant.
#[derive(Debug)]
pub(crate) struct Compiled {
    environment: Environment<'static>,
    html: bool,
}

impl Compiled {
    /// Parses the parts of a variant.
    pub(crate) fn new(variant: &Variant) -> Result<Self, TemplateError> {
        let mut environment = Environment::empty();
        // `empty` leaves out what could loop for long; these are the harmless filters.
        add_filters(&mut environment);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(32);
        environment.set_auto_escape_callback(|name| {
            if name == HTML {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        let html = !variant.html.is_empty();
        let parts = [
            (SUBJECT, &variant.subject),
            (TEXT, &variant.text),
            (HTML, &variant.html),
        ];
        for (part, source) in parts {
            measure::check(source).map_err(|why| TemplateError::Syntax { part, why })?;
            environment
                .add_template_owned(part, source.clone())
                .map_err(|error| TemplateError::Syntax {
                    part,
                    why: error.kind().to_string(),
                })?;
        }
        Ok(Self { environment, html })
    }

    /// Names of the variables that the parts use.
    pub(crate) fn variables(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for part in [SUBJECT, TEXT, HTML] {
            if let Ok(template) = self.environment.get_template(part) {
                names.extend(template.undeclared_variables(false));
            }
        }
        names
    }

    /// Refuses a variant that uses more than was declared.
    pub(crate) fn check_declared(&self, declared: &[String]) -> Result<(), TemplateError> {
        match self
            .variables()
            .into_iter()
            .find(|name| !declared.contains(name))
        {
            Some(name) => Err(TemplateError::Undeclared(name)),
            None => Ok(()),
        }
    }

    /// Renders all parts with the given values.
    pub(crate) fn render(
        &self,
        values: &BTreeMap<String, String>,
    ) -> Result<Rendered, TemplateError> {
        Ok(Rendered {
            subject: self.part(SUBJECT, values)?,
            text: self.part(TEXT, values)?,
            html: if self.html {
                self.part(HTML, values)?
            } else {
                String::new()
            },
        })
    }

    fn part(&self, part: &str, values: &BTreeMap<String, String>) -> Result<String, TemplateError> {
        let template = self
            .environment
            .get_template(part)
            .map_err(|_| TemplateError::Failed)?;
        let mut out = Bounded(Vec::with_capacity(256));
        template
            .render_captured_to(values, &mut out)
            .map_err(|error| match error.kind() {
                ErrorKind::UndefinedError => TemplateError::Missing,
                ErrorKind::OutOfFuel | ErrorKind::WriteFailure => TemplateError::Costly,
                _ => TemplateError::Failed,
            })?;
        String::from_utf8(out.0).map_err(|_| TemplateError::Failed)
    }
}

fn add_filters(environment: &mut Environment<'static>) {
    use minijinja::filters;
    environment.add_filter("upper", filters::upper);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("title", filters::title);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("replace", filters::replace);
    environment.add_filter("int", filters::int);
    environment.add_filter("default", filters::default);
    environment.add_filter("length", filters::length);
}

/// Collects output up to the largest part.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > CONTENT_MAX {
            return Err(io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The variant for a language: the tag itself, then its shorter forms, then the first.
pub(crate) fn choose(locales: &[&str], wanted: &str) -> usize {
    let mut tag = wanted.trim();
    while !tag.is_empty() {
        if let Some(index) = locales.iter().position(|one| one.eq_ignore_ascii_case(tag)) {
            return index;
        }
        tag = tag.rsplit_once('-').map_or("", |(shorter, _)| shorter);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(text: &str, html: &str) -> Variant {
        Variant {
            locale: "en".to_owned(),
            subject: "For {{ name }}".to_owned(),
            text: text.to_owned(),
            html: html.to_owned(),
            charset: String::new(),
        }
    }

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn parts_are_rendered_and_html_is_escaped() {
        let compiled = Compiled::new(&variant(
            "Dear {{ name }}, {% if n|int == 1 %}one day{% else %}{{ n }} days{% endif %}.",
            "<p>{{ name }}</p>",
        ))
        .unwrap();
        assert_eq!(
            compiled.variables().into_iter().collect::<Vec<_>>(),
            ["n", "name"]
        );
        let rendered = compiled
            .render(&values(&[("name", "<A & B>"), ("n", "3")]))
            .unwrap();
        assert_eq!(rendered.subject, "For <A & B>");
        assert_eq!(rendered.text, "Dear <A & B>, 3 days.");
        assert_eq!(rendered.html, "<p>&lt;A &amp; B&gt;</p>");
    }

    #[test]
    fn variables_are_strict() {
        let compiled = Compiled::new(&variant("{{ name }} {{ code }}", "")).unwrap();
        assert_eq!(
            compiled.render(&values(&[("name", "A")])),
            Err(TemplateError::Missing)
        );
        assert_eq!(
            compiled.check_declared(&["name".to_owned()]),
            Err(TemplateError::Undeclared("code".to_owned()))
        );
        assert_eq!(
            compiled.check_declared(&["name".to_owned(), "code".to_owned()]),
            Ok(())
        );
    }

    #[test]
    fn broken_and_greedy_templates_are_refused() {
        assert!(matches!(
            Compiled::new(&variant("{{ name", "")),
            Err(TemplateError::Syntax { part: "text", .. })
        ));
        assert!(Compiled::new(&variant("{% include 'x' %}", "")).is_err());
        let loops = "{% for a in [1,2,3]*300 %}{% for b in [1,2,3]*300 %}x{% endfor %}{% endfor %}";
        let compiled = Compiled::new(&variant(loops, "")).unwrap();
        assert_eq!(
            compiled.render(&values(&[("name", "A")])),
            Err(TemplateError::Costly)
        );
        let compiled = Compiled::new(&variant("{{ 'x' * 2000000 }}", "")).unwrap();
        assert_eq!(
            compiled.render(&values(&[("name", "A")])),
            Err(TemplateError::Costly)
        );
    }

    #[test]
    fn languages_fall_back_step_by_step() {
        let locales = ["en", "sw", "fr-CH"];
        for (wanted, expected) in [
            ("sw-KE", 1),
            ("SW", 1),
            ("fr-CH-1996", 2),
            ("fr", 0),
            ("", 0),
            ("am", 0),
        ] {
            assert_eq!(choose(&locales, wanted), expected, "{wanted}");
        }
    }
}
