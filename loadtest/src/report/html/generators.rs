//! The page's section about several generators: who they were, how their clocks stood, and what
//! each did in each step. Pure.

use super::{Numbers, table};
use crate::model::Run;
use crate::report::read;
use crate::report::svg::escape;
use crate::table::{grouped, number};

/// Nothing for a run of one generator.
pub(super) fn section(run: &Run) -> String {
    if run.steps.iter().all(|step| step.generators.is_empty()) && run.generators.len() < 2 {
        return String::new();
    }
    format!(
        "<section>\n<h2>Generators</h2>\n<p class=\"soft\">{about}</p>\n<div class=\"card\">{who}</div>\n\
         <div class=\"card\">{steps}</div>\n</section>",
        about = escape(&about(run)),
        who = table("Who made the load", &who(run)),
        steps = table("What each generator did", &steps(run)),
    )
}

fn about(run: &Run) -> String {
    let bound = run.steps.iter().flat_map(|step| &step.generators);
    let bound = bound.map(|one| one.clock_error_ms).fold(0.0, f64::max);
    let clocks = if bound > 0.0 {
        format!(
            "Their clocks differ; an agreed instant was the same for all within ±{} ms, and nothing else depends on \
             it: every latency is measured by one generator's own clock.",
            number(bound)
        )
    } else {
        "They read one clock.".to_owned()
    };
    format!(
        "The load was made by {} generators. Counts are sums and percentiles come from added histograms; the verdict \
         of a step is that of its worst generator, or of the whole. {clocks}",
        run.generators.len()
    )
}

fn texts(head: &[&str]) -> Vec<String> {
    head.iter().map(|text| (*text).to_owned()).collect()
}

fn who(run: &Run) -> Numbers {
    let rows = run
        .generators
        .iter()
        .map(|one| {
            let clock = one.clock.unwrap_or_default();
            vec![
                one.name.clone(),
                one.host.clone(),
                one.place.clone(),
                grouped(u64::from(one.cores)),
                grouped(u64::from(one.recipients)),
                number(clock.offset_ms),
                number(clock.error_ms),
                number(clock.trip_ms),
            ]
        })
        .collect();
    let head = texts(&[
        "generator",
        "host",
        "where",
        "cores",
        "recipients",
        "clock offset ms",
        "± ms",
        "round trip ms",
    ]);
    Numbers { head, rows }
}

fn steps(run: &Run) -> Numbers {
    let rows = run
        .steps
        .iter()
        .flat_map(|step| {
            step.generators.iter().map(|one| {
                vec![
                    step.name.clone(),
                    one.name.clone(),
                    grouped(one.classes.sent),
                    grouped(read::received(&one.classes)),
                    grouped(one.classes.lost),
                    grouped(one.classes.shed),
                    number(one.lag.p99_ms),
                    read::percent(one.achieved_ratio),
                    number(one.cpu_percent_of_core),
                    number(one.rss_bytes as f64 / 1_048_576.0),
                    number(one.clock_error_ms),
                    one.verdict.status.text().to_owned(),
                ]
            })
        })
        .collect();
    let head = texts(&[
        "step",
        "generator",
        "sent",
        "received once",
        "lost",
        "shed",
        "lag p99 ms",
        "achieved",
        "CPU % of a core",
        "memory MiB",
        "clock ± ms",
        "verdict",
    ]);
    Numbers { head, rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Classes, ClockOffset, GeneratorPart, Status, Verdict};
    use crate::report::sample;

    #[test]
    fn each_generator_has_its_row_and_one_alone_has_no_section() {
        let mut run = sample::waves();
        assert_eq!(section(&run), "");
        let mut second = run.generators[0].clone();
        second.name = "generator-2 <b>".to_owned();
        second.clock = Some(ClockOffset { offset_ms: 7.5, error_ms: 0.25, trip_ms: 0.5 });
        run.generators.push(second);
        run.steps[0].generators = vec![GeneratorPart {
            name: "generator-2 <b>".to_owned(),
            classes: Classes { sent: 1_234, delivered: 1_230, lost: 4, ..Classes::default() },
            clock_error_ms: 0.375,
            verdict: Verdict { status: Status::Suspect, reasons: Vec::new() },
            ..GeneratorPart::default()
        }];
        let text = section(&run);
        for part in ["1,234", "1,230", "±0.375 ms", "class=\"SUSPECT\"", "&lt;b&gt;", "7.50"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("<b>"), "{text}");
    }
}
