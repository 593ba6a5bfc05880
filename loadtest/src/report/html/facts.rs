//! The page's facts: where a run was measured and how to repeat it. Pure.

use crate::report::svg::escape;
use crate::run::{Run, Status};
use crate::table::{grouped, number};

type Fact = (&'static str, String);

pub(super) fn environment(run: &Run) -> String {
    let items: String = machine_facts(run)
        .into_iter()
        .chain(software_facts(run))
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(&value)))
        .collect();
    format!("<h2>Where this was measured</h2>\n<dl class=\"facts\">{items}</dl>")
}

fn machine_facts(run: &Run) -> Vec<Fact> {
    let machine = &run.environment;
    let memory = number(machine.memory_bytes as f64 / f64::from(1 << 30));
    let load = machine.load_before.map(number).join(", ");
    let busy = number(machine.busy_percent_before);
    let pressure = machine
        .cpu_pressure_avg10
        .map_or_else(String::new, |value| format!("; CPU pressure {} %", number(value)));
    let steal = run.steps.iter().map(|step| step.steal_percent).fold(0.0, f64::max);
    let hypervisor = machine.hypervisor.clone().unwrap_or_else(|| "none".to_owned());
    vec![
        ("processor", format!("{}, {} cores", machine.cpu_model, machine.cores)),
        ("memory", format!("{memory} GiB")),
        ("hypervisor", hypervisor),
        ("system", format!("{}, kernel {}", machine.os, machine.kernel)),
        ("before the run", format!("cores {busy} % busy, load {load}{pressure}")),
        ("stolen by other guests", format!("at most {} % in a step", number(steal))),
        ("clock", or_unknown(&machine.clocksource)),
        ("open files", grouped(machine.open_files_limit)),
    ]
}

fn software_facts(run: &Run) -> Vec<Fact> {
    let machine = &run.environment;
    let commit = match (&machine.git_commit, machine.git_dirty) {
        (Some(commit), Some(true)) => format!("{commit}, with uncommitted changes"),
        (Some(commit), _) => commit.clone(),
        (None, _) => "not in a checkout".to_owned(),
    };
    let campana = format!(
        "{} ({} build)",
        or_unknown(&machine.campana_version),
        or_unknown(&machine.campana_profile)
    );
    let harness =
        format!("{} ({} build, {})", machine.harness_version, machine.profile, machine.rustc);
    vec![
        ("Campana", campana),
        ("nats-server", or_unknown(&machine.nats_version)),
        ("source", commit),
        ("harness", harness),
        ("senders", format!("{}; {}", run.settings.senders, run.settings.connections)),
        ("target", machine.target.clone()),
    ]
}

fn or_unknown(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| "unknown".to_owned())
}

pub(super) fn repeat(run: &Run) -> String {
    let settings = &run.settings;
    let clean = run.steps.iter().all(|step| step.verdict.status == Status::Ok);
    let verdicts = if clean { "All verdicts are OK." } else { "Read the verdicts above first." };
    format!(
        "<h2>Measure it yourself</h2>\n<pre>campana up\n{command}</pre>\n<ul class=\"notes soft\">\
         <li>Each user holds a warm connection and waits at a barrier; its release is the intended \
         send of the whole wave. One warm-up wave per size is not counted.</li>\
         <li>Receivers are {largest} WebSocket clients, opened once, one for each recipient; sender and \
         receivers share one monotonic clock.</li>\
         <li>Lost means accepted with 202 and not read {drain} s after the last answer. The failure bound \
         is the rate that the number of trials cannot exclude.</li>\
         <li>{verdicts} run.json beside this file holds every number; started {started}, took {duration} s.</li>\
         </ul>",
        command = escape(&run.command),
        largest = grouped(u64::from(settings.waves.iter().copied().max().unwrap_or(0))),
        drain = number(settings.drain_ms as f64 / 1e3),
        started = escape(&run.started_at),
        duration = number(run.duration_s),
    )
}
