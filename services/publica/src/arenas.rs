//! Few heaps for the threads of SQLite and of the cryptography.

/// Begins the program anew with two arenas of the C library, unless their number is set already.
///
/// glibc gives threads arenas of their own, up to eight a processor, and keeps in each what its
/// threads gave back. Each connection of an embedded store is a thread, so without a limit the
/// program holds the sum of what all stores ever needed, one after another, and not what they
/// need at a time. The number is read when a program begins and never again. Comes back if the
/// program cannot be begun anew: it works either way.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_few() {
    use std::os::unix::process::CommandExt as _;
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut again = std::process::Command::new(program);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    let _ = again.args(arguments).env(ARENAS, "2").exec();
}

/// Other C libraries keep no arena a thread.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_few() {}
