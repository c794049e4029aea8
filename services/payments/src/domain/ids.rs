//! Ids of this block, and the accounts whose ids follow from their names.

use aws_lc_rs::digest::{SHA256, digest};
use publica_types::{Uuid, typed_id};

typed_id! {
    /// Names an account of the ledger.
    pub(crate) struct AccountId;
    /// Names a transfer: its group's id with the place in the group in the last 16 bits.
    pub(crate) struct TransferId;
    /// Names transfers that were committed together.
    pub(crate) struct GroupId;
    /// Names a programme.
    pub(crate) struct ProgrammeId;
    /// Names a batch.
    pub(crate) struct BatchId;
    /// Names a merchant.
    pub(crate) struct MerchantId;
}

/// Transfers that one group may hold: their places fill 16 bits.
pub(crate) const GROUP_LIMIT: usize = 1 << 16;

impl AccountId {
    /// The id of an account that the block opens by itself. It follows from the code, so no
    /// look-up stands between a rule ("this institution's account") and its row.
    pub(crate) fn of_code(code: &str) -> Self {
        Self::from_uuid(named("account", code.as_bytes()))
    }
}

impl GroupId {
    /// The id of the transfer at `place`.
    pub(crate) fn transfer(self, place: u16) -> TransferId {
        let mut bytes = *self.as_uuid().as_bytes();
        bytes[14..].copy_from_slice(&place.to_be_bytes());
        TransferId::from_uuid(Uuid::from_bytes(bytes))
    }

    /// The group with place 0 free, so that the ids of its transfers start there.
    pub(crate) fn of_uuid(uuid: Uuid) -> Self {
        let mut bytes = *uuid.as_bytes();
        bytes[14..].fill(0);
        Self::from_uuid(Uuid::from_bytes(bytes))
    }
}

impl TransferId {
    /// The group that the transfer was committed with.
    pub(crate) fn group(self) -> GroupId {
        GroupId::of_uuid(self.as_uuid())
    }
}

/// A UUID (version 8) that follows from a kind and a name.
pub(crate) fn named(kind: &str, name: &[u8]) -> Uuid {
    let mut text = Vec::with_capacity(kind.len() + name.len() + 1);
    text.extend_from_slice(kind.as_bytes());
    text.push(0);
    text.extend_from_slice(name);
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest(&SHA256, &text).as_ref()[..16]);
    publica_types::Uuid::from_bytes(with_version(bytes, 8))
}

/// Sets a version and the usual variant.
pub(crate) const fn with_version(mut bytes: [u8; 16], version: u8) -> [u8; 16] {
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_accounts_are_stable_and_apart() {
        let one = AccountId::of_code("institution:BANK:USD");
        assert_eq!(one, AccountId::of_code("institution:BANK:USD"));
        assert_ne!(one, AccountId::of_code("institution:BANK:EUR"));
        assert_eq!(one.as_uuid().get_version_num(), 8);
    }

    #[test]
    fn a_transfer_leads_back_to_its_group() {
        let group = GroupId::of_uuid(named("test", b"group"));
        let (first, last) = (group.transfer(0), group.transfer(u16::MAX));
        assert!(first < last);
        assert_eq!((first.group(), last.group()), (group, group));
    }
}
