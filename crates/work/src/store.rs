//! The tables of jobs and sagas.

pub(crate) mod jobs;
pub(crate) mod sagas;
pub(crate) mod views;
