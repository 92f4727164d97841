//! File descriptors: as many as the system grants, with some kept back from connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits;

/// Raises the limit of open files as far as the process may, and returns how many connections fit below it,
/// at most as many as are asked for. What is kept back serves the journal, the key file and those who watch.
pub fn connections(asked: usize) -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    // Refused, it stays as it is, and what is is what counts below.
    let _ = setrlimit(Resource::Nofile, raised);
    let granted = getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let fitting = granted
        .saturating_sub(limits::RESERVED_DESCRIPTORS)
        .max(1)
        .min(asked);
    if fitting < asked {
        tracing::warn!(
            max_connections = asked,
            open_files = granted,
            connections = fitting,
            "the limit of open files is too low for max_connections; raise it (systemd: LimitNOFILE=, shell: ulimit -n)"
        );
    }
    fitting
}
