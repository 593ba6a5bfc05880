//! Runs that never happened, for tests and for looking at pictures: a small simulator of a platform
//! with a queue, seeded. Waves, an open sweep with a knee, users that wait, a restart with recovery.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::environment::Environment;
use crate::model::*;

const PROCESSES: [(&str, f64, f64); 4] = [
    ("campana", 0.19, 74.0),
    ("nats-server", 0.08, 46.0),
    ("ws-edge", 0.05, 38.0),
    ("generator", 0.11, 61.0),
];
const STAGES: [(&str, f64); 8] = [
    ("accepted", 0.24),
    ("stored", 0.30),
    ("dispatched", 0.09),
    ("worker", 0.08),
    ("provider", 0.05),
    ("edge", 0.11),
    ("socket", 0.04),
    ("client", 0.09),
];
const DRAWS: u64 = 150;

/// Waves from 1 to 2,000, up to fifty of each.
pub fn waves() -> Run {
    static MADE: LazyLock<Run> = LazyLock::new(make_waves);
    MADE.clone()
}

fn make_waves() -> Run {
    let mut run = base("paper-figure", 1);
    let mut random = StdRng::seed_from_u64(1);
    for size in [1, 10, 50, 100, 250, 500, 1_000, 2_000] {
        let from = run.duration_s;
        let step = wave(size, if size > 500 { 8 } else { 50 }, from, 1.0, &mut random);
        run.duration_s = step.to_s + 1.0;
        run.steps.push(step);
    }
    run
}

/// Open load from 1,000 to 14,000 a second; the knee is near 9,000.
pub fn open() -> Run {
    static MADE: LazyLock<Run> = LazyLock::new(make_open);
    MADE.clone()
}

fn make_open() -> Run {
    let mut run = base("open-sweep", 2);
    let mut random = StdRng::seed_from_u64(2);
    for rate in [1_000.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 9_000.0, 10_000.0, 14_000.0] {
        let step = open_step(rate, 30, run.duration_s, None, 1.0, &mut random);
        run.duration_s = step.to_s + 2.0;
        run.steps.push(step);
    }
    run
}

/// One to 256 users; throughput falls after about 96.
pub fn closed() -> Run {
    static MADE: LazyLock<Run> = LazyLock::new(make_closed);
    MADE.clone()
}

fn make_closed() -> Run {
    let mut run = base("closed-users", 3);
    let mut random = StdRng::seed_from_u64(3);
    for users in [1_u32, 4, 8, 16, 32, 64, 96, 128, 192, 256] {
        let step = closed_step(users, run.duration_s, &mut random);
        run.duration_s = step.to_s + 2.0;
        run.steps.push(step);
    }
    run
}

/// 3,000 a second, and a restart of the edge in the middle.
pub fn fault() -> Run {
    static MADE: LazyLock<Run> = LazyLock::new(make_fault);
    MADE.clone()
}

fn make_fault() -> Run {
    let mut run = base("edge-restart", 4);
    let mut random = StdRng::seed_from_u64(4);
    let step = open_step(3_000.0, 60, 0.0, Some((20, 4)), 1.0, &mut random);
    run.duration_s = step.to_s + 2.0;
    run.steps.push(step);
    run
}

/// All of them in one run, with every optional part.
pub fn everything() -> Run {
    static MADE: LazyLock<Run> = LazyLock::new(make_everything);
    MADE.clone()
}

fn make_everything() -> Run {
    let mut run = waves();
    run.scenario.name = "everything".to_owned();
    for other in [open(), closed(), fault()] {
        let shift = run.duration_s;
        for mut step in other.steps {
            later(&mut step, shift);
            run.steps.push(step);
        }
        run.duration_s += other.duration_s;
    }
    let mut random = StdRng::seed_from_u64(5);
    for receivers in [10, 100, 1_000] {
        let mut step = wave(receivers, 20, run.duration_s, 0.4, &mut random);
        step.name = format!("fan-out {receivers}");
        step.load.size = 1;
        step.load.fan_out = receivers;
        run.duration_s = step.to_s + 1.0;
        run.steps.push(step);
    }
    let worst = run.steps.iter_mut().find(|step| step.name == "open 14000/s").unwrap();
    worst.verdict = Verdict {
        status: Status::Suspect,
        reasons: vec![
            "two cores were shared: 3.1 % of the time was stolen by other guests".to_owned(),
        ],
    };
    run
}

/// A run of one wave scenario whose latency is scaled, for comparisons.
pub fn scaled(seed: u64, scale: f64) -> Run {
    let mut run = base("compared", seed);
    let mut random = StdRng::seed_from_u64(seed);
    let drift = 1.0 + (random.random::<f64>() - 0.5) * 0.04;
    run.steps.push(wave(100, 10, 0.0, scale * drift, &mut random));
    run.steps.push(open_step(2_000.0, 10, 8.0, None, scale * drift, &mut random));
    run.duration_s = 20.0;
    run
}

fn base(name: &str, seed: u64) -> Run {
    let mut random = StdRng::seed_from_u64(seed);
    let mut floor = histogram();
    (0..2_000).for_each(|_| floor.record(noise(&mut random, 130_000.0)).unwrap());
    let floor = Latency { intended: Distribution::of(&floor), actual: Distribution::of(&floor) };
    Run {
        schema_version: SCHEMA_VERSION,
        id: format!("{:08x}", random.random::<u32>()),
        started_at: format!("2026-01-02T03:{:02}:05Z", seed % 60),
        duration_s: 0.0,
        command: format!("campana loadtest run {name}"),
        scenario: ScenarioFacts {
            name: name.to_owned(),
            about: "A simulated run".to_owned(),
            sha256: "0f".repeat(32),
            seed,
            recipients: 2_000,
            payload_bytes: 256,
            slo: Some(Slo { p99_ms: 50.0, shed_ratio_max: 0.001 }),
        },
        target: TargetFacts {
            name: "campana".to_owned(),
            version: Some("0.1.0".to_owned()),
            durability: "power".to_owned(),
            connections: "keep-alive, one for each user".to_owned(),
        },
        environment: Environment::sample(),
        generators: vec![Generator {
            name: "generator".to_owned(),
            host: "localhost".to_owned(),
            recipients: 2_000,
            driver: "goose 0.19.0".to_owned(),
            ..Generator::default()
        }],
        null_target: Some(floor),
        steps: Vec::new(),
        thresholds: Vec::new(),
        saturation: None,
        interrupted: false,
        error: None,
    }
}

/// Around a value, always above zero, with a tail.
fn noise(random: &mut StdRng, around: f64) -> u64 {
    let tail = if random.random_bool(0.01) { 3.0 } else { 1.0 };
    let spread = (random.random::<f64>() + random.random::<f64>() + random.random::<f64>()) / 1.5;
    ((around * (0.55 + 0.45 * spread) * tail) as u64).max(2_000)
}

fn wave(size: u32, repeat: u32, from: f64, scale: f64, random: &mut StdRng) -> Step {
    let mut step = bare(format!("wave {size}"), from);
    let (mut all, mut last) = (histogram(), histogram());
    let each = 1.2 + f64::from(size) * 0.004;
    for index in 0..repeat {
        let mut one = histogram();
        for place in 0..size {
            let around = (2.3e6 + f64::from(place) * 0.11e6) * scale;
            one.record(noise(random, around)).unwrap();
        }
        last.record(one.max()).unwrap();
        step.waves.push(Wave {
            delivered: size.into(),
            sent: size.into(),
            p50_ms: one.value_at_quantile(0.5) as f64 / 1e6,
            p99_ms: one.value_at_quantile(0.99) as f64 / 1e6,
            max_ms: one.max() as f64 / 1e6,
        });
        second(
            &mut step,
            from + f64::from(index) * each,
            f64::from(size),
            f64::from(size),
            0.0,
            &one,
            random,
        );
        all.add(&one).unwrap();
    }
    step.to_s = from + f64::from(repeat) * each;
    step.makespan = Some(Distribution::of(&last));
    let sent = u64::from(size) * u64::from(repeat);
    step.load = Load { kind: Kind::Wave, size, repeat, ..step.load };
    finish(&mut step, &all, sent, 0, random);
    for (name, share) in &mut step.cpu_percent_of_core {
        *share *= (f64::from(size) / 500.0).powf(0.3) * if name == "generator" { 0.8 } else { 1.1 };
    }
    step
}

fn open_step(
    rate: f64,
    hold: u32,
    from: f64,
    restart: Option<(u32, u32)>,
    scale: f64,
    random: &mut StdRng,
) -> Step {
    let mut step = bare(format!("open {rate:.0}/s"), from);
    let mut all = histogram();
    let capacity = 9_200.0 / scale;
    let (mut queue, mut received, mut sent) = (0.0_f64, 0.0, 0.0);
    for index in 0..hold {
        let down = restart.is_some_and(|(at, length)| (at..at + length).contains(&index));
        let room = if down { 0.0 } else { capacity };
        queue += rate;
        let served = queue.min(room);
        queue -= served;
        // The platform refuses what would wait longer than two seconds.
        let shed = if restart.is_some() { 0.0 } else { (queue - capacity * 0.3).max(0.0) };
        queue -= shed;
        let busy = (rate / capacity).min(0.97);
        let around = (3.0e6 / (1.0 - busy * 0.93) + queue / capacity * 1e9) * scale;
        let mut one = histogram();
        if served > 0.0 {
            for _ in 0..DRAWS {
                one.record_n(
                    noise(random, around),
                    (served / DRAWS as f64).round().max(1.0) as u64,
                )
                .unwrap();
            }
        }
        received += served;
        sent += rate;
        second(&mut step, from + f64::from(index), rate, served, shed, &one, random);
        step.series.columns.entry("pending:edge".to_owned()).or_default().push(Some(queue.round()));
        step.series
            .columns
            .entry("ack_pending:edge".to_owned())
            .or_default()
            .push(Some((queue * 0.2).round().min(1_000.0)));
        all.add(&one).unwrap();
    }
    step.to_s = from + f64::from(hold);
    step.load = Load {
        kind: Kind::Open,
        size: 0,
        rate_per_s: rate,
        arrivals: "poisson".to_owned(),
        repeat: 0,
        hold_s: hold.into(),
        ..step.load
    };
    if let Some((at, length)) = restart {
        step.name = "open 3000/s, edge restarted".to_owned();
        step.load.faults = vec![format!("restart edge at {at} s for {length} s")];
        step.recovery_s = Some(2.4);
    }
    // What still waits at the end arrives while the step drains.
    let whole = received as u64 + queue as u64;
    finish(&mut step, &all, sent as u64, sent as u64 - whole, random);
    step
}

fn closed_step(users: u32, from: f64, random: &mut StdRng) -> Step {
    let mut step = bare(format!("closed {users}"), from);
    let n = f64::from(users);
    let rate = 380.0 * n / (1.0 + 0.028 * (n - 1.0) + 0.000_104 * n * (n - 1.0))
        * (1.0 + (random.random::<f64>() - 0.5) * 0.03);
    let mut all = histogram();
    for index in 0..20_u32 {
        let mut one = histogram();
        for _ in 0..DRAWS {
            one.record_n(
                noise(random, n / rate * 1e9),
                (rate / DRAWS as f64).round().max(1.0) as u64,
            )
            .unwrap();
        }
        second(&mut step, from + f64::from(index), rate, rate, 0.0, &one, random);
        all.add(&one).unwrap();
    }
    step.to_s = from + 20.0;
    step.load = Load { kind: Kind::Closed, size: users, hold_s: 20.0, ..step.load };
    step.little = Some(1.01);
    let sent = (rate * 20.0) as u64;
    finish(&mut step, &all, sent, 0, random);
    step
}

fn bare(name: String, from: f64) -> Step {
    Step {
        name,
        from_s: from,
        load: Load {
            fan_out: 1,
            channels: vec!["in_app".to_owned()],
            warm_up_s: 5.0,
            drain_s: 10.0,
            ..Load::default()
        },
        heat: Some(Heat {
            bounds_ms: (0..26).map(|row| 0.5 * 1.5_f64.powi(row)).collect(),
            ..Heat::default()
        }),
        ..Step::default()
    }
}

/// One second in the series and in the heat map.
fn second(
    step: &mut Step,
    at: f64,
    offered: f64,
    delivered: f64,
    shed: f64,
    times: &Histogram<u64>,
    random: &mut StdRng,
) {
    let at_quantile =
        |quantile: f64| (!times.is_empty()).then(|| times.value_at_quantile(quantile) as f64 / 1e6);
    let jitter = 1.0 + random.random::<f64>() * 0.2;
    let load = delivered / 1_000.0;
    step.series.at_s.push(at);
    let mut values: Vec<(String, Option<f64>)> = vec![
        ("offered".to_owned(), Some(offered)),
        ("sent".to_owned(), Some(offered)),
        ("delivered".to_owned(), Some(delivered)),
        ("shed".to_owned(), Some(shed)),
        ("p50_ms".to_owned(), at_quantile(0.5)),
        ("p99_ms".to_owned(), at_quantile(0.99)),
        ("p50_actual_ms".to_owned(), at_quantile(0.5).map(|value| value * 0.97)),
        ("p99_actual_ms".to_owned(), at_quantile(0.99).map(|value| value * 0.9)),
        ("lag_p99_ms".to_owned(), Some(0.3 * jitter)),
        ("canary_p99_ms".to_owned(), Some(0.12 * jitter)),
    ];
    for (name, cpu, rss) in PROCESSES {
        values.push((format!("cpu:{name}"), Some(cpu * load * jitter)));
        values.push((format!("rss:{name}"), Some((rss + at * 0.01) * 1_048_576.0)));
    }
    for (name, value) in values {
        step.series.columns.entry(name).or_default().push(value);
    }
    let Some(heat) = &mut step.heat else { return };
    let mut counts = vec![0; heat.bounds_ms.len() + 1];
    for value in times.iter_recorded() {
        let ms = value.value_iterated_to() as f64 / 1e6;
        counts[heat.bounds_ms.partition_point(|bound| *bound < ms)] +=
            value.count_at_value() as u32;
    }
    heat.at_s.push(at);
    heat.counts.push(counts);
}

fn finish(step: &mut Step, all: &Histogram<u64>, sent: u64, shed: u64, random: &mut StdRng) {
    // Resampling is tested where it lives; here a range of the usual width will do.
    let around = |value: f64, share: f64| {
        Some(Interval { low: value * (1.0 - share), high: value * (1.0 + share) })
    };
    let mut intended = Distribution::of(all);
    (intended.p50_interval, intended.p99_interval) =
        (around(intended.p50_ms, 0.03), around(intended.p99_ms, 0.08));
    let accept = scaled_times(all, 0.35);
    let actual = scaled_times(all, 0.96);
    step.latency.insert("in_app".to_owned(), Latency { intended, actual: actual.clone() });
    step.accept = Latency { intended: accept.clone(), actual: accept };
    step.stages = STAGES
        .map(|(name, share)| Stage { name: name.to_owned(), time: scaled_times(all, share) })
        .to_vec();
    let accepted = sent - shed;
    step.classes = Classes { sent, accepted, delivered: accepted, shed, ..Classes::default() };
    step.by_channel.insert("in_app".to_owned(), step.classes.clone());
    if shed > 0 {
        step.statuses.insert("503".to_owned(), shed);
    }
    let seconds = (step.to_s - step.from_s).max(1.0);
    step.goodput_per_s = accepted as f64 / seconds;
    step.sent_per_s = sent as f64 / seconds;
    let jitter = 1.0 + random.random::<f64>() * 0.05;
    step.cpu_s_per_1000 = PROCESSES.map(|(name, cpu, _)| (name.to_owned(), cpu * jitter)).into();
    step.cpu_percent_of_core =
        PROCESSES.map(|(name, cpu, _)| (name.to_owned(), cpu * 160.0 * jitter)).into();
    step.rss_bytes = PROCESSES
        .map(|(name, _, rss)| (name.to_owned(), ((rss + step.to_s * 0.01) * 1_048_576.0) as u64))
        .into();
    step.stored_bytes = BTreeMap::from([
        ("streams".to_owned(), accepted * 900),
        ("database".to_owned(), accepted * 300),
    ]);
    step.generator = GeneratorHealth {
        lag: scaled_times(all, 0.03),
        canary: scaled_times(all, 0.02),
        achieved_ratio: 1.0,
        steal_percent: 0.4,
        pressure_percent: Some(12.0),
        half_difference: Some(0.02),
        throughput_cv: Some(0.01),
        backlog_slope: Some(0.0),
        ..GeneratorHealth::default()
    };
    let check = |what: &str| Reconciled {
        what: what.to_owned(),
        ledger: accepted,
        other: accepted,
        agrees: true,
        of_run: what.starts_with("rows"),
        growing: false,
    };
    step.reconciliation = Reconciliation {
        checks: vec![check("messages in CHANNELS"), check("rows of deliveries")],
        counters: BTreeMap::from([("redelivered".to_owned(), 0.0)]),
    };
}

fn scaled_times(all: &Histogram<u64>, share: f64) -> Distribution {
    let mut times = histogram();
    for step in all.iter_recorded() {
        let value = (step.value_iterated_to() as f64 * share).max(1_000.0) as u64;
        times.record_n(value, step.count_at_value()).unwrap();
    }
    Distribution::of(&times)
}

fn later(step: &mut Step, by: f64) {
    step.from_s += by;
    step.to_s += by;
    step.series.at_s.iter_mut().for_each(|at| *at += by);
    if let Some(heat) = &mut step.heat {
        heat.at_s.iter_mut().for_each(|at| *at += by);
    }
}
