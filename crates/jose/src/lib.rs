//! JOSE: keys and key sets (JWK), signatures (JWS), encryption (JWE) and claims (JWT).
//!
//! Parts: [`Jwk`] and [`JwkSet`] hold public keys, checked once when they are parsed;
//! [`SigningKey`] and [`DecryptionKey`] hold private ones; [`Jws`] with [`sign_jws`] and
//! [`verify_jws`] the compact form; [`sign_jwt`], [`verify_jwt`] and [`Validation`] the claims;
//! [`encrypt`] and [`decrypt`] the compact JWE; [`Rotation`] a key with its successor and its
//! predecessors.
//!
//! What holds everywhere: base64url is read strictly; a JSON object with the same member twice
//! is refused, wherever it stands; tokens have a size limit; the algorithm is taken from the
//! caller's allow-list, never from the token alone; `none` and HMAC do not exist here; keys
//! named inside a token (`jku`, `x5u`, `jwk`) are never fetched or trusted by this crate.
//!
//! Leaves out: OpenID Connect endpoints, fetching of key sets, and document signatures.

#![warn(missing_docs)]

mod alg;
mod b64;
mod der;
mod error;
mod jwe;
mod jwe_alg;
mod jwk;
mod jws;
mod jwt;
mod key;
mod key_set;
mod rotation;
mod strict;

pub use alg::Alg;
pub use b64::{decode as base64url_decode, encode as base64url};
pub use error::JoseError;
pub use jwe::{Decrypted, DecryptionKey, Sealing, decrypt, encrypt};
pub use jwe_alg::{JweAlg, JweEnc};
pub use jwk::{Curve, Jwk, KeyUse};
pub use jws::{
    Header, Jws, MAX_TOKEN_BYTES, Protected, Verified, sign_detached, sign_jws, verify_detached,
    verify_jws, verify_jws_with,
};
pub use jwt::{Claims, Validation, VerifiedJwt, sign_jwt, sign_jwt_with, verify_jwt};
pub use key::SigningKey;
pub use key_set::JwkSet;
pub use rotation::Rotation;
pub use strict::parse as parse_json;
