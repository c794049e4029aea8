//! Rules of the block: definitions, expressions, forms and flow. No input or output, no clock.

pub(crate) mod definition;
pub(crate) mod expr;
pub(crate) mod flow;
pub(crate) mod form;
