//! What a trial did, and what to do about one that failed, in words. Pure.

use super::report::{Injected, Outcome};
use super::trial::Trial;
use crate::model::Step;
use crate::table::number;

/// What was injected, with the layer's own numbers.
pub fn injected(trial: Trial, it: &Injected) -> String {
    let of = |count: u64| format!("{count} of {} publications", it.publications);
    let ms = |time: Option<f64>| time.map_or_else(|| "no".to_owned(), |ms| format!("{ms:.1}"));
    match trial {
        Trial::Control => {
            format!("nothing; {} requests and {} publications passed", it.requests, it.publications)
        }
        Trial::Stop => format!("the target stood still for {} ms", ms(it.stop_ms)),
        Trial::SenderWaits => format!(
            "the target stood still for {} ms, and the generator sent nothing for {} ms",
            ms(it.stop_ms),
            ms(it.stall_ms)
        ),
        Trial::Loss => format!("{} were dropped", of(it.dropped)),
        Trial::Duplicate => format!("{} were written twice", of(it.doubled)),
        Trial::Corrupt => format!("{} had a letter changed or were cut short", of(it.corrupted)),
        Trial::Reorder => format!("{} were written after their successor", of(it.swapped)),
        Trial::Phantom => {
            format!(
                "{} were added to {} publications, sent by nobody",
                it.invented, it.publications
            )
        }
        Trial::Delay => format!(
            "each publication was kept for {:.1} ms at the median, {:.1} at most",
            it.held_p50_ms, it.held_max_ms
        ),
        Trial::Stall => format!("the generator sent nothing for {} ms", ms(it.stall_ms)),
        Trial::Books => format!(
            "{} wrong entries: a request and an answer a second time; then a delivery taken out of its class",
            it.planted
        ),
    }
}

/// What to do; nothing if all is well.
pub fn advice(trial: Trial, outcome: Outcome, control: &Step) -> Option<String> {
    let restless = || {
        let latency = control.latency.get("in_app").cloned().unwrap_or_default().intended;
        format!(
            "in the control the slowest took {} ms and the generator was up to {} ms late",
            number(latency.max_ms),
            number(control.generator.lag.max_ms)
        )
    };
    match (outcome, trial) {
        (Outcome::Ok, _) => None,
        (Outcome::Unclear, _) => Some(format!(
            "this machine is too busy to tell ({}): stop what else runs and repeat with --only {}",
            restless(),
            argument(trial)
        )),
        (Outcome::Failed, Trial::Control) => Some(
            "without any fault something was wrong already: the target loses or repeats, or cannot take \
             400 a second. Repeat without --data-dir and --target, against the echo in this process; if \
             that is clean, it is the target's doing"
                .to_owned(),
        ),
        (Outcome::Failed, Trial::Stop | Trial::SenderWaits | Trial::Delay | Trial::Stall) => {
            Some(format!(
                "repeat with --only {} when nothing else runs ({}); if it stays, do not trust latencies \
                 measured here, and report it with the output of --json",
                argument(trial),
                restless()
            ))
        }
        (Outcome::Failed, _) => Some(format!(
            "the harness miscounts: do not use its figures, and report it with the output of \
             `selftest --only {} --json`",
            argument(trial)
        )),
    }
}

/// As `--only` takes it.
fn argument(trial: Trial) -> String {
    trial.name().replace(' ', "_")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_trial_has_words_and_only_takes_its_name() {
        for trial in Trial::ALL {
            assert!(!injected(trial, &Injected::default()).is_empty());
            assert_eq!(Trial::from_str(&argument(trial), false), Ok(trial));
            assert!(advice(trial, Outcome::Ok, &Step::default()).is_none());
            for outcome in [Outcome::Unclear, Outcome::Failed] {
                let text = advice(trial, outcome, &Step::default()).unwrap();
                assert!(text.contains("epeat") || text.contains("report"), "{text}");
            }
        }
    }
}
