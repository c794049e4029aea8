//! What bringing entities in has in common, whatever the block, and the published schemas of what
//! can be brought in.
//!
//! Parts: [`take_in`] reads a stream and hands it on a chunk at a time; [`Outcome`] is what became
//! of an entity; [`SCHEMAS`] holds a JSON Schema a kind, [`schema`] finds one.
//!
//! Leaves out: how an entity is read, checked and stored, and the journal, which are its block's.

#![warn(missing_docs)]

mod schemas;
mod stream;

pub use schemas::{MOST_BYTES, SCHEMAS, Schema, kinds, most_bytes, schema};
pub use stream::{CHUNK, Outcome, Problem, take_in};
