//! Errors on their way out, and back in on the other side.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// An error that a caller may be told about. A crate implements it once, for its error enum,
/// and that is the one place where codes are chosen.
///
/// ```
/// use std::borrow::Cow;
/// use publica_rpc::{Fault, status_of};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("account is frozen")]
/// struct AccountFrozen;
///
/// impl Fault for AccountFrozen {
///     fn code(&self) -> tonic::Code { tonic::Code::FailedPrecondition }
///     fn reason(&self) -> &'static str { "ACCOUNT_FROZEN" }
///     fn public_message(&self) -> Cow<'_, str> { "The account is frozen.".into() }
/// }
///
/// let status = status_of(&AccountFrozen);
/// assert_eq!(publica_rpc::reason(&status).as_deref(), Some("ACCOUNT_FROZEN"));
/// ```
pub trait Fault: Error {
    /// The gRPC code.
    fn code(&self) -> Code;

    /// The stable name of what went wrong, `UPPER_SNAKE_CASE`, listed in docs/errors.md.
    fn reason(&self) -> &'static str;

    /// What the caller may read. Internals belong in the error's own message, which is logged.
    fn public_message(&self) -> Cow<'_, str>;

    /// The variable parts of the message, each under a name of its own.
    fn metadata(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Request fields at fault, each with a description; they become a `BadRequest`.
    fn violations(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// How long the caller should wait before it tries again, if trying again can help.
    fn retry_after(&self) -> Option<std::time::Duration> {
        None
    }

    /// Who names the reason: `<block>.publica`. The default takes the name of the crate that
    /// defines the error (`publica_payments::…` gives `payments.publica`).
    fn domain(&self) -> Cow<'static, str> {
        domain_of(std::any::type_name::<Self>())
    }
}

fn domain_of(type_name: &str) -> Cow<'static, str> {
    let name = type_name.trim_start_matches(['&', '<']);
    let crate_name = name.split("::").next().unwrap_or(name);
    let block = crate_name.strip_prefix("publica_").unwrap_or(crate_name);
    Cow::Owned(format!("{block}.publica"))
}

/// Makes the [`Status`] of an error, as nothing else does: with `ErrorInfo`, and `BadRequest` where
/// fields were wrong. The cause of a failure of our own goes to the log and not to the caller.
pub fn status_of<F: Fault + ?Sized>(fault: &F) -> Status {
    let code = fault.code();
    let reason = fault.reason();
    log(code, reason, fault);
    let metadata: HashMap<String, String> = fault
        .metadata()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, fault.domain(), metadata);
    for (field, description) in fault.violations() {
        details.add_bad_request_violation(field, description);
    }
    if let Some(after) = fault.retry_after() {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(code, fault.public_message(), details)
}

fn log<F: Fault + ?Sized>(code: Code, reason: &'static str, fault: &F) {
    match code {
        Code::Internal | Code::Unknown | Code::DataLoss => {
            tracing::error!(reason, error = Chain(fault).text(), "call failed");
        }
        Code::Unavailable => {
            tracing::warn!(reason, error = Chain(fault).text(), "call failed for now");
        }
        _ => tracing::debug!(reason, "call refused"),
    }
}

/// An error with its causes, joined by colons.
struct Chain<'a, F: ?Sized>(&'a F);

impl<F: Fault + ?Sized> Chain<'_, F> {
    fn text(&self) -> String {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// The stable reason that a peer attached to its refusal, so that callers match on kinds and
/// never on text.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// The fields that a refusal names, each with what is wrong with it.
pub fn violations(status: &Status) -> Vec<(String, String)> {
    let details = status.get_details_bad_request();
    let fields = details.into_iter().flat_map(|bad| bad.field_violations);
    fields.map(|one| (one.field, one.description)).collect()
}

/// Refusals that the suite itself gives before or around a block's own code.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    code: Code,
    reason: &'static str,
    message: Cow<'static, str>,
    metadata: Vec<(&'static str, String)>,
    retry_after: Option<std::time::Duration>,
}

impl Refusal {
    /// A refusal with a code, a stable reason and a message that the caller may read.
    pub fn new(code: Code, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: Vec::new(),
            retry_after: None,
        }
    }

    /// Names a variable part of the message.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((name, value.into()));
        self
    }

    /// Tells the caller when to try again.
    pub fn retry_after(mut self, after: std::time::Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl Fault for Refusal {
    fn code(&self) -> Code {
        self.code
    }

    fn reason(&self) -> &'static str {
        self.reason
    }

    fn public_message(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.message)
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        self.metadata.clone()
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        self.retry_after
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        status_of(&refusal)
    }
}

/// Everything that is wrong with a request's fields, reported together.
///
/// ```
/// use publica_rpc::Invalid;
///
/// let mut invalid = Invalid::new();
/// invalid.require("holder", "");
/// assert!(invalid.check().is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("invalid fields: {}", self.fields())]
pub struct Invalid {
    violations: Vec<(String, String)>,
}

/// One field at fault.
pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Invalid {
    Invalid::new().add(field, description)
}

impl Invalid {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field at fault and says why.
    pub fn add(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.push(field, description);
        self
    }

    /// Adds a field at fault and says why.
    pub fn push(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.push((field.into(), description.into()));
    }

    /// Adds `field` as missing if `value` is empty.
    pub fn require(&mut self, field: &str, value: &str) {
        if value.is_empty() {
            self.push(field, "is required");
        }
    }

    /// Keeps `result`'s value, or notes why the field could not be read.
    pub fn parse<T, E: std::fmt::Display>(
        &mut self,
        field: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result
            .map_err(|error| self.push(field, error.to_string()))
            .ok()
    }

    /// True while nothing was found.
    pub fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    /// An error if anything was found.
    pub fn check(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    fn fields(&self) -> String {
        let fields: Vec<&str> = self
            .violations
            .iter()
            .map(|(field, _)| field.as_str())
            .collect();
        fields.join(", ")
    }
}

impl Fault for Invalid {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "INVALID_FIELDS"
    }

    fn public_message(&self) -> Cow<'_, str> {
        match self.violations.as_slice() {
            [(field, description)] => Cow::Owned(format!("{field} {description}")),
            several => Cow::Owned(format!("{} fields are invalid.", several.len())),
        }
    }

    fn violations(&self) -> Vec<(String, String)> {
        self.violations.clone()
    }
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        status_of(&invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("row 7 of table account is torn")]
    struct Torn(#[source] std::io::Error);

    impl Fault for Torn {
        fn code(&self) -> Code {
            Code::Internal
        }

        fn reason(&self) -> &'static str {
            "STORE_CORRUPT"
        }

        fn public_message(&self) -> Cow<'_, str> {
            "Something is wrong on our side.".into()
        }
    }

    #[test]
    fn internals_stay_inside() {
        let status = status_of(&Torn(std::io::Error::other("disk sector 9")));
        assert_eq!(status.code(), Code::Internal);
        let shown = format!("{status:?}");
        assert!(
            !shown.contains("account") && !shown.contains("sector"),
            "{shown}"
        );
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("STORE_CORRUPT", "rpc.publica")
        );
    }

    #[test]
    fn the_domain_is_the_block_that_defines_the_error() {
        for (name, domain) in [
            ("publica_payments::error::Error", "payments.publica"),
            ("publica_journal::JournalError", "journal.publica"),
            ("&publica_consent::Error", "consent.publica"),
            ("other::Error", "other.publica"),
        ] {
            assert_eq!(domain_of(name), domain);
        }
    }

    #[test]
    fn all_invalid_fields_are_named() {
        let mut found = Invalid::new();
        found.require("name", "");
        assert_eq!(found.parse::<i32, _>("age", "seven".parse::<i32>()), None);
        assert_eq!(found.parse::<i32, _>("height", "7".parse::<i32>()), Some(7));
        let status = Status::from(found);
        assert_eq!(status.code(), Code::InvalidArgument);
        let bad = status.get_details_bad_request().unwrap();
        let fields: Vec<_> = bad
            .field_violations
            .iter()
            .map(|v| v.field.as_str())
            .collect();
        assert_eq!(fields, ["name", "age"]);
    }

    #[test]
    fn nothing_found_is_no_error() {
        assert_eq!(Invalid::new().check(), Ok(()));
        assert!(invalid("a", "is odd").check().is_err());
    }
}
