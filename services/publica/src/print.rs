//! Words for the person at the terminal.

use std::io::Write as _;

/// A line of what was asked for, on standard output.
pub(crate) fn line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A line about what went wrong, on standard error. Nobody is left to tell if that is gone.
pub(crate) fn error(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
