//! The subcommands, one module each.

pub(crate) mod backup;
pub(crate) mod check_config;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod mark;
pub(crate) mod migrate;
pub(crate) mod rotate;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod verify;
pub(crate) mod verify_receipt;
