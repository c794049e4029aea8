//! JOSE through its public face.

#![cfg(test)]

mod hostile;
mod jwe;
mod jws;
mod jwt;
mod keys;

use publica_jose::{Alg, SigningKey};
use publica_types::SystemEntropy;

fn key(alg: Alg) -> SigningKey {
    SigningKey::generate(alg, &SystemEntropy).unwrap()
}
