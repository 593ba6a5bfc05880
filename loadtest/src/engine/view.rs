//! The live view on a terminal: a bar for each step and, renewed each second, a few lines about
//! load, latencies, what went wrong and who uses the cores. Draws on stderr; nobody starts it when
//! that is no terminal.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::ProgressBar;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::live::Row;
use crate::procs::Process;
use crate::progress;
use crate::table::number;

/// The bar moves in tenths of a second or of a wave.
const TICKS: f64 = 10.0;
/// The kernel's counts are too coarse for less.
const CORES_EVERY: Duration = Duration::from_secs(1);

/// Draws until the run ends.
pub async fn draw(mut rows: watch::Receiver<Row>, processes: Vec<Process>) {
    let mut bar: Option<(String, ProgressBar)> = None;
    let mut usage = Usage::new(processes);
    let mut second = tokio::time::interval(CORES_EVERY);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = rows.changed() => if changed.is_err() { break },
            _ = second.tick() => {
                usage.refresh();
                continue;
            }
        }
        let row = rows.borrow_and_update().clone();
        if bar.as_ref().is_some_and(|(step, _)| *step != row.step)
            && let Some((_, old)) = bar.take()
        {
            old.finish_and_clear();
        }
        if row.step.is_empty() {
            continue;
        }
        let (_, bar) = bar.get_or_insert_with(|| {
            let length = (row.expected * TICKS) as u64;
            (row.step.clone(), progress::bar(&row.step, length, false))
        });
        bar.set_position((row.done * TICKS) as u64);
        bar.set_message(lines(&row, &usage.cores));
    }
}

/// Cores in use by process, as the operating system's tools show them.
struct Usage {
    processes: Vec<Process>,
    /// Nothing where the system tells nothing.
    system: Option<System>,
    cores: BTreeMap<String, f64>,
}

impl Usage {
    fn new(processes: Vec<Process>) -> Self {
        Self { processes, system: System::new().ok(), cores: BTreeMap::new() }
    }

    fn refresh(&mut self) {
        let pids: Vec<Pid> = self.processes.iter().map(|one| Pid::from_u32(one.pid)).collect();
        let kind = ProcessRefreshKind::nothing().with_cpu().without_tasks();
        let Some(system) = &mut self.system else { return };
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, kind);
        self.cores.clear();
        for (process, pid) in self.processes.iter().zip(pids) {
            if let Some(seen) = system.process(pid) {
                *self.cores.entry(process.name.clone()).or_default() +=
                    f64::from(seen.cpu_usage()) / 100.0;
            }
        }
    }
}

/// The text beside and under the bar.
fn lines(row: &Row, cores: &BTreeMap<String, f64>) -> String {
    let mut all = row.earlier.clone();
    all.add(&row.classes);
    let received = row.classes.delivered + row.classes.late;
    let mut text = format!("{}: {received} of {} received", row.phase, row.classes.sent);
    if let Some(second) = &row.second {
        text += &format!(
            "\n  offered {:.0}/s  sent {:.0}/s  received {:.0}/s  in flight {}  p50 {} ms  p99 {} ms",
            second.offered_per_s,
            second.sent_per_s,
            second.received_per_s,
            row.in_flight,
            number(second.p50_ms),
            number(second.p99_ms),
        );
        let void = if second.generator_valid { "" } else { ", too late: the figures are void" };
        text += &format!(
            "\n  lost {}  duplicate {}  shed {}  generator behind by {} ms (p99){void}",
            all.lost,
            all.duplicate,
            all.shed,
            number(second.lag_p99_ms),
        );
    }
    if !cores.is_empty() {
        let each: Vec<String> =
            cores.iter().map(|(name, cores)| format!("{name} {cores:.2}")).collect();
        text += &format!("\n  cores: {}", each.join("  "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::live::Second;
    use super::*;
    use crate::model::Classes;

    #[test]
    fn the_lines_tell_rate_latency_losses_and_cores() {
        let mut row = Row {
            step: "open 100/s".to_owned(),
            phase: "load",
            in_flight: 3,
            classes: Classes { sent: 50, delivered: 45, late: 2, ..Classes::default() },
            earlier: Classes { lost: 4, ..Classes::default() },
            ..Row::default()
        };
        assert_eq!(lines(&row, &BTreeMap::new()), "load: 47 of 50 received");
        row.second = Some(Second { sent_per_s: 99.6, p99_ms: 12.5, ..Second::default() });
        let text = lines(&row, &[("campana".to_owned(), 0.527)].into());
        for part in
            ["sent 100/s", "in flight 3", "p99 12.5 ms", "lost 4", "void", "cores: campana 0.53"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
