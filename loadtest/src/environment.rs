//! Where a run happened: what a reader needs to repeat it or to distrust it.
//! Reads `/proc`, `/sys`, git and nats-server's monitor; writes nothing; a fact that cannot be
//! read is absent, never guessed.

use std::fs;
use std::process::Command;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::procs::Process;
use crate::stats::round3;
use crate::target::Target;

const MONITOR_TIMEOUT: Duration = Duration::from_secs(2);

/// Facts about machine, platform and harness.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    pub os: String,
    pub kernel: String,
    pub cpu_model: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub hypervisor: Option<String>,
    pub clocksource: Option<String>,
    pub load_before: [f64; 3],
    /// Percent of the last ten seconds in which some task waited for a core.
    pub cpu_pressure_avg10: Option<f64>,
    /// Percent of all cores in use in the second before the first wave, with the platform idle.
    pub busy_percent_before: f64,
    pub open_files_limit: u64,
    pub campana_version: Option<String>,
    pub campana_profile: Option<String>,
    pub nats_version: Option<String>,
    pub git_commit: Option<String>,
    pub git_dirty: Option<bool>,
    pub rustc: String,
    pub profile: String,
    pub harness_version: String,
    pub target: String,
    pub processes: Vec<Process>,
}

/// Reads everything; takes one second, in which it watches how busy the machine is.
pub async fn capture(target: &Target, processes: &[Process], open_files: u64) -> Environment {
    let system = System::new_with_specifics(
        RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing())
            .with_memory(MemoryRefreshKind::nothing().with_ram()),
    )
    .ok();
    let cpus = system.as_ref().map_or(&[][..], System::cpus);
    let load = System::load_average().map_or([0.0; 3], |load| [load.one, load.five, load.fifteen]);
    let pressure = read("/proc/pressure/cpu").and_then(|text| pressure_avg10(&text));
    let campana = processes.iter().find(|process| process.name == "campana");
    Environment {
        os: System::long_os_version().unwrap_or_else(|_| "unknown".to_owned()),
        kernel: System::kernel_version().unwrap_or_else(|_| "unknown".to_owned()),
        cpu_model: cpus
            .first()
            .map_or_else(|| "unknown".to_owned(), |cpu| cpu.brand().trim().to_owned()),
        cores: cpus.len(),
        memory_bytes: system.as_ref().map_or(0, System::total_memory),
        hypervisor: hypervisor(),
        clocksource: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        load_before: load.map(round3),
        cpu_pressure_avg10: pressure,
        busy_percent_before: busy_percent().await,
        open_files_limit: open_files,
        campana_version: target.version.clone(),
        campana_profile: campana.and_then(|process| build_profile(process.pid)),
        nats_version: nats_version(target).await,
        git_commit: git(&["rev-parse", "HEAD"]),
        git_dirty: git(&["status", "--porcelain"]).map(|text| !text.is_empty()),
        rustc: env!("LOADTEST_RUSTC").to_owned(),
        profile: env!("LOADTEST_PROFILE").to_owned(),
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        target: target.gateway.to_string(),
        processes: processes.to_vec(),
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A guest says so in its CPU flags; who runs it stands in the firmware's tables.
fn hypervisor() -> Option<String> {
    let cpu = read("/proc/cpuinfo")?;
    let flags = cpu.lines().find(|line| line.starts_with("flags"))?;
    if !flags.split_whitespace().any(|flag| flag == "hypervisor") {
        return None;
    }
    Some(read("/sys/class/dmi/id/sys_vendor").unwrap_or_else(|| "unnamed".to_owned()))
}

fn pressure_avg10(text: &str) -> Option<f64> {
    let some = text.lines().find(|line| line.starts_with("some"))?;
    some.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

async fn busy_percent() -> f64 {
    let before = busy_ticks();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = busy_ticks();
    let total = after.1.saturating_sub(before.1).max(1);
    round3(after.0.saturating_sub(before.0) as f64 / total as f64 * 100.0)
}

fn busy_ticks() -> (u64, u64) {
    let text = read("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let total: u64 = ticks.iter().sum();
    let idle = ticks.get(3).copied().unwrap_or(0) + ticks.get(4).copied().unwrap_or(0);
    (total - idle, total)
}

/// Cargo's profile, told by the folder of the running executable; installed binaries have none.
fn build_profile(pid: u32) -> Option<String> {
    let executable = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let folder = executable.parent()?.file_name()?.to_str()?;
    matches!(folder, "debug" | "release").then(|| folder.to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn nats_version(target: &Target) -> Option<String> {
    let monitor = target.nats_monitor.as_ref()?;
    let client = reqwest::Client::builder().timeout(MONITOR_TIMEOUT).build().ok()?;
    let answer = client.get(monitor.join("varz").ok()?).send().await.ok()?;
    let varz: serde_json::Value = answer.json().await.ok()?;
    varz.get("version")?.as_str().map(str::to_owned)
}

#[cfg(test)]
impl Environment {
    /// For tests of what is drawn from a run.
    pub fn sample() -> Self {
        Self {
            os: "Linux (Debian GNU/Linux 12)".to_owned(),
            kernel: "6.18.0".to_owned(),
            cpu_model: "Example CPU <2 cores>".to_owned(),
            cores: 2,
            memory_bytes: 24 << 30,
            hypervisor: Some("QEMU".to_owned()),
            clocksource: Some("tsc".to_owned()),
            load_before: [0.1, 0.2, 0.3],
            cpu_pressure_avg10: Some(1.5),
            busy_percent_before: 3.2,
            open_files_limit: 20_000,
            campana_version: Some("0.1.0".to_owned()),
            campana_profile: Some("release".to_owned()),
            nats_version: Some("2.15.1".to_owned()),
            git_commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            git_dirty: Some(false),
            rustc: "rustc 1.95.0".to_owned(),
            profile: "release".to_owned(),
            harness_version: "0.1.0".to_owned(),
            target: "http://127.0.0.1:8080/".to_owned(),
            processes: vec![Process::alone("generator", 7)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_read_from_the_some_line() {
        let text = "some avg10=12.50 avg60=1.00 avg300=0.10 total=9\nfull avg10=0.00 avg60=0 avg300=0 total=0";
        assert_eq!(pressure_avg10(text), Some(12.5));
        assert_eq!(pressure_avg10(""), None);
    }
}
