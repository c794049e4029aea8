//! Formats and rules, without store or network.

pub(crate) mod cms;
pub(crate) mod crl;
pub(crate) mod csr;
pub(crate) mod der;
pub(crate) mod judge;
pub(crate) mod key;
pub(crate) mod oid;
pub(crate) mod path;
pub(crate) mod pdf;
pub(crate) mod tsp;
pub(crate) mod x509;

#[cfg(test)]
mod tests;
