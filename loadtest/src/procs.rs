//! CPU time and memory of the processes that take part, read without privileges. CPU time is the
//! kernel's own clock of each process, exact to the nanosecond and with threads that have ended;
//! where a process cannot be asked for it, the ticks of `/proc` (10 ms) stand in.

use std::collections::BTreeMap;
use std::fs;

use nix::time::ClockId;
use nix::unistd::Pid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where `/proc/<pid>/stat` has the ticks, counted from behind the name: user and system, its own and those of the
/// children that it has waited for.
const OWN_TICKS: usize = 11;
const CHILDREN_TICKS: usize = 13;

/// A process to watch, under the name that reports use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    pub name: String,
    pub pid: u32,
    /// Whether what it starts counts with it, also what it starts while it is watched and what has ended since:
    /// a server with a process for every connection.
    #[serde(skip)]
    pub forks: bool,
}

impl Process {
    /// A process by itself.
    pub fn alone(name: impl Into<String>, pid: u32) -> Self {
        Self { name: name.into(), pid, forks: false }
    }
}

/// CPU time of every watched process at one moment, by name.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub at_ns: u64,
    pub cpu_ns: BTreeMap<String, u64>,
}

/// CPU time between two samples, by name.
pub fn difference(before: &Sample, after: &Sample) -> BTreeMap<String, u64> {
    let earlier = |name: &String| before.cpu_ns.get(name).copied().unwrap_or(0);
    after
        .cpu_ns
        .iter()
        .map(|(name, now)| (name.clone(), now.saturating_sub(earlier(name))))
        .collect()
}

/// Reads the CPU time of each process; one that has ended is left out.
pub fn sample(processes: &[Process], at_ns: u64) -> Sample {
    let mut cpu_ns = BTreeMap::new();
    for process in with_what_they_start(processes) {
        let ended = if process.forks { ended_ns_of(process.pid) } else { 0 };
        if let Some(spent) = cpu_ns_of(process.pid).map(|own| own + ended) {
            *cpu_ns.entry(process.name).or_default() += spent;
        }
    }
    Sample { at_ns, cpu_ns }
}

/// Resident memory by name. What processes that fork have in common with what they start counts once: dozens of
/// processes of a database show the same buffers.
pub fn resident(processes: &[Process]) -> BTreeMap<String, u64> {
    let mut bytes = BTreeMap::new();
    for process in processes {
        if let Some(resident) = resident_of(process) {
            *bytes.entry(process.name.clone()).or_default() += resident;
        }
    }
    bytes
}

fn resident_of(process: &Process) -> Option<u64> {
    let (own, mut common) = pages_of(process.pid)?;
    let mut alone = own.saturating_sub(common);
    for started in with_what_they_start(std::slice::from_ref(process)).iter().skip(1) {
        if let Some((resident, shared)) = pages_of(started.pid) {
            alone += resident.saturating_sub(shared);
            common = common.max(shared);
        }
    }
    Some((alone + common) * rustix::param::page_size() as u64)
}

/// Resident memory of one process.
pub fn rss_bytes_of(pid: u32) -> Option<u64> {
    Some(pages_of(pid)?.0 * rustix::param::page_size() as u64)
}

/// Resident pages of a process, and how many of them belong to files or are shared.
fn pages_of(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split_whitespace().skip(1).map_while(|word| word.parse().ok());
    Some((pages.next()?, pages.next()?))
}

/// Processes by their executable's name, for a platform that runs in several of them.
pub fn find(names: &[&str]) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<Process> = entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
            let name = names.iter().find(|name| **name == comm.trim())?;
            Some(Process::alone(*name, pid))
        })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// The processes, and what those that fork have running at this moment.
fn with_what_they_start(processes: &[Process]) -> Vec<Process> {
    let mut all = processes.to_vec();
    if processes.iter().any(|process| process.forks) {
        let parents = parents();
        for process in processes.iter().filter(|process| process.forks) {
            let below = descendants(process.pid, &parents).into_iter().skip(1);
            all.extend(below.map(|pid| Process::alone(process.name.clone(), pid)));
        }
    }
    all
}

/// Every process and its parent.
pub fn parents() -> Vec<(u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent_of = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in brackets may hold anything.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    entries.filter_map(parent_of).collect()
}

/// A process and all below it.
pub fn descendants(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(pid, of)| *of == parent && !found.contains(pid));
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        next += 1;
    }
    found
}

/// Ticks stolen by other guests and all ticks, of all cores since boot.
pub fn steal_ticks() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    steal_of(text.lines().next().unwrap_or_default())
}

fn steal_of(line: &str) -> (u64, u64) {
    // user nice system idle iowait irq softirq steal; guest time is already inside user.
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|text| text.parse().ok()).collect();
    (ticks.get(7).copied().unwrap_or(0), ticks.iter().sum())
}

/// Percent of all ticks between two readings that were stolen.
pub fn steal_percent(before: (u64, u64), after: (u64, u64)) -> f64 {
    let total = after.1.saturating_sub(before.1);
    if total == 0 {
        return 0.0;
    }
    after.0.saturating_sub(before.0) as f64 / total as f64 * 100.0
}

fn cpu_ns_of(pid: u32) -> Option<u64> {
    clock_ns(pid).or_else(|| ticks_ns_of(pid, OWN_TICKS))
}

/// CPU time of the children that have ended and been waited for.
fn ended_ns_of(pid: u32) -> u64 {
    ticks_ns_of(pid, CHILDREN_TICKS).unwrap_or(0)
}

fn ticks_ns_of(pid: u32, field: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks_of(&stat, field)? * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

fn clock_ns(pid: u32) -> Option<u64> {
    // 0 would be the asking process.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let spent = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok()?.now().ok()?;
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Some(part(spent.tv_sec()) * 1_000_000_000 + part(spent.tv_nsec()))
}

/// User plus system ticks of `/proc/<pid>/stat`; the name in brackets may hold anything.
fn ticks_of(stat: &str, field: usize) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(field)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn ticks_survive_a_strange_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 70 5 3 4 20 0 1 0 100 1 2";
        assert_eq!(ticks_of(stat, OWN_TICKS), Some(75));
        assert_eq!(ticks_of(stat, CHILDREN_TICKS), Some(7));
        assert_eq!(ticks_of("nonsense", OWN_TICKS), None);
    }

    #[test]
    fn a_tree_is_found_and_a_loop_ends() {
        let parents = [(2, 1), (3, 2), (4, 2), (9, 8), (8, 9), (1, 1)];
        assert_eq!(descendants(1, &parents), [1, 2, 3, 4]);
        assert_eq!(descendants(8, &parents), [8, 9]);
    }

    #[test]
    fn what_a_forking_process_starts_counts_with_it() {
        // One child that works and ends, one that runs until its input ends.
        let script =
            "(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done); (echo ready; read line); :";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = shell.stdout.take().unwrap();
        std::io::BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let of = |forks| [Process { forks, ..Process::alone("sh", shell.id()) }];
        let spent = |forks| sample(&of(forks), 0).cpu_ns["sh"];
        let (alone, all) = (spent(false), spent(true));
        assert!(all > alone + 10_000_000, "{all} ns, {alone} of them its own");
        assert!(resident(&of(true))["sh"] > resident(&of(false))["sh"]);
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn own_cpu_time_grows_with_work() {
        let own = [Process::alone("generator", std::process::id())];
        let before = sample(&own, 0);
        let mut sum = 0_u64;
        for i in 0..30_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(i));
        }
        let spent = difference(&before, &sample(&own, 1))["generator"];
        assert!(spent > 1_000_000, "{spent} ns for 30 million rounds ({sum})");
        assert!(resident(&own)["generator"] > 1 << 20);
    }

    #[test]
    fn a_process_that_is_gone_is_left_out() {
        let gone = [Process::alone("x", u32::MAX)];
        assert!(sample(&gone, 0).cpu_ns.is_empty());
    }

    #[test]
    fn steal_is_a_share_of_all_ticks() {
        let before = steal_of("cpu  10 0 10 70 5 0 5 0 0 0");
        let after = steal_of("cpu  20 0 20 140 5 0 5 10 3 0");
        assert_eq!(before, (0, 100));
        assert!((steal_percent(before, after) - 10.0).abs() < 1e-9);
        assert!(steal_percent(before, before).abs() < 1e-9);
    }
}
