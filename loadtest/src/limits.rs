//! Descriptors: a sweep of n needs two sockets for each of n users here, and as many in the
//! platform. The harness raises no limit; it says in time what is missing.

use crate::failure::Failure;

/// Sockets are not everything that is open.
const MARGIN: u64 = 128;

/// The soft limit of open files.
pub fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Refuses a run that would end in "too many open files".
pub fn require(sockets: u64, limit: u64) -> Result<(), Failure> {
    let needed = sockets + MARGIN;
    if needed <= limit {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "this needs {needed} open files, but `ulimit -n` is {limit}; raise it here and for the platform (ulimit -n {needed}), or ask for fewer connections"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_checked_with_a_margin() {
        assert!(require(1_000, 1_128).is_ok());
        let refusal = require(1_000, 1_127).unwrap_err();
        assert!(refusal.to_string().contains("ulimit -n 1128"), "{refusal}");
        assert!(open_files() > 0);
    }
}
