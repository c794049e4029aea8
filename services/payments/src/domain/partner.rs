//! Partners: systems of other organisations, and which callers may speak for them.

use serde::{Deserialize, Serialize};

/// What kind of partner it is. Names are unique within a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A source or calling block: a source block is a calling block too.
    #[default]
    Block,
    /// Who sends bills.
    Biller,
    /// Who collects what payers pay.
    Institution,
    /// Who holds a programme's funds.
    Bank,
}

impl Kind {
    /// All there are.
    pub(crate) const ALL: [Self; 4] = [Self::Block, Self::Biller, Self::Institution, Self::Bank];

    /// How it is stored.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Block => 1,
            Self::Biller => 2,
            Self::Institution => 3,
            Self::Bank => 4,
        }
    }

    /// What the journal calls it; secrets are derived from it too, so it never changes.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Biller => "biller",
            Self::Institution => "payer_institution",
            Self::Bank => "payer_bank",
        }
    }
}

/// Whether a caller may speak for a partner that has these clients. `open` says whether anybody
/// may for one that has none.
pub(crate) fn may_speak(clients: &[String], caller: &str, open: bool) -> bool {
    match clients.is_empty() {
        true => open,
        false => clients.iter().any(|client| client == caller),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_clients_speak_for_a_partner() {
        let own = ["water-1".to_owned(), "water-2".to_owned()];
        for (clients, caller, open, expected) in [
            (&own[..], "water-1", false, true),
            (&own[..], "water-2", true, true),
            (&own[..], "gas-1", false, false),
            (&own[..], "gas-1", true, false),
            (&own[..], "water", true, false),
            (&own[..], "", true, false),
            (&[], "gas-1", false, false),
            (&[], "gas-1", true, true),
        ] {
            assert_eq!(
                may_speak(clients, caller, open),
                expected,
                "{caller} {open}"
            );
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        let mut codes = Kind::ALL.map(Kind::code).to_vec();
        codes.dedup();
        assert_eq!(codes, [1, 2, 3, 4]);
        let names: std::collections::BTreeSet<&str> = Kind::ALL.map(Kind::as_str).into();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
