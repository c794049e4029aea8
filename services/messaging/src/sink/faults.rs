//! The ways in which the sink can be told to fail.

use std::time::Duration;

/// What goes wrong. Nothing, by default.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Recipients whose address contains the first text are answered with the second, a whole
    /// reply line such as `550 5.1.1 no such mailbox`.
    pub refuse: Vec<(String, String)>,
    /// Each recipient is asked once to come back later.
    pub greylist: bool,
    /// Every message is answered with this line after its final dot.
    pub after_data: Option<String>,
    /// So many messages are accepted, counted and kept, but their sender is never told: the
    /// connection breaks instead.
    pub break_after_data: u64,
    /// So many connections break in the middle of a head.
    pub break_in_head: u64,
    /// Connections are closed before the greeting.
    pub closed: bool,
    /// Time taken before each verdict on a message.
    pub delay: Duration,
}

impl Faults {
    /// The reply to a recipient, if it is refused.
    pub(crate) fn refusal(&self, recipient: &str) -> Option<&str> {
        let found = self
            .refuse
            .iter()
            .find(|(part, _)| recipient.contains(part.as_str()));
        found.map(|(_, line)| line.as_str())
    }
}
