//! The decision. Pure. A figure is better or worse only if its whole interval lies on that side of 1,
//! not all of it within the margin, and the corrected rank test agrees; it is the same only if the
//! whole interval lies within the margin; everything else cannot be told.

use super::sides;
use super::{
    Comparison, Gate, Judged, LEVEL, Metric, Options, SCHEMA_VERSION, Side, StepShift, Test,
    Verdict,
};
use crate::failure::Failure;
use crate::model::{Classes, Interval, Run, Step};
use crate::report::read;
use crate::stats::{bootstrap, rank, shift};
use crate::table::number;

/// Compares two groups of runs. Fails if they are not comparable, unless forced, and if there is
/// nothing to compare.
pub fn decide(a: &[Run], b: &[Run], options: &Options) -> Result<Comparison, Failure> {
    let differences = sides::differences(a, b);
    if a.is_empty() || b.is_empty() || (!differences.is_empty() && !options.force) {
        return Err(Failure::Usage(format!(
            "these runs cannot be compared: {}; --force compares them all the same",
            differences.join("; ")
        )));
    }
    let steps = common_steps(a, b, options)?;
    let mut tests: Vec<Test> = steps
        .iter()
        .flat_map(|step| {
            Metric::ALL.into_iter().filter_map(|metric| test(a, b, step, metric, options))
        })
        .collect();
    let deciding = tests.iter().filter(|test| test.decides).count();
    if deciding == 0 {
        return Err(Failure::Usage(
            "no figure decides: the primary figure, or every figure, is missing in some run"
                .to_owned(),
        ));
    }
    correct(&mut tests);
    for test in &mut tests {
        (test.verdict, test.reason) = judge(test, options.margin);
    }
    let mut warnings: Vec<String> =
        differences.into_iter().map(|text| format!("compared although {text}")).collect();
    warnings.extend(sides::warnings(a, b, deciding, options));
    for test in
        tests.iter().filter(|test| sides::has_outlier(&test.a) || sides::has_outlier(&test.b))
    {
        warnings.push(format!(
            "{} of {}: one run lies far from the others",
            test.metric.text(),
            test.step
        ));
    }
    let shifts = steps.iter().filter_map(|step| shifted(a, b, step)).collect();
    let gates = gates(&tests, options)?;
    let wrong = wrong(a, b);
    let held = match gates.is_empty() {
        true => passes(&tests, options),
        false => gates.iter().all(|gate| gate.pass),
    };
    let sound = wrong.is_none();
    warnings.extend(wrong);
    Ok(Comparison {
        schema_version: SCHEMA_VERSION,
        a: side("A", a),
        b: side("B", b),
        margin: options.margin,
        gate: options.gate,
        primary: options.primary.clone(),
        verdict: if sound { overall(&tests) } else { Verdict::Worse },
        pass: held && (sound || options.gate == Gate::Off),
        gates,
        interrupted: false,
        tests,
        shifts,
        warnings,
    })
}

fn side(name: &str, runs: &[Run]) -> Side {
    let first = &runs[0].target;
    Side {
        name: name.to_owned(),
        runs: runs.iter().map(|run| run.id.clone()).collect(),
        target: format!(
            "{} {}",
            first.name,
            first.version.as_deref().unwrap_or("of unknown version")
        ),
        source: None,
    }
}

/// One class of the ledger.
type Count = fn(&Classes) -> u64;

/// What B does to deliveries that A does to none: that is worse, however fast it is.
fn wrong(a: &[Run], b: &[Run]) -> Option<String> {
    let count = |runs: &[Run], of: Count| -> u64 {
        runs.iter().flat_map(|run| &run.steps).map(|step| of(&step.classes)).sum()
    };
    let kinds: [(&str, Count); 3] = [
        ("lost", |classes| classes.lost),
        ("received twice", |classes| classes.duplicate),
        ("received with other content", |classes| classes.corrupt),
    ];
    let told: Vec<String> = kinds
        .into_iter()
        .filter(|(_, of)| count(a, *of) == 0 && count(b, *of) > 0)
        .map(|(what, of)| format!("{} {what}", count(b, of)))
        .collect();
    let sent = count(b, |classes| classes.sent);
    (!told.is_empty())
        .then(|| format!("of B's {sent} deliveries {}, of A's none", told.join(" and ")))
}

/// A gate that no figure decides has not been tested.
fn gates(tests: &[Test], options: &Options) -> Result<Vec<Judged>, Failure> {
    let mut all = Vec::new();
    for gate in &options.gates {
        let judged = gate.judge(tests, options.gate);
        if judged.is_empty() {
            return Err(Failure::Usage(format!(
                "gate {}: no step has this figure in every run",
                gate.text()
            )));
        }
        all.extend(judged);
    }
    Ok(all)
}

/// Steps that every run has, in the order of the first.
fn common_steps(a: &[Run], b: &[Run], options: &Options) -> Result<Vec<String>, Failure> {
    let everywhere = |name: &str| a.iter().chain(b).all(|run| step_of(run, name).is_some());
    let wanted =
        |name: &str| options.steps.is_empty() || options.steps.iter().any(|step| step == name);
    let known: Vec<String> = a[0].steps.iter().map(|step| step.name.clone()).collect();
    let found: Vec<String> =
        known.iter().filter(|name| everywhere(name) && wanted(name)).cloned().collect();
    if found.is_empty() {
        return Err(Failure::Usage(format!(
            "no step stands in every run; the first run has {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        )));
    }
    Ok(found)
}

fn step_of<'a>(run: &'a Run, name: &str) -> Option<&'a Step> {
    run.steps.iter().find(|step| step.name == name)
}

fn figures(runs: &[Run], step: &str, metric: Metric) -> Option<Vec<f64>> {
    runs.iter().map(|run| metric.of(run, step_of(run, step)?)).collect()
}

fn test(a: &[Run], b: &[Run], step: &str, metric: Metric, options: &Options) -> Option<Test> {
    let (a, b) = (figures(a, step, metric)?, figures(b, step, metric)?);
    let ratio = |a: &[f64], b: &[f64]| bootstrap::median(b) / bootstrap::median(a);
    let enough = a.len() >= 2 && b.len() >= 2;
    let p = rank::mann_whitney(&a, &b);
    let declared = options.primary.as_ref().is_some_and(|primary| {
        primary.metric == metric && primary.step.as_deref().is_none_or(|wanted| wanted == step)
    });
    let gated = options.gates.iter().any(|gate| gate.looks_at(metric, step));
    let decides = declared || gated || (options.primary.is_none() && options.gates.is_empty());
    Some(Test {
        step: step.to_owned(),
        metric,
        a_median: bootstrap::median(&a),
        b_median: bootstrap::median(&b),
        ratio: ratio(&a, &b),
        interval: enough.then(|| bootstrap::two_sided(&a, &b, ratio)),
        p,
        p_corrected: p,
        decides,
        verdict: Verdict::CannotTell,
        reason: String::new(),
        a,
        b,
    })
}

/// Holm over the figures that decide.
fn correct(tests: &mut [Test]) {
    let p: Vec<f64> = tests.iter().filter(|test| test.decides).map(|test| test.p).collect();
    let corrected = rank::holm(&p);
    for (test, p) in tests.iter_mut().filter(|test| test.decides).zip(corrected) {
        test.p_corrected = p;
    }
}

fn judge(test: &Test, margin: f64) -> (Verdict, String) {
    let Some(interval) = test.interval else {
        return (Verdict::CannotTell, "one run a side says nothing about the next".to_owned());
    };
    let percent = number(margin * 100.0);
    let (least, most) = same(margin);
    if interval.low >= least && interval.high <= most {
        return (Verdict::Same, format!("the whole interval lies within ±{percent} %"));
    }
    let aside = interval.low > 1.0 || interval.high < 1.0;
    if !aside {
        return (
            Verdict::CannotTell,
            "the interval holds 1 and reaches beyond the margin".to_owned(),
        );
    }
    if test.p_corrected > LEVEL {
        let reason = format!(
            "the rank test does not agree: p = {} after correction",
            number(test.p_corrected)
        );
        return (Verdict::CannotTell, reason);
    }
    let grew = interval.low > 1.0;
    let verdict =
        if grew == test.metric.more_is_better() { Verdict::Better } else { Verdict::Worse };
    (verdict, format!("the whole interval is {} 1", if grew { "above" } else { "below" }))
}

/// The range of ratios that count as the same: as wide down as up.
fn same(margin: f64) -> (f64, f64) {
    (1.0 / (1.0 + margin), 1.0 + margin)
}

/// Worse if anything is; better if something is and nothing is worse; the same only if all are.
fn overall(tests: &[Test]) -> Verdict {
    let deciding = || tests.iter().filter(|test| test.decides).map(|test| test.verdict);
    if deciding().any(|verdict| verdict == Verdict::Worse) {
        Verdict::Worse
    } else if deciding().any(|verdict| verdict == Verdict::Better) {
        Verdict::Better
    } else if deciding().all(|verdict| verdict == Verdict::Same) {
        Verdict::Same
    } else {
        Verdict::CannotTell
    }
}

/// How much worse the two ends of an interval are, near end first; above 1 is worse.
fn harm(metric: Metric, interval: Interval) -> (f64, f64) {
    if metric.more_is_better() {
        (1.0 / interval.high, 1.0 / interval.low)
    } else {
        (interval.low, interval.high)
    }
}

fn passes(tests: &[Test], options: &Options) -> bool {
    let most = 1.0 + options.margin;
    tests.iter().filter(|test| test.decides).all(|test| match (options.gate, test.interval) {
        (Gate::Off, _) | (Gate::Worse, None) => true,
        (Gate::NotProven, None) => false,
        (Gate::Worse, Some(interval)) => {
            harm(test.metric, interval).0 <= most || test.verdict != Verdict::Worse
        }
        (Gate::NotProven, Some(interval)) => harm(test.metric, interval).1 <= most,
    })
}

fn shifted(a: &[Run], b: &[Run], step: &str) -> Option<StepShift> {
    let of = |runs: &[Run]| -> Option<Vec<_>> {
        runs.iter().map(|run| Some(read::histogram(read::intended(step_of(run, step)?)?))).collect()
    };
    let shifts = shift::shifts(&of(a)?, &of(b)?);
    (!shifts.is_empty()).then(|| StepShift { step: step.to_owned(), shifts })
}
