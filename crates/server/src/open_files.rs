//! Open files: connections and databases take theirs from one bound of the process (`ulimit -n`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for databases, their logs and what else the process opens.
const RESERVED: usize = 512;
/// Fewer connections than this serve nobody.
const LEAST: usize = 16;

/// Raises the bound as far as this process may: what shells give by default is meant for programs
/// that wait with `select`.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // The old bound is good enough, and fewer connections are served.
    let _lower = setrlimit(Resource::Nofile, raised);
}

/// How many connections can be served without taking the databases' files.
pub(crate) fn connections(wanted: usize) -> usize {
    let open_files = getrlimit(Resource::Nofile).current;
    let open_files = open_files.and_then(|most| usize::try_from(most).ok());
    let served = beside_databases(wanted, open_files);
    if served < wanted {
        tracing::warn!(
            open_files,
            wanted,
            served,
            "fewer connections are served than `server.max_connections`: raise the hard limit of open files (`ulimit -Hn`) or lower the key"
        );
    }
    served
}

/// None: the system sets no bound.
fn beside_databases(wanted: usize, open_files: Option<usize>) -> usize {
    let left = open_files.map_or(usize::MAX, |most| most.saturating_sub(RESERVED).max(LEAST));
    wanted.min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_512_open_files_to_databases() {
        assert_eq!(beside_databases(4096, Some(1024)), 512);
        assert_eq!(beside_databases(100, Some(1024)), 100);
        assert_eq!(beside_databases(4096, None), 4096);
        assert_eq!(beside_databases(4096, Some(256)), LEAST);
    }

    #[test]
    fn the_bound_is_raised_as_far_as_it_may_be() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
