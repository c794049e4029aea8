//! What is wrong with a request, field by field, and the checks that most fields share.

/// The longest name or purpose, in characters.
pub(crate) const MAX_NAME: usize = 1_024;
/// The longest description, in characters.
pub(crate) const MAX_TEXT: usize = 4_096;
/// The longest id, in characters.
pub(crate) const MAX_ID: usize = 64;
/// The longest snapshot or payload, in bytes.
pub(crate) const MAX_SNAPSHOT: usize = 256 * 1_024;

/// All that is wrong with a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Violations(Vec<(String, String)>);

impl Violations {
    /// Nothing wrong yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Exactly one thing.
    pub(crate) fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self(vec![(field.into(), description.into())])
    }

    /// Adds one thing.
    pub(crate) fn push(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push((field.into(), description.into()));
    }

    /// Adds all of another list.
    pub(crate) fn append(&mut self, inner: Self) {
        self.0.extend(inner.0);
    }

    /// Adds all of another list, below a field.
    pub(crate) fn nest(&mut self, field: &str, inner: Self) {
        for (name, description) in inner.0 {
            self.0.push((format!("{field}.{name}"), description));
        }
    }

    /// Fields and descriptions.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value if nothing is wrong.
    pub(crate) fn check<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// A text of one line that must be there.
    pub(crate) fn name(&mut self, field: &str, value: &str) {
        if value.trim().is_empty() {
            self.push(field, "is required");
        }
        self.line(field, value, MAX_NAME);
    }

    /// A text of one line that may be empty.
    pub(crate) fn line(&mut self, field: &str, value: &str, max: usize) {
        if value.chars().count() > max {
            self.push(field, format!("has more than {max} characters"));
        }
        if value.chars().any(char::is_control) {
            self.push(field, "has control characters");
        }
    }

    /// A text of several lines that may be empty.
    pub(crate) fn text(&mut self, field: &str, value: &str, max: usize) {
        if value.chars().count() > max {
            self.push(field, format!("has more than {max} characters"));
        }
        if value
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
        {
            self.push(field, "has control characters");
        }
    }

    /// An id that may be empty.
    pub(crate) fn optional_id(&mut self, field: &str, value: &str) {
        if !value.is_empty() && !is_id(value) {
            self.push(field, "is not an id: 1 to 64 of A-Z a-z 0-9 . _ ~ -");
        }
    }

    /// An id that must be there.
    pub(crate) fn id(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            self.push(field, "is required");
        }
        self.optional_id(field, value);
    }

    /// An absolute http or https URL that may be empty.
    pub(crate) fn optional_url(&mut self, field: &str, value: &str) {
        if !value.is_empty() && !is_url(value) {
            self.push(field, "is not an absolute http or https URL");
        }
        self.line(field, value, MAX_NAME);
    }

    /// A list with at most so many members.
    pub(crate) fn count(&mut self, field: &str, found: usize, max: usize) {
        if found > max {
            self.push(field, format!("has more than {max} members"));
        }
    }
}

/// Whether a text can be an id.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
}

/// Whether a text is an absolute http or https URL.
pub(crate) fn is_url(text: &str) -> bool {
    let rest = ["https://", "http://"].iter().find_map(|scheme| {
        let head = text.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme)
            .then(|| &text[scheme.len()..])
    });
    let host = rest
        .and_then(|rest| rest.split(['/', '?', '#']).next())
        .unwrap_or("");
    !host.is_empty()
        && !text
            .chars()
            .any(|c| c.is_whitespace() || "<>\"{}|\\^`".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_grammar() {
        for good in [
            "1",
            "018f4e3c-5f00-7000-8000-000000000001",
            "a.b_c~d-e",
            &"x".repeat(64),
        ] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", "a/b", "ä", "a b", "%20", &"x".repeat(65), "a\n"] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn urls_are_absolute() {
        for good in [
            "https://example.com/",
            "http://x",
            "HTTPS://example.com?a=b#c",
        ] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "ftp://x",
            "https://",
            "https:///x",
            "https://a b",
            "ä",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }

    #[test]
    fn all_violations_are_kept() {
        let mut found = Violations::new();
        found.name("name", " ");
        found.id("id", "");
        found.optional_url("url", "nowhere");
        found.line("line", "a\u{7}", 10);
        found.text("text", "a\nb", 2);
        let fields: Vec<&str> = found
            .pairs()
            .iter()
            .map(|(field, _)| field.as_str())
            .collect();
        assert_eq!(fields, ["name", "id", "url", "line", "text"]);
        assert!(found.check(()).is_err());
    }
}
