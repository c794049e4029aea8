//! A person's identity and where it stands.

use publica_types::Timestamp;

publica_types::typed_id! {
    /// Names a person inside the suite; says nothing about them.
    pub(crate) struct PersonId;
    /// Names the link of an identifier to a person.
    pub(crate) struct IdentifierId;
    /// Names a factor of a person.
    pub(crate) struct FactorId;
}

/// Where an identity stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PersonState {
    /// In use.
    Active,
    /// Blocked by an administrator.
    Blocked,
    /// No longer used.
    Deactivated,
    /// The person has died.
    Deceased,
    /// Erased; only the tombstone is left.
    Erased,
}

/// A change that the present state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateForbids(pub(crate) PersonState);

/// What an administrator or a register wants done with an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PersonChange {
    /// Keep the person from signing in.
    Block,
    /// Lift a block.
    Unblock,
    /// End the use of the identity.
    Deactivate,
    /// Record a death.
    Die,
    /// Destroy what is known.
    Erase,
}

impl PersonState {
    /// All states, with their names in the store.
    const NAMES: [(Self, &'static str); 5] = [
        (Self::Active, "active"),
        (Self::Blocked, "blocked"),
        (Self::Deactivated, "deactivated"),
        (Self::Deceased, "deceased"),
        (Self::Erased, "erased"),
    ];

    /// The name in the store and in events.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, name)| name)
    }

    /// The state of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(state, _)| *state)
    }

    /// The state now: a block that has an end lifts itself.
    pub(crate) fn at(self, block_expires: Option<Timestamp>, now: Timestamp) -> Self {
        match (self, block_expires) {
            (Self::Blocked, Some(end)) if end <= now => Self::Active,
            _ => self,
        }
    }

    /// The state after a change. Repeating a change is allowed and leaves the state alone.
    pub(crate) fn after(self, change: PersonChange) -> Result<Self, StateForbids> {
        use PersonChange as C;
        match (self, change) {
            (_, C::Erase) => Ok(Self::Erased),
            (Self::Active | Self::Blocked, C::Block) => Ok(Self::Blocked),
            (Self::Active | Self::Blocked, C::Unblock) => Ok(Self::Active),
            (Self::Active | Self::Blocked | Self::Deactivated, C::Deactivate) => {
                Ok(Self::Deactivated)
            }
            (Self::Active | Self::Blocked | Self::Deactivated | Self::Deceased, C::Die) => {
                Ok(Self::Deceased)
            }
            (state, _) => Err(StateForbids(state)),
        }
    }
}

/// How sure the enrolling officer was.
pub(crate) fn is_assurance_level(level: &str) -> bool {
    matches!(level, "low" | "substantial" | "high")
}

#[cfg(test)]
mod tests {
    use super::PersonChange as C;
    use super::PersonState as S;
    use super::*;

    #[test]
    fn every_state_and_change() {
        let forbidden = |state| Err(StateForbids(state));
        for (state, change, after) in [
            (S::Active, C::Block, Ok(S::Blocked)),
            (S::Blocked, C::Block, Ok(S::Blocked)),
            (S::Deactivated, C::Block, forbidden(S::Deactivated)),
            (S::Deceased, C::Block, forbidden(S::Deceased)),
            (S::Erased, C::Block, forbidden(S::Erased)),
            (S::Active, C::Unblock, Ok(S::Active)),
            (S::Blocked, C::Unblock, Ok(S::Active)),
            (S::Deactivated, C::Unblock, forbidden(S::Deactivated)),
            (S::Deceased, C::Unblock, forbidden(S::Deceased)),
            (S::Erased, C::Unblock, forbidden(S::Erased)),
            (S::Active, C::Deactivate, Ok(S::Deactivated)),
            (S::Blocked, C::Deactivate, Ok(S::Deactivated)),
            (S::Deactivated, C::Deactivate, Ok(S::Deactivated)),
            (S::Deceased, C::Deactivate, forbidden(S::Deceased)),
            (S::Erased, C::Deactivate, forbidden(S::Erased)),
            (S::Active, C::Die, Ok(S::Deceased)),
            (S::Blocked, C::Die, Ok(S::Deceased)),
            (S::Deactivated, C::Die, Ok(S::Deceased)),
            (S::Deceased, C::Die, Ok(S::Deceased)),
            (S::Erased, C::Die, forbidden(S::Erased)),
            (S::Active, C::Erase, Ok(S::Erased)),
            (S::Blocked, C::Erase, Ok(S::Erased)),
            (S::Deactivated, C::Erase, Ok(S::Erased)),
            (S::Deceased, C::Erase, Ok(S::Erased)),
            (S::Erased, C::Erase, Ok(S::Erased)),
        ] {
            assert_eq!(state.after(change), after, "{state:?} {change:?}");
        }
    }

    #[test]
    fn a_block_with_an_end_lifts_itself() {
        let (soon, later) = (Timestamp::from_seconds(10), Timestamp::from_seconds(20));
        assert_eq!(S::Blocked.at(Some(later), soon), S::Blocked);
        assert_eq!(S::Blocked.at(Some(later), later), S::Active);
        assert_eq!(S::Blocked.at(None, later), S::Blocked);
        assert_eq!(S::Deceased.at(Some(soon), later), S::Deceased);
    }

    #[test]
    fn names_are_read_back() {
        for (state, name) in S::NAMES {
            assert_eq!((S::of(name), state.name()), (Some(state), name));
        }
        assert_eq!(S::of("Active"), None);
    }
}
