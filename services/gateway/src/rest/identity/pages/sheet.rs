//! Putting a page together: templates with values and texts, everything escaped on its way in.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;

use super::language::{Counted, Language};
use crate::pages;

const FRAME: &str = include_str!("../../../../web/login/frame.html");
const SUMMARY: &str = include_str!("../../../../web/login/summary.html");

/// Longer client names are cut here; whoever needs more than this wants to deceive.
const MAX_CLIENT: usize = 256;

/// A page in the making.
pub(super) struct Sheet {
    language: &'static Language,
    root: String,
    values: Vec<(&'static str, String)>,
    is_error: bool,
}

impl Sheet {
    /// A page in a language, below a root such as `/identity`.
    pub(super) fn new(language: &'static Language, root: &str, issuer: &str) -> Self {
        let mut sheet = Self {
            language,
            root: root.to_owned(),
            values: Vec::new(),
            is_error: false,
        };
        sheet.text("root", root);
        sheet.text("issuer", issuer);
        sheet.text("lang", language.code);
        sheet.text("dir", &language.direction);
        sheet
    }

    /// The page's language.
    pub(super) fn language(&self) -> &'static Language {
        self.language
    }

    /// The root that addresses begin with.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Sets a value; it is escaped.
    pub(super) fn text(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.html(name, escape(value).into_owned())
    }

    /// Sets a value that is HTML already.
    pub(super) fn html(&mut self, name: &'static str, value: String) -> &mut Self {
        self.values.retain(|(known, _)| *known != name);
        self.values.push((name, value));
        self
    }

    /// Sets a name that somebody else chose: cut, and kept apart from the direction of the text
    /// around it.
    pub(super) fn name(&mut self, name: &'static str, value: &str) -> &mut Self {
        let cut: String = value.chars().take(MAX_CLIENT).collect();
        self.html(name, format!("<bdi>{}</bdi>", escape(&cut)))
    }

    /// Sets a number of something, in words.
    pub(super) fn count(&mut self, name: &'static str, what: Counted, number: u64) -> &mut Self {
        let words = self.language.count(what, number);
        self.text(name, &words)
    }

    /// Says what is wrong, in the summary, beside the field and in the title.
    pub(super) fn problem(&mut self, field: &'static str, key: &str) -> &mut Self {
        let words = self.words(key);
        self.is_error = true;
        self.html("field_error", words);
        self.text("field", field);
        self.html("invalid", " aria-invalid=\"true\"".to_owned());
        let summary = self.fill(SUMMARY);
        self.html("summary", summary)
    }

    /// A text of the language with the values it names.
    pub(super) fn words(&self, key: &str) -> String {
        let text = self.language.text(key);
        let mut filled = String::with_capacity(text.len() + 64);
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(&escape(before));
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            filled.push_str(self.value(name));
            rest = after;
        }
        filled.push_str(&escape(rest));
        filled
    }

    fn value(&self, name: &str) -> &str {
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    /// A template with its values and texts.
    pub(super) fn fill(&self, template: &str) -> String {
        let mut filled = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            match name.strip_prefix("t:") {
                Some(key) => filled.push_str(&self.words(key)),
                None => filled.push_str(self.value(name)),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }

    /// The page whose content is a template and whose title is a text. Forms may lead, by way of
    /// a redirect, to `target`, besides this server.
    pub(super) fn page(
        mut self,
        status: StatusCode,
        template: &str,
        title: &str,
        target: &str,
    ) -> Response {
        let title = strip_tags(&self.words(title));
        self.html("title", title);
        if self.is_error {
            let prefix = self.language.text("error_title");
            self.text("prefix_of_title", prefix);
        } else {
            self.html("autofocus", " autofocus".to_owned());
        }
        let content = self.fill(template);
        self.html("content", content);
        pages::rendered(status, self.fill(FRAME), target)
    }
}

/// A text as HTML, fit for the inside of elements and of attributes in double quotes.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped.into()
}

/// HTML without its tags, for a title; what is escaped stays so.
fn strip_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut inside = false;
    for character in html.chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            other if !inside => text.push(other),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_others_choose_becomes_markup() {
        let mut sheet = Sheet::new(Language::first(), "/identity", "Issuer");
        sheet.name("client", "<script>\"a\" & 'b'</script>");
        let words = sheet.words("consent_title");
        assert_eq!(
            words,
            "<bdi>&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;</bdi> wants to see \
             this about you"
        );
        assert!(!strip_tags(&words).contains('<'));
        sheet.name("client", &"x".repeat(300));
        assert!(sheet.words("asking").len() < 290);
    }

    #[test]
    fn templates_take_values_and_texts() {
        let mut sheet = Sheet::new(Language::first(), "", "Issuer");
        sheet.text("typed", "a<b");
        assert_eq!(
            sheet.fill("<p>{{typed}} {{t:back}} {{absent}}{{t:absent}}</p>{"),
            "<p>a&lt;b Back </p>{"
        );
    }

    #[test]
    fn templates_name_only_texts_that_exist() {
        let templates = [
            FRAME,
            SUMMARY,
            include_str!("../../../../web/login/identifier.html"),
            include_str!("../../../../web/login/code.html"),
            include_str!("../../../../web/login/consent.html"),
            include_str!("../../../../web/login/locked.html"),
            include_str!("../../../../web/login/cancel.html"),
            include_str!("../../../../web/login/plain.html"),
        ];
        for template in templates {
            for rest in template.split("{{t:").skip(1) {
                let key = rest.split_once("}}").unwrap().0;
                assert_ne!(Language::first().text(key), "", "{key}");
            }
        }
    }
}
