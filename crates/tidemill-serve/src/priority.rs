//! Threads that give way where processors are scarce.

/// How far what works for shadows stands behind what answers callers.
pub(crate) const OF_SHADOWS: i32 = 10;

/// Puts the calling thread so many steps behind where it stands ("nice", setpriority(2)), and with it the processes that it starts from now
/// on. `who` says whose thread it is, for where that is refused.
pub(crate) fn give_way(steps: i32, who: &str) {
    // On Linux a priority belongs to a thread; elsewhere all of the process would give way, and callers with it.
    if cfg!(target_os = "linux")
        && let Err(error) = rustix::process::nice(steps)
    {
        tracing::debug!(%error, "the priority of {who} cannot be lowered");
    }
}
