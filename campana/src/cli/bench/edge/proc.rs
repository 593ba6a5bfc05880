//! CPU time and memory of the processes under measurement, and the limit of open files.
//! Reads: `/proc`, without privileges. Writes: this process's own soft limit. Never: guesses: a process that is
//! gone is an error.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::errors::usage;

/// Files that are open beside the connections, here and in a server.
const FILES_BESIDE: u64 = 128;
/// Memory stands still when two looks differ by less than this share.
const STILL: f64 = 0.002;
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOKS_MAX: u32 = 40;

/// Raises the soft limit of open files as far as the hard one allows; children inherit it.
pub fn allow_files(connections: usize) -> anyhow::Result<()> {
    let needed = connections as u64 + FILES_BESIDE;
    let mut limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(limit.current) {
        return Ok(());
    }
    if enough(limit.maximum) {
        limit.current = limit.maximum;
        return setrlimit(Resource::Nofile, limit).context("the limit of open files stays low");
    }
    let hard = limit.maximum.unwrap_or(u64::MAX);
    Err(usage(format!(
        "{connections} connections need {needed} open files in this process and in each server, but the hard \
         limit is {hard} (ulimit -H -n): raise it as root (`ulimit -n {needed}`, LimitNOFILE= of systemd, \
         --ulimit nofile= of Docker), or ask for at most {} with --connections",
        hard.saturating_sub(FILES_BESIDE)
    )))
}

/// User and system time that a process has used so far, in µs.
pub fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    let stat = read(pid, "stat")?;
    let ticks = ticks_of(&stat).context("/proc/<pid>/stat is not as expected")?;
    Ok(ticks as f64 * 1e6 / rustix::param::clock_ticks_per_second() as f64)
}

/// User plus system ticks; the name in brackets may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory (`VmRSS`) of a process, in KiB.
pub fn rss_kib(pid: u32) -> anyhow::Result<f64> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.context("no VmRSS in /proc/<pid>/status")
}

/// Resident memory once it has stopped moving, or after ten seconds.
pub async fn still_kib(pid: u32) -> anyhow::Result<f64> {
    let mut last = rss_kib(pid)?;
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = rss_kib(pid)?;
        if (now - last).abs() <= last * STILL {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// Bytes that wait in the kernel on the connections of a server's port: sent and not taken, taken and not read.
pub fn queued_bytes(port: u16) -> anyhow::Result<u64> {
    let queued = |one: Connection| (one.server || one.client).then_some(one.sent + one.unread);
    Ok(connections(port)?.into_iter().filter_map(queued).sum())
}

/// Open connections of a server's port with something that the client's side does not take.
pub fn blocked_connections(port: u16) -> anyhow::Result<usize> {
    let blocked = |one: &Connection| one.server && one.open && one.sent > 0;
    Ok(connections(port)?.iter().filter(|one| blocked(one)).count())
}

/// One line of the kernel's table.
#[derive(Debug, PartialEq, Eq)]
struct Connection {
    /// It is the end of the server with the port in question.
    server: bool,
    /// It is the other end.
    client: bool,
    open: bool,
    sent: u64,
    unread: u64,
}

fn connections(port: u16) -> anyhow::Result<Vec<Connection>> {
    let table = std::fs::read_to_string("/proc/net/tcp").context("no /proc/net/tcp")?;
    Ok(table.lines().skip(1).filter_map(|line| connection(line, port)).collect())
}

fn connection(line: &str, port: u16) -> Option<Connection> {
    let fields: Vec<&str> = line.split_whitespace().take(5).collect();
    let of = |field: &str| u16::from_str_radix(field.rsplit_once(':')?.1, 16).ok();
    let [_, ours, theirs, state, queues] = fields[..] else { return None };
    // State 0A is the listener, whose queue counts connections.
    let (ours, theirs) = (of(ours)?, of(theirs)?);
    let (sent, unread) = queues.split_once(':')?;
    (state != "0A").then_some(Connection {
        server: ours == port,
        client: theirs == port,
        open: state == "01",
        sent: u64::from_str_radix(sent, 16).ok()?,
        unread: u64::from_str_radix(unread, 16).ok()?,
    })
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| {
        format!("process {pid} cannot be measured: it has ended, or this system is not Linux")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_survive_a_strange_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 70 5 0 0 20 0 1 0 100 1 2";
        assert_eq!(ticks_of(stat), Some(75));
        assert_eq!(ticks_of("nonsense"), None);
    }

    #[test]
    fn this_process_can_be_measured_and_a_missing_one_cannot() {
        assert!(rss_kib(std::process::id()).unwrap() > 100.0);
        assert!(cpu_us(std::process::id()).unwrap() >= 0.0);
        assert!(cpu_us(u32::MAX).is_err());
    }

    #[test]
    fn the_limit_of_files_is_named_with_what_to_do() {
        assert!(allow_files(1).is_ok());
        let maximum = getrlimit(Resource::Nofile).maximum;
        if maximum.is_some() {
            let refusal = allow_files(1 << 40).unwrap_err().to_string();
            assert!(
                refusal.contains("ulimit -n") && refusal.contains("--connections"),
                "{refusal}"
            );
        }
    }

    #[test]
    fn lines_of_the_kernel_s_table_are_read() {
        let line =
            "   1: 0100007F:1F90 0100007F:9CB9 01 00000010:00000002 00:00000000 00000000 0 0 1";
        let server = connection(line, 0x1f90).unwrap();
        let wanted = Connection { server: true, client: false, open: true, sent: 16, unread: 2 };
        assert_eq!(server, wanted);
        assert!(connection(line, 0x9cb9).unwrap().client);
        assert_eq!(connection(&line.replace(" 01 ", " 0A "), 0x1f90), None);
        assert_eq!(connection("", 80), None);
    }
}
