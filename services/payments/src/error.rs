//! What can go wrong in this block, and the one place where codes are chosen.

use std::borrow::Cow;

use publica_journal::JournalError;
use publica_rpc::{Fault, Invalid};
use publica_seal::SealError;
use publica_store::StoreError;
use tonic::Code;

use crate::domain::{ledger, voucher};

/// A refusal or a failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("sealing or opening failed")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("the ledger refused: {0}")]
    Ledger(ledger::Refusal),
    #[error("the voucher was refused: {0}")]
    Voucher(#[from] voucher::Refusal),
    #[error("there is no such {kind}")]
    NotFound { kind: &'static str },
    #[error("this {kind} exists already")]
    Exists { kind: &'static str },
    #[error("the caller does not speak for this partner")]
    PartnerForeign,
    #[error("the source block is not registered or not active")]
    SourceUnknown,
    #[error("the source block has no programme, and the request names none")]
    ProgrammeMissing,
    #[error("the programme is stopped")]
    ProgrammeStopped,
    #[error("the request number was used for another request")]
    SourceRequestReused,
    #[error("the batch is {state}, which does not allow this")]
    BatchState { state: &'static str },
    #[error("{0}")]
    BillState(&'static str),
    #[error("the item is in another state")]
    ItemState,
    #[error("the outcome of the payment is not known, or the next statement will show it")]
    OutcomeOpen,
    #[error("the voucher's value is not what is due")]
    VoucherValue,
    #[error("the period is {state}, which does not allow this")]
    PeriodState { state: &'static str },
    #[error("a period begins where the last one ends")]
    PeriodGap,
    #[error("an earlier period is not closed")]
    PeriodOrder,
    #[error("the period has not ended, or not long enough ago")]
    PeriodNotOver,
    #[error("the batch was made by the one who approves it")]
    ApproverIsMaker,
    #[error("the digest is not that of the batch")]
    DigestChanged,
    #[error("the upload must go on from row {next}")]
    UploadGap { next: i64 },
    #[error("other rows are stored in this place")]
    ChunkChanged,
    #[error("too many wrong voucher numbers were tried")]
    GuessingLocked,
    #[error("the rail does not answer")]
    RailSilent,
    #[error("no rail serves the institution any more")]
    RailMissing,
    #[error("the folder of a rail cannot be used")]
    RailFolder(#[from] std::io::Error),
    #[error("a stored batch was altered: {0}")]
    Altered(&'static str),
    #[error("stored data makes no sense: {0}")]
    Corrupt(&'static str),
}

impl Error {
    pub(crate) const fn corrupt(what: &'static str) -> Self {
        Self::Corrupt(what)
    }

    pub(crate) const fn not_found(kind: &'static str) -> Self {
        Self::NotFound { kind }
    }
}

fn ledger_reason(refusal: ledger::Refusal) -> (Code, &'static str) {
    use ledger::Refusal as R;
    match refusal {
        R::UnknownAccount => (Code::NotFound, "ACCOUNT_NOT_FOUND"),
        R::SameAccount => (Code::InvalidArgument, "SAME_ACCOUNT"),
        R::AmountNotPositive => (Code::InvalidArgument, "AMOUNT_NOT_POSITIVE"),
        R::CurrencyMismatch => (Code::FailedPrecondition, "CURRENCY_MISMATCH"),
        R::AccountClosed => (Code::FailedPrecondition, "ACCOUNT_CLOSED"),
        R::FundsShort => (Code::FailedPrecondition, "FUNDS_SHORT"),
        R::CounterOverflow => (Code::OutOfRange, "COUNTER_OVERFLOW"),
        R::MoreThanHeld => (Code::InvalidArgument, "MORE_THAN_HELD"),
        R::UnknownPending => (Code::NotFound, "HOLD_NOT_FOUND"),
        R::AlreadyResolved => (Code::FailedPrecondition, "HOLD_RESOLVED"),
        R::PeriodClosed => (Code::FailedPrecondition, "PERIOD_CLOSED"),
    }
}

fn voucher_reason(refusal: voucher::Refusal) -> (Code, &'static str) {
    use voucher::Refusal as R;
    match refusal {
        R::AmountInvalid => (Code::InvalidArgument, "AMOUNT_INVALID"),
        R::CurrencyInvalid => (Code::InvalidArgument, "CURRENCY_INVALID"),
        R::GroupUnknown => (Code::InvalidArgument, "GROUP_UNKNOWN"),
        R::GroupExhausted => (Code::ResourceExhausted, "GROUP_EXHAUSTED"),
        R::SerialInvalid => (Code::FailedPrecondition, "SERIAL_INVALID"),
        R::Consumed => (Code::FailedPrecondition, "VOUCHER_CONSUMED"),
        R::Expired => (Code::FailedPrecondition, "VOUCHER_EXPIRED"),
        R::CallingBlockUnknown => (Code::FailedPrecondition, "CALLING_BLOCK_UNKNOWN"),
        R::NumberInvalid => (Code::FailedPrecondition, "NUMBER_INVALID"),
        R::GroupMismatch => (Code::FailedPrecondition, "NUMBER_INVALID"),
        R::FundsShort => (Code::FailedPrecondition, "FUNDS_SHORT"),
        R::MerchantRefused => (Code::FailedPrecondition, "MERCHANT_REFUSED"),
        R::NotCancellable(_) => (Code::FailedPrecondition, "VOUCHER_INVALID"),
        R::AlreadyCancelled => (Code::FailedPrecondition, "ALREADY_CANCELLED"),
    }
}

fn store_reason(error: &StoreError) -> (Code, &'static str) {
    match error {
        StoreError::Unavailable { .. } => (Code::Unavailable, "STORE_UNAVAILABLE"),
        StoreError::Timeout => (Code::Unavailable, "STORE_TIMEOUT"),
        StoreError::Conflict { .. } => (Code::Aborted, "CONFLICT"),
        StoreError::UniqueViolation { .. } => (Code::Aborted, "CONFLICT"),
        _ => (Code::Internal, "STORE_FAILED"),
    }
}

impl Fault for Error {
    fn code(&self) -> Code {
        self.kind().0
    }

    fn reason(&self) -> &'static str {
        self.kind().1
    }

    fn public_message(&self) -> Cow<'_, str> {
        match self {
            Self::Invalid(invalid) => invalid.public_message(),
            Self::Journal(error) => error.public_message(),
            Self::Store(_) if self.code() != Code::Internal => {
                "The store cannot take this now; try again.".into()
            }
            Self::Store(_) | Self::Seal(_) | Self::Altered(_) | Self::Corrupt(_) => {
                "Something is wrong on our side.".into()
            }
            Self::Ledger(refusal) => sentence(refusal),
            Self::Voucher(refusal) => sentence(refusal),
            refusal => sentence(refusal),
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound { kind } | Self::Exists { kind } => vec![("kind", (*kind).to_owned())],
            Self::BatchState { state } => vec![("state", (*state).to_owned())],
            Self::UploadGap { next } => vec![("next", next.to_string())],
            _ => Vec::new(),
        }
    }

    fn violations(&self) -> Vec<(String, String)> {
        match self {
            Self::Invalid(invalid) => invalid.violations(),
            _ => Vec::new(),
        }
    }
}

impl Error {
    fn kind(&self) -> (Code, &'static str) {
        match self {
            Self::Store(error) => store_reason(error),
            Self::Journal(error) => (error.code(), error.reason()),
            Self::Seal(_) => (Code::Internal, "SEAL_FAILED"),
            Self::Invalid(invalid) => (invalid.code(), invalid.reason()),
            Self::Ledger(refusal) => ledger_reason(*refusal),
            Self::Voucher(refusal) => voucher_reason(*refusal),
            Self::NotFound { .. } => (Code::NotFound, "NOT_FOUND"),
            Self::Exists { .. } => (Code::AlreadyExists, "ALREADY_EXISTS"),
            Self::PartnerForeign => (Code::PermissionDenied, "PARTNER_FOREIGN"),
            Self::SourceUnknown => (Code::FailedPrecondition, "SOURCE_UNKNOWN"),
            Self::ProgrammeMissing => (Code::FailedPrecondition, "PROGRAMME_MISSING"),
            Self::ProgrammeStopped => (Code::FailedPrecondition, "PROGRAMME_STOPPED"),
            Self::SourceRequestReused => (Code::AlreadyExists, "SOURCE_REQUEST_REUSED"),
            Self::BatchState { .. } => (Code::FailedPrecondition, "BATCH_STATE"),
            Self::BillState(_) => (Code::FailedPrecondition, "BILL_STATE"),
            Self::ItemState => (Code::FailedPrecondition, "ITEM_STATE"),
            Self::OutcomeOpen => (Code::FailedPrecondition, "OUTCOME_OPEN"),
            Self::VoucherValue => (Code::FailedPrecondition, "VOUCHER_VALUE"),
            Self::PeriodState { .. } => (Code::FailedPrecondition, "PERIOD_STATE"),
            Self::PeriodGap => (Code::FailedPrecondition, "PERIOD_GAP"),
            Self::PeriodOrder => (Code::FailedPrecondition, "PERIOD_ORDER"),
            Self::PeriodNotOver => (Code::FailedPrecondition, "PERIOD_NOT_OVER"),
            Self::ApproverIsMaker => (Code::PermissionDenied, "APPROVER_IS_MAKER"),
            Self::DigestChanged => (Code::FailedPrecondition, "DIGEST_CHANGED"),
            Self::UploadGap { .. } => (Code::Aborted, "UPLOAD_GAP"),
            Self::ChunkChanged => (Code::Aborted, "CHUNK_CHANGED"),
            Self::GuessingLocked => (Code::ResourceExhausted, "VOUCHER_GUESSING_LOCKED"),
            Self::RailSilent => (Code::Unavailable, "RAIL_SILENT"),
            Self::RailMissing => (Code::FailedPrecondition, "RAIL_MISSING"),
            Self::RailFolder(_) => (Code::Unavailable, "RAIL_FOLDER"),
            Self::Altered(_) => (Code::DataLoss, "CONTENT_ALTERED"),
            Self::Corrupt(_) => (Code::Internal, "STORE_CORRUPT"),
        }
    }
}

/// An error's text as a sentence.
fn sentence(error: &impl std::fmt::Display) -> Cow<'static, str> {
    let text = error.to_string();
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    Cow::Owned(format!("{first}{}.", characters.as_str()))
}
