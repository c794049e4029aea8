//! A row of a batch: from what was received to a verdict.

use publica_types::Currency;

use crate::domain::address::{functional_id, within};
use crate::domain::currency;
use crate::domain::merkle::{Hash, leaf};

/// The most characters of a source block's id of an instruction.
pub(crate) const INSTRUCTION_ID_CHARS: usize = 16;
/// The longest text for a payee.
pub(crate) const NARRATION_CHARS: usize = 50;

/// A row as received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) instruction_id: String,
    pub(crate) functional_id: String,
    pub(crate) amount: String,
    pub(crate) currency: String,
    pub(crate) narration: String,
    /// The row's own case; empty for that of its batch.
    pub(crate) process_id: String,
}

/// A row of good form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sound {
    pub(crate) instruction_id: String,
    pub(crate) functional_id: String,
    pub(crate) amount_minor: i64,
    pub(crate) currency: Currency,
    pub(crate) narration: String,
    pub(crate) process_id: String,
}

/// Why a row or an instruction fails: an ISO 20022 code and a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) code: &'static str,
    pub(crate) text: &'static str,
}

pub(crate) const BAD_ID: Reason = Reason {
    code: "FF01",
    text: "instruction id must have 1 to 16 characters",
};
pub(crate) const BAD_PAYEE: Reason = Reason {
    code: "BE05",
    text: "functional id must have 1 to 20 characters",
};
pub(crate) const BAD_AMOUNT: Reason = Reason {
    code: "AM12",
    text: "amount must be above zero, with the currency's decimal places",
};
pub(crate) const BAD_CURRENCY: Reason = Reason {
    code: "AM03",
    text: "currency is not one that can be paid",
};
pub(crate) const OTHER_CURRENCY: Reason = Reason {
    code: "AM03",
    text: "currency is not the programme's",
};
pub(crate) const BAD_NARRATION: Reason = Reason {
    code: "FF01",
    text: "narration must have at most 50 characters",
};
pub(crate) const BAD_CASE: Reason = Reason {
    code: "FF01",
    text: "process id must be at most 128 letters, digits, dots, underscores and hyphens",
};
pub(crate) const DUPLICATE: Reason = Reason {
    code: "AM05",
    text: "instruction id was used before",
};
pub(crate) const NO_MAPPING: Reason = Reason {
    code: "BE06",
    text: "payee is not known",
};
pub(crate) const INACTIVE_MAPPING: Reason = Reason {
    code: "AC04",
    text: "payee's account is closed",
};
pub(crate) const NO_VOUCHERS: Reason = Reason {
    code: "AG01",
    text: "payee is paid by voucher, and the programme issues none",
};
pub(crate) const CHANGED_MAPPING: Reason = Reason {
    code: "AC01",
    text: "payee moved to another institution after approval",
};
pub(crate) const NO_RAIL: Reason = Reason {
    code: "RC04",
    text: "no rail serves the payee's institution",
};

/// Checks the form of a row.
pub(crate) fn check(row: &Received) -> Result<Sound, Reason> {
    if !within(&row.instruction_id, INSTRUCTION_ID_CHARS) {
        return Err(BAD_ID);
    }
    if !functional_id(&row.functional_id) {
        return Err(BAD_PAYEE);
    }
    let currency = currency::known(&row.currency).ok_or(BAD_CURRENCY)?;
    let amount_minor = currency::amount(&row.amount, currency).ok_or(BAD_AMOUNT)?;
    let control = row.narration.chars().any(char::is_control);
    if control || row.narration.chars().count() > NARRATION_CHARS {
        return Err(BAD_NARRATION);
    }
    if !row.process_id.is_empty() && !publica_rpc::is_sound_id(&row.process_id) {
        return Err(BAD_CASE);
    }
    Ok(Sound {
        instruction_id: row.instruction_id.clone(),
        functional_id: row.functional_id.clone(),
        amount_minor,
        currency,
        narration: row.narration.clone(),
        process_id: row.process_id.clone(),
    })
}

/// What intake decided about a row of good form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Will be sent over a rail.
    Accepted,
    /// Will be paid by voucher.
    Voucher,
    /// The payee has no mapping.
    Unknown,
    /// The payee's mapping must not be used.
    Inactive,
    /// The payee is paid by voucher, and the programme issues none.
    NoVouchers,
}

impl Verdict {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Accepted => 0,
            Self::Voucher => 1,
            Self::Unknown => 2,
            Self::Inactive => 3,
            Self::NoVouchers => 4,
        }
    }

    pub(crate) const fn of_code(code: i64) -> Self {
        match code {
            0 => Self::Accepted,
            1 => Self::Voucher,
            2 => Self::Unknown,
            3 => Self::Inactive,
            _ => Self::NoVouchers,
        }
    }

    /// True if money is reserved for it.
    pub(crate) const fn funded(self) -> bool {
        matches!(self, Self::Accepted | Self::Voucher)
    }

    /// Why it is not paid.
    pub(crate) const fn reason(self) -> Option<Reason> {
        match self {
            Self::Accepted | Self::Voucher => None,
            Self::Unknown => Some(NO_MAPPING),
            Self::Inactive => Some(INACTIVE_MAPPING),
            Self::NoVouchers => Some(NO_VOUCHERS),
        }
    }
}

/// The leaf of a row that became an instruction: what approvers sign for.
pub(crate) fn instruction_leaf(
    instruction_id: &str,
    payee: &[u8],
    amount_minor: i64,
    currency: &str,
) -> Hash {
    let id = instruction_id.as_bytes();
    leaf(&[
        b"pay",
        id,
        payee,
        &amount_minor.to_be_bytes(),
        currency.as_bytes(),
    ])
}

/// The leaf of a row that was refused.
pub(crate) fn refusal_leaf(ordinal: i64, reason_code: &str) -> Hash {
    leaf(&[b"refuse", &ordinal.to_be_bytes(), reason_code.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Received {
        Received {
            instruction_id: "INSTR00000000001".to_owned(),
            functional_id: "12345678901234567890".to_owned(),
            amount: "120.50".to_owned(),
            currency: "USD".to_owned(),
            narration: "Cash transfer".to_owned(),
            process_id: "case-1".to_owned(),
        }
    }

    #[test]
    fn a_sound_row_is_read_exactly() {
        assert_eq!(check(&row()).unwrap().amount_minor, 12_050);
    }

    #[test]
    fn each_fault_has_its_code() {
        type Change = fn(&mut Received);
        let cases: [(Change, Reason); 14] = [
            (|r| r.instruction_id.clear(), BAD_ID),
            (|r| r.instruction_id.push('1'), BAD_ID),
            (
                |r| r.instruction_id = "INSTR0000000000\u{0}".to_owned(),
                BAD_ID,
            ),
            (|r| r.functional_id.push('1'), BAD_PAYEE),
            (|r| r.currency = "usd".to_owned(), BAD_CURRENCY),
            (|r| r.currency = "000".to_owned(), BAD_CURRENCY),
            (|r| r.amount = "0".to_owned(), BAD_AMOUNT),
            (|r| r.amount = "-1".to_owned(), BAD_AMOUNT),
            (|r| r.amount = "10.005".to_owned(), BAD_AMOUNT),
            (|r| r.amount = "NaN".to_owned(), BAD_AMOUNT),
            (|r| r.narration = "x".repeat(51), BAD_NARRATION),
            (|r| r.narration = "line\nline".to_owned(), BAD_NARRATION),
            (|r| r.process_id = "a case".to_owned(), BAD_CASE),
            (|r| r.process_id = "x".repeat(129), BAD_CASE),
        ];
        for (change, reason) in cases {
            let mut row = row();
            change(&mut row);
            assert_eq!(check(&row), Err(reason), "{row:?}");
        }
    }

    #[test]
    fn verdicts_survive_the_store() {
        let refused = [Verdict::Unknown, Verdict::Inactive, Verdict::NoVouchers];
        for verdict in [Verdict::Accepted, Verdict::Voucher]
            .into_iter()
            .chain(refused)
        {
            assert_eq!(Verdict::of_code(verdict.code()), verdict);
            assert_eq!(verdict.funded(), verdict.reason().is_none());
        }
    }
}
