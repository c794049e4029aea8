//! Log lines.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use publica_types::{SharedClock, Timestamp};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::redact;

/// Gives what the present call carries, name and value at a time.
pub type ContextSource = fn(&mut dyn FnMut(&'static str, &str));

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One JSON object a line.
    Json,
    /// For people.
    Human {
        /// Colours the level.
        colour: bool,
    },
}

/// The field of a context that people read too.
const PROFILE: &str = "profile";

/// Writes events as lines, without what is confidential.
pub struct LogLayer<W> {
    style: Style,
    service: &'static str,
    version: &'static str,
    clock: SharedClock,
    context: ContextSource,
    writer: W,
}

impl<W> LogLayer<W> {
    /// A layer that writes to `writer`.
    pub fn new(
        style: Style,
        service: &'static str,
        version: &'static str,
        clock: SharedClock,
        context: ContextSource,
        writer: W,
    ) -> Self {
        Self {
            style,
            service,
            version,
            clock,
            context,
            writer,
        }
    }

    fn json(&self, event: &Event<'_>, fields: Fields) -> String {
        let mut line = Map::new();
        let level = event.metadata().level().as_str().to_lowercase();
        line.insert("ts".to_owned(), self.now().to_string().into());
        line.insert("level".to_owned(), level.into());
        line.insert("msg".to_owned(), fields.message.into());
        line.insert("service.name".to_owned(), self.service.into());
        line.insert("service.version".to_owned(), self.version.into());
        (self.context)(&mut |name, value| {
            line.insert(name.to_owned(), value.into());
        });
        line.insert("log.type".to_owned(), "app".into());
        line.insert("target".to_owned(), event.metadata().target().into());
        // Later entries win: an event may say `log.type = "security"` of itself.
        line.extend(fields.values);
        Value::Object(line).to_string()
    }

    fn human(&self, event: &Event<'_>, fields: &Fields, colour: bool) -> String {
        let time = self.now().to_string();
        let clock = time.get(11..19).unwrap_or(&time);
        let (begin, end) = if colour {
            (colour_of(*event.metadata().level()), "\x1b[0m")
        } else {
            ("", "")
        };
        let level = event.metadata().level();
        let mut line = format!("{clock} {begin}{level:>5}{end} {}", fields.message);
        // Which call a line is about matters to machines; what the process is, to everybody.
        (self.context)(&mut |name, value| {
            if name == PROFILE && !fields.values.contains_key(name) {
                let _ = write!(line, "  {name}={value}");
            }
        });
        for (name, value) in &fields.values {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), ToOwned::to_owned);
            let _ = write!(line, "  {name}={text}");
        }
        line
    }

    /// Milliseconds suffice in a log.
    fn now(&self) -> Timestamp {
        let micros = self.clock.now().micros();
        Timestamp::from_micros(micros - micros.rem_euclid(1_000))
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

impl<W> fmt::Debug for LogLayer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer")
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = match self.style {
            Style::Json => self.json(event, fields),
            Style::Human { colour } => self.human(event, &fields, colour),
        };
        line.push('\n');
        // Nobody is left to be told when standard output is gone.
        let _ = self.writer.make_writer().write_all(line.as_bytes());
    }
}

/// Events alone, from the given level up.
pub(crate) fn filtered<S, W>(layer: LogLayer<W>, level: &str) -> impl Layer<S> + use<S, W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let levels = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    // Without a hint of its own it would hide the other filter's.
    let events = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    layer.with_filter(levels.and(events))
}

#[derive(Default)]
struct Fields {
    message: String,
    values: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let shown = match value {
            _ if redact::is_confidential(name) => Value::from(redact::MASK),
            Value::String(text) => Value::from(redact::text(&text)),
            other => other,
        };
        if name == "message" {
            self.message = shown
                .as_str()
                .map_or_else(|| shown.to_string(), ToOwned::to_owned);
        } else {
            self.values.insert(name.to_owned(), shown);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use publica_types::SystemClock;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(style: Style, emit: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let make = move || writer.clone();
        let context: ContextSource = |put| put("trace_id", "4bf9");
        let layer = LogLayer::new(
            style,
            "publica",
            "1.0",
            Arc::new(SystemClock),
            context,
            make,
        );
        let subscriber = tracing_subscriber::registry().with(filtered(layer, "info"));
        tracing::subscriber::with_default(subscriber, emit);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_carry_the_agreed_names() {
        let line = logged(Style::Json, || {
            tracing::info!(account.id = "a1", duration_ms = 7, "account opened");
            tracing::debug!("not shown");
        });
        let json: Value = serde_json::from_str(&line).unwrap();
        for (name, value) in [
            ("level", "info"),
            ("msg", "account opened"),
            ("service.name", "publica"),
            ("service.version", "1.0"),
            ("trace_id", "4bf9"),
            ("log.type", "app"),
            ("account.id", "a1"),
        ] {
            assert_eq!(json[name], value, "{line}");
        }
        assert_eq!(json["duration_ms"], 7);
        assert!(json["ts"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[test]
    fn seeded_secrets_reach_no_line() {
        for style in [Style::Json, Style::Human { colour: false }] {
            let line = logged(style, || {
                tracing::error!(
                    password = "canary-1",
                    error = "Bearer canary-2 refused",
                    url = "postgres://app:canary-3@db",
                    log.type = "security",
                    "refused"
                );
            });
            assert!(!line.contains("canary"), "{line}");
            assert!(line.contains("security"), "{line}");
        }
    }

    #[test]
    fn people_get_a_short_line() {
        let line = logged(Style::Human { colour: true }, || {
            tracing::warn!(n = 2, "careful");
        });
        assert!(line.contains("\x1b[33m WARN\x1b[0m careful  n=2"), "{line}");
    }
}
