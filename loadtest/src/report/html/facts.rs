//! The page's facts: where a run was measured and how to repeat it. Pure.

use crate::model::Run;
use crate::report::svg::escape;
use crate::table::{grouped, number};

type Fact = (&'static str, String);

pub(super) fn environment(run: &Run) -> String {
    let items: String = machine_facts(run)
        .into_iter()
        .chain(software_facts(run))
        .chain(scenario_facts(run))
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(&value)))
        .collect();
    format!("<h2>Where and what was measured</h2>\n<dl class=\"facts\">{items}</dl>")
}

fn machine_facts(run: &Run) -> Vec<Fact> {
    let machine = &run.environment;
    let memory = number(machine.memory_bytes as f64 / f64::from(1 << 30));
    let load = machine.load_before.map(number).join(", ");
    let busy = number(machine.busy_percent_before);
    let pressure = machine
        .cpu_pressure_avg10
        .map_or_else(String::new, |value| format!("; CPU pressure {} %", number(value)));
    let steal = run.steps.iter().map(|step| step.generator.steal_percent).fold(0.0, f64::max);
    let hypervisor = machine.hypervisor.clone().unwrap_or_else(|| "none".to_owned());
    vec![
        ("processor", format!("{}, {} cores", machine.cpu_model, machine.cores)),
        ("memory", format!("{memory} GiB")),
        ("hypervisor", hypervisor),
        ("system", format!("{}, kernel {}", machine.os, machine.kernel)),
        ("before the run", format!("cores {busy} % busy, load {load}{pressure}")),
        ("stolen by other guests", format!("at most {} % in a step", number(steal))),
        ("clock", or_unknown(machine.clocksource.as_ref())),
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
    let version = run.target.version.as_ref().or(machine.campana_version.as_ref());
    let build = machine
        .campana_profile
        .as_ref()
        .map_or_else(String::new, |build| format!(" ({build} build)"));
    let harness =
        format!("{} ({} build, {})", machine.harness_version, machine.profile, machine.rustc);
    vec![
        (
            "target",
            format!("{} {}{build}, {}", run.target.name, or_unknown(version), machine.target),
        ),
        ("a 202 survives", run.target.durability.clone()),
        ("connections", run.target.connections.clone()),
        ("nats-server", or_unknown(machine.nats_version.as_ref())),
        ("source", commit),
        ("harness", harness),
    ]
}

fn scenario_facts(run: &Run) -> Vec<Fact> {
    let scenario = &run.scenario;
    let generators: Vec<String> = run
        .generators
        .iter()
        .map(|one| {
            format!(
                "{} on {}: {} recipients, {}",
                one.name,
                one.host,
                grouped(u64::from(one.recipients)),
                one.driver
            )
        })
        .collect();
    let goal = scenario.slo.as_ref().map_or_else(
        || "none".to_owned(),
        |slo| {
            format!(
                "p99 at most {} ms, at most {} shed",
                number(slo.p99_ms),
                super::super::read::percent(slo.shed_ratio_max)
            )
        },
    );
    vec![
        ("scenario", format!("{}: {}", scenario.name, scenario.about)),
        ("scenario file", format!("SHA-256 {}, seed {}", scenario.sha256, scenario.seed)),
        (
            "recipients",
            format!(
                "{}, {} bytes each",
                grouped(u64::from(scenario.recipients)),
                grouped(u64::from(scenario.payload_bytes))
            ),
        ),
        ("goal", goal),
        ("generators", generators.join("; ")),
        (
            "run",
            format!("{}, started {}, took {} s", run.id, run.started_at, number(run.duration_s)),
        ),
    ]
}

fn or_unknown(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "unknown".to_owned())
}

pub(super) fn repeat(run: &Run) -> String {
    format!(
        "<h2>Measure it yourself</h2>\n<pre tabindex=\"0\">campana up\n{}</pre>\n<p class=\"soft\">run.json beside \
         this file holds every number and the whole histograms (HdrHistogram V2); \
         <code>campana loadtest report</code> draws this page from it again.</p>",
        escape(&run.command)
    )
}
