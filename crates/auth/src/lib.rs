//! Who calls, and whether it may: verification of tokens, API keys and peer certificates, and
//! a layer that checks a block's policy before a call reaches it.
//!
//! Parts: [`Caller`] is the verified party; [`Verifier`] finds it from a request, trusting the
//! issuers of [`AuthConfig`] and the suite's own [`TokenSource`]; [`Access`] and [`AuthLayer`]
//! hold each method against the caller's scopes and deny what is not listed; [`DenialSink`]
//! lets a block journal the denials and refusals of known callers; [`ApiKeyHasher`] makes and
//! checks API keys.
//!
//! Leaves out: user records, logging in, consent, and how a block finds the origin of a call
//! in its handlers (crate `rpc` reads [`Caller`] from the request's extensions).
//!
//! Rules: a token is judged by the issuer it names and nothing else; only the suite's own
//! issuer may speak of blocks; a token is accepted for the audience of this suite only, within
//! its time, and in a tenant that its issuer may speak for.

#![warn(missing_docs)]

mod api_key;
mod cache;
mod caller;
mod config;
mod denial;
mod key_file;
mod keys;
mod layer;
mod security_log;
mod spiffe;
mod token_source;
mod verifier;

pub use api_key::{ApiKey, ApiKeyHasher};
pub use caller::{Caller, CallerKind};
pub use config::{ApiKeyConfig, AuthConfig, AuthError, IssuerConfig, WorkloadConfig};
pub use denial::Denial;
pub use layer::{Access, AuthLayer, AuthService, DenialSink, DeniedCall, RefusedCall};
pub use spiffe::PeerCertificates;
pub use token_source::{LOCAL_ISSUER, TokenSource};
pub use verifier::{AnonymousRole, Verifier};
