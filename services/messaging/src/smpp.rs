//! The SMPP 3.4 client: sessions that send and receive over one connection.
//!
//! As with mail, what counts is to know for each part on which side of its submission a session
//! broke: one that was not written was never sent; one that was written and has no answer may or
//! may not have been taken. Receipts are answered once they are durable, and not before.

mod centre;
mod session;
mod window;

pub(crate) use centre::{Centre, Credentials};
pub(crate) use session::{Ack, Answer, Content, Incoming, Session, Submission};
pub(crate) use window::Window;
