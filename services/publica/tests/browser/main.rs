//! The pages as people use them: real Chromium, driven over WebDriver, against the real program.
//!
//! A test starts a program, a driver and a browser of its own; all three end with it. Nothing
//! waits for a fixed time: conditions are polled until they hold.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

#[path = "../it/running.rs"]
#[expect(dead_code, reason = "these tests need less of a running program")]
mod running;

mod axe;
mod browser;
mod portal;
mod suite;
mod webdriver;

mod consent_admin;
mod consent_admin_texts;
mod index;
mod login;
mod login_frame;
mod messaging_admin;
mod privacy;
mod privacy_acts;
mod privacy_history;
mod privacy_offers;
mod privacy_others;
mod privacy_receipts;
