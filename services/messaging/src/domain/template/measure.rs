//! How deep a template goes, measured before the engine sees it.
//!
//! The engine parses, compiles and walks a template by recursion, and its own limit of 150
//! levels is more than a thread's stack holds; chains such as `- - - x`, `a + b + c` or `elif`
//! it does not count at all. What is measured here reads tags exactly as the engine's lexer
//! does, so that nothing is taken for text that the engine takes for a tag.

/// Bytes of one tag or expression, from its first brace to its last.
const TAG_MAX: usize = 500;
/// Brackets open at once within a tag.
const BRACKETS_MAX: usize = 16;
/// Blocks open at once.
const BLOCKS_MAX: usize = 32;
/// `elif` branches of all open blocks together: each stands within the branch before it.
const ELIF_MAX: usize = 100;

/// Refuses what nests too deeply, naming the line.
pub(super) fn check(source: &str) -> Result<(), String> {
    let bytes = source.as_bytes();
    let mut blocks = Blocks::default();
    let mut at = 0;
    while let Some(start) = next_tag(bytes, at) {
        let refused = |what: &str| format!("line {}: {what}", line_of(bytes, start));
        at = match bytes.get(start + 1) {
            Some(b'#') => match memchr::memmem::find(rest(bytes, start + 2), b"#}") {
                Some(length) => start + 2 + length + 2,
                None => return Ok(()),
            },
            Some(b'%') => match basic_tag(bytes, start + 2, b"raw") {
                Some(inside) => match end_of_raw(bytes, inside) {
                    Some(end) => end,
                    None => return Ok(()),
                },
                None => {
                    let tag = Tag::read(bytes, start, b'%').map_err(refused)?;
                    blocks.count(&tag).map_err(refused)?;
                    tag.end
                }
            },
            _ => Tag::read(bytes, start, b'}').map_err(refused)?.end,
        };
    }
    Ok(())
}

/// Where the next variable, block or comment begins.
fn next_tag(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'{', rest(bytes, from))
        .map(|found| from + found)
        .find(|found| matches!(bytes.get(found + 1), Some(b'{' | b'%' | b'#')))
}

fn rest(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(..at).unwrap_or_default();
    memchr::memchr_iter(b'\n', before).count() + 1
}

/// The end of a tag that consists of one word, such as `{% raw %}`.
fn basic_tag(bytes: &[u8], from: usize, word: &[u8]) -> Option<usize> {
    let mut left = rest(bytes, from);
    if let [b'-' | b'+', after @ ..] = left {
        left = after;
    }
    left = left
        .trim_ascii_start()
        .strip_prefix(word)?
        .trim_ascii_start();
    if let [b'-' | b'+', after @ ..] = left {
        left = after;
    }
    left = left.strip_prefix(b"%}")?;
    Some(bytes.len() - left.len())
}

fn end_of_raw(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find_iter(rest(bytes, from), b"{%")
        .find_map(|found| basic_tag(bytes, from + found + 2, b"endraw"))
}

/// What matters of a tag.
struct Tag<'s> {
    /// Its first word.
    word: &'s [u8],
    /// A single `=` outside of brackets: `{% set a = 1 %}` opens no block, `{% set a %}` does.
    assigns: bool,
    /// Behind its last byte.
    end: usize,
}

impl<'s> Tag<'s> {
    /// Reads a tag that ends in `closing` and a brace. One that never ends is the engine's to
    /// refuse, if it is short enough to be handed over.
    fn read(bytes: &'s [u8], start: usize, closing: u8) -> Result<Self, &'static str> {
        const TOO_LONG: &str = "a tag or expression is longer than 500 bytes";
        const TOO_DEEP: &str = "more than 16 brackets are open at once";
        let tag = bytes
            .get(start..bytes.len().min(start + TAG_MAX))
            .unwrap_or_default();
        let (mut open, mut quote, mut assigns) = (0_usize, None, false);
        let mut at = 2;
        while let Some(&byte) = tag.get(at) {
            let next = tag.get(at + 1).copied();
            match (quote, byte) {
                (Some(_), b'\\') => at += 1,
                (Some(delimiter), byte) if byte == delimiter => quote = None,
                (Some(_), _) => {}
                (None, b'\'' | b'"') => quote = Some(byte),
                (None, byte) if open == 0 && byte == closing && next == Some(b'}') => {
                    let word = first_word(tag);
                    let end = start + at + 2;
                    return Ok(Self { word, assigns, end });
                }
                (None, b'(' | b'[' | b'{') => {
                    open += 1;
                    if open > BRACKETS_MAX {
                        return Err(TOO_DEEP);
                    }
                }
                (None, b')' | b']' | b'}') => open = open.saturating_sub(1),
                (None, b'=' | b'!' | b'<' | b'>') if next == Some(b'=') => at += 1,
                (None, b'=') => assigns |= open == 0,
                (None, _) => {}
            }
            at += 1;
        }
        if start + TAG_MAX <= bytes.len() {
            return Err(TOO_LONG);
        }
        Ok(Self {
            word: first_word(tag),
            assigns,
            end: bytes.len(),
        })
    }
}

fn first_word(tag: &[u8]) -> &[u8] {
    let inside = rest(tag, 2);
    let inside = match inside {
        [b'-' | b'+', after @ ..] => after,
        other => other,
    };
    let inside = inside.trim_ascii_start();
    let length = inside
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count();
    inside.get(..length).unwrap_or_default()
}

/// The blocks that are open, each with its `elif` branches.
#[derive(Default)]
struct Blocks(Vec<usize>);

impl Blocks {
    fn count(&mut self, tag: &Tag<'_>) -> Result<(), &'static str> {
        match tag.word {
            b"elif" => {
                if let Some(last) = self.0.last_mut() {
                    *last += 1;
                }
                if self.0.iter().sum::<usize>() > ELIF_MAX {
                    return Err("more than 100 `elif` branches are open at once");
                }
            }
            // An end that ends nothing is the engine's to refuse.
            word if word.starts_with(b"end") => {
                self.0.pop();
            }
            b"set" if tag.assigns => {}
            b"for" | b"if" | b"with" | b"filter" | b"autoescape" | b"set" => {
                self.0.push(0);
                if self.0.len() > BLOCKS_MAX {
                    return Err("more than 32 blocks are open at once");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Compiled, TemplateError, Variant};
    use super::*;

    fn compiled(text: &str) -> Result<Compiled, TemplateError> {
        Compiled::new(&Variant {
            text: text.to_owned(),
            ..Variant::default()
        })
    }

    fn nested(block: (&str, &str), depth: usize) -> String {
        format!("{}x{}", block.0.repeat(depth), block.1.repeat(depth))
    }

    fn chain(branches: usize) -> String {
        format!(
            "{{% if a %}}{}{{% endif %}}",
            "{% elif a %}x".repeat(branches)
        )
    }

    fn refused(text: &str, part_of_why: &str) {
        match compiled(text) {
            Err(TemplateError::Syntax { part: "text", why }) => {
                assert!(why.contains(part_of_why), "{why}");
            }
            other => panic!("{part_of_why}: {other:?}"),
        }
    }

    #[test]
    fn what_nests_without_end_is_refused() {
        for block in [
            ("{% if a %}", "{% endif %}"),
            ("{% for a in b %}", "{% endfor %}"),
            ("{%- with a = 1 -%}", "{%- endwith -%}"),
            ("{% filter upper %}", "{% endfilter %}"),
            ("{% autoescape true %}", "{% endautoescape %}"),
            ("{% set a %}", "{% endset %}"),
            ("{%+ set a|replace(b=1) %}", "{% endset %}"),
        ] {
            assert!(compiled(&nested(block, 32)).is_ok(), "{block:?}");
            refused(&nested(block, 33), "line 1: more than 32 blocks");
            refused(&nested(block, 20_000), "more than 32 blocks");
        }
        assert!(compiled(&chain(100)).is_ok());
        refused(&chain(101), "100 `elif`");
        refused(&"{% if a %}{% elif b %}".repeat(200), "more than 32 blocks");
        let branches = "{% if a %}".to_owned() + &"{% elif a %}".repeat(30);
        refused(
            &format!("\n\n{}", branches.repeat(30)),
            "line 3: more than 100",
        );
        // One after the other is no nesting.
        assert!(compiled(&"{% if a %}x{% elif b %}y{% endif %}".repeat(500)).is_ok());
        assert!(compiled(&"{% set a = 1 %}".repeat(500)).is_ok());
    }

    #[test]
    fn expressions_are_bounded() {
        assert!(compiled(&format!("{{{{ {}a{} }}}}", "(".repeat(16), ")".repeat(16))).is_ok());
        refused(
            &format!("\n{{{{ {}a{} }}}}", "[".repeat(17), "]".repeat(17)),
            "line 2: more than 16 brackets",
        );
        let chain = |link: &str, times| format!("{{{{ {}a }}}}", link.repeat(times));
        for link in [
            "-",
            "not ",
            "a+",
            "a.b|upper if a else ",
            "a**",
            "a~",
            "a or ",
        ] {
            let most = (TAG_MAX - 7) / link.len();
            assert!(compiled(&chain(link, most)).is_ok(), "{link}");
            refused(&chain(link, most + 20), "longer than 500 bytes");
            refused(&chain(link, 100_000), "longer than 500 bytes");
        }
        refused(
            &format!("{{% if {} %}}", "a|upper".repeat(100)),
            "longer than 500",
        );
        // The end of a tag within a text or within brackets is no end.
        refused(
            &format!("{{{{ '}}}}{}' }}}}", "x".repeat(600)),
            "longer than 500",
        );
        refused(
            &format!("{{{{ '\\'}}}}{}' }}}}", "x".repeat(600)),
            "longer than 500",
        );
        refused(
            &format!("{{{{ [ '' }}}}{} ] }}}}", "-".repeat(600)),
            "longer than 500",
        );
    }

    #[test]
    fn text_comments_and_raw_blocks_may_say_anything() {
        let braces = "{".repeat(2_000);
        assert!(compiled(&format!("{{#{braces}#}}")).is_ok());
        assert!(compiled(&format!("{{% raw %}}{braces}{{% if %}}{{%- endraw +%}}")).is_ok());
        assert!(compiled(&"{ ".repeat(2_000)).is_ok());
        // What looks like the end of a raw block, and is none, ends nothing.
        let text = format!(
            "{{% raw %}}{{% endraw x %}}{{% endraw %}}{}",
            "{% if a %}".repeat(40)
        );
        refused(&text, "more than 32 blocks");
    }

    const PIECES: &[&str] = &[
        "{% if a %}",
        "{% elif b %}",
        "{% else %}",
        "{% endif %}",
        "{% for a in b %}",
        "{% endfor %}",
        "{% raw %}",
        "{%- endraw -%}",
        "{#",
        "#}",
        "{{",
        "}}",
        "{%",
        "%}",
        "'",
        "\"",
        "\\",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "a",
        "é",
        " ",
        "|upper",
        "set a",
        "=",
        "==",
        "- ",
        "not ",
        "1.5",
        "\n",
        "{% set a %}",
        "{% endset %}",
        "endset",
        "**",
        ".b",
        ":",
    ];

    fn source() -> impl Strategy<Value = String> {
        let piece = (prop::sample::select(PIECES), 1_usize..40)
            .prop_map(|(piece, times)| piece.repeat(times));
        prop::collection::vec(
            prop_oneof![3 => prop::sample::select(PIECES)
            .prop_map(str::to_owned), 1 => piece, 1 => "\\PC{0,8}"],
            0..40,
        )
        .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever is let through, the engine can hold on the stack of a thread.
        #[test]
        fn any_source_is_parsed_or_refused(text in source()) {
            if let Ok(compiled) = compiled(&text) {
                let names = compiled.variables();
                let values = names.into_iter().map(|name| (name, "1".to_owned())).collect();
                let _ = compiled.render(&values);
            }
        }
    }
}
