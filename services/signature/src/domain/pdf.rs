//! PDF documents (ISO 32000) as far as signatures need them: reading objects through every kind
//! of cross-reference section, adding a signature as an incremental update, and finding the
//! signatures of a document.

mod file;
mod lex;
mod object;
mod revision;
mod sign;
mod signatures;
#[cfg(test)]
mod tests;

pub(crate) use file::Pdf;
pub(crate) use sign::{Dictionary, Prepared, prepare};
pub(crate) use signatures::{Coverage, Found, find};

/// Why a document is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PdfError {
    #[error("the document is not a PDF that can be read")]
    Unreadable,
    #[error("the document is encrypted")]
    Encrypted,
    #[error("the document has two kinds of cross-references at once")]
    Hybrid,
    #[error("the document forbids further signatures")]
    Locked,
    #[error("the signature does not fit the reserved space")]
    TooSmall,
}

impl PdfError {
    /// The name of the error for programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "DOCUMENT_UNREADABLE",
            Self::Encrypted => "DOCUMENT_ENCRYPTED",
            Self::Hybrid => "DOCUMENT_HYBRID",
            Self::Locked => "DOCUMENT_LOCKED",
            Self::TooSmall => "RESERVED_SPACE_TOO_SMALL",
        }
    }
}
