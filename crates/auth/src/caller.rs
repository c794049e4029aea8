//! The verified party behind a call.

use std::collections::BTreeSet;

use publica_types::Tenant;

/// Who calls. Put into the extensions of each request by the layer, and only by it, as an
/// `Arc<Caller>`: the same party sends many calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The party's id: a subject of its issuer, `block:<name>`, `key:<id>` or `anonymous`.
    pub subject: String,
    /// Who issued the token and answers for the subject; none where no token says who calls.
    pub issuer: Option<String>,
    /// The OAuth client that the token was issued to.
    pub client_id: Option<String>,
    /// The organisation that the party belongs to, where its token or its settings say so.
    pub affiliation: Option<String>,
    /// What the party may do, as `<block>:<resource>:<verb>`; `*` stands for the rest.
    pub scopes: BTreeSet<String>,
    /// The tenant whose data the call is about.
    pub tenant: Tenant,
    /// What kind of party it is.
    pub kind: CallerKind,
}

/// What kind of party calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallerKind {
    /// A human being, by way of a client.
    Person,
    /// A program of another organisation or office.
    Machine,
    /// A block of this suite, on its own or somebody's behalf.
    Block,
    /// Nobody in particular.
    Anonymous,
}

impl Caller {
    /// A caller of whom nothing is known and to whom nothing is allowed.
    pub fn anonymous() -> Self {
        Self {
            subject: "anonymous".to_owned(),
            issuer: None,
            client_id: None,
            affiliation: None,
            scopes: BTreeSet::new(),
            tenant: Tenant::default(),
            kind: CallerKind::Anonymous,
        }
    }

    /// Whether the caller holds `scope`, itself or through a wider one: `payments:*` covers
    /// `payments:account:write`, and `*` covers everything.
    pub fn allows(&self, scope: &str) -> bool {
        self.scopes.contains(scope) || self.scopes.iter().any(|held| covers(held, scope))
    }
}

fn covers(held: &str, scope: &str) -> bool {
    match held.strip_suffix('*') {
        Some("") => true,
        // The prefix keeps its colon, so that `pay:*` does not cover `payments:…`.
        Some(prefix) => prefix.ends_with(':') && scope.starts_with(prefix),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_cover_what_they_say() {
        let table = [
            ("*", "payments:account:write", true),
            ("payments:*", "payments:account:write", true),
            ("payments:account:*", "payments:account:write", true),
            ("payments:account:write", "payments:account:write", true),
            ("payments:account:write", "payments:account:read", false),
            ("payments:account", "payments:account:write", false),
            ("pay*", "payments:account:write", false),
            ("pay:*", "payments:account:write", false),
            ("payments:*:write", "payments:account:write", false),
            ("payments:*", "payments", false),
            ("", "payments:account:write", false),
        ];
        for (held, scope, expected) in table {
            let mut caller = Caller::anonymous();
            assert!(!caller.allows(scope));
            caller.scopes.insert(held.to_owned());
            assert_eq!(caller.allows(scope), expected, "{held} for {scope}");
        }
    }
}
