//! What a run says in sentences; the page, the summary for pull requests and the terminal say the
//! same. Pure. No sentence divides a measured figure by a reported one.

use super::read;
use crate::model::{Kind, Run, Status, Step};
use crate::table::{grouped, number};

/// What is said first.
pub struct Headline {
    pub status: Status,
    /// The claim, for example `500 notifications at once`.
    pub subject: String,
    /// What happened to them.
    pub result: String,
    /// What was received, and what that proves.
    pub proof: String,
}

/// The result in one sentence, and its proof in another.
pub fn headline(run: &Run) -> Headline {
    let status = read::status(run);
    let Some(step) = read::spoken_of(run) else {
        let result = "no step was finished".to_owned();
        return Headline {
            status,
            subject: "Nothing measured".to_owned(),
            result,
            proof: String::new(),
        };
    };
    if let Some(found) = run.saturation.as_ref().filter(|found| found.rate_per_s > 0.0) {
        let goal = run.scenario.slo.as_ref().map_or(0.0, |slo| slo.p99_ms);
        return Headline {
            status,
            subject: format!("Up to {} notifications a second", number(found.rate_per_s)),
            result: format!("99 % arrive within {} ms", number(goal)),
            proof: proof(step),
        };
    }
    Headline { status, subject: subject(step), result: result(step), proof: proof(step) }
}

/// How a step was loaded, in words.
pub fn subject(step: &Step) -> String {
    let size = grouped(u64::from(step.load.size));
    let receivers = if step.load.fan_out > 1 {
        format!(" to {} receivers each", grouped(u64::from(step.load.fan_out)))
    } else {
        String::new()
    };
    let load = match step.load.kind {
        Kind::Wave if step.load.size == 1 => "One notification at a time".to_owned(),
        Kind::Wave => format!("{size} notifications at once"),
        Kind::Closed => format!("{size} users, each waiting for its receipt"),
        Kind::Open => format!("{} notifications a second", number(step.load.rate_per_s)),
    };
    load + &receivers
}

fn result(step: &Step) -> String {
    match read::intended(step) {
        Some(latency) => format!(
            "half arrive within {} ms, 99 % within {} ms",
            number(latency.p50_ms),
            number(latency.p99_ms)
        ),
        None => "none arrived".to_owned(),
    }
}

/// What arrived, and which share of failures that cannot exclude.
pub fn proof(step: &Step) -> String {
    let classes = &step.classes;
    let failed = read::failed(classes);
    let counted = format!(
        "{} of {} arrived exactly once",
        grouped(read::received(classes)),
        grouped(classes.sent)
    );
    let bound = read::bound_text(failed, classes.sent);
    if failed == 0 {
        return format!("{counted}; more than {bound} failing is ruled out (95 %).");
    }
    let parts: Vec<String> = [
        (classes.shed, "refused cleanly"),
        (classes.lost, "lost"),
        (classes.duplicate, "doubled"),
        (classes.corrupt, "corrupt"),
        (classes.rejected, "rejected"),
        (classes.unknown, "without an answer"),
        (classes.dead, "dead letters"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, name)| format!("{} {name}", grouped(count)))
    .collect();
    format!("{counted}: {}. At most {bound} fail (95 %).", parts.join(", "))
}

/// Where the latency begins and ends, and what a 202 survives.
pub fn measured(run: &Run) -> String {
    let channel = read::spoken_of(run).and_then(read::latency).map_or("in_app", |(name, _)| name);
    let end = if channel == "in_app" {
        "its WebSocket client has read it".to_owned()
    } else {
        format!("the provider's sink has it ({channel})")
    };
    let cores = run.environment.cores;
    let shared = if run.environment.processes.iter().any(|one| !read::is_generator(run, &one.name))
    {
        format!("Platform and generator share {cores} cores.")
    } else {
        format!("The generator had {cores} cores; the platform ran elsewhere or was not watched.")
    };
    let durability = match run.target.durability.as_str() {
        "power" => "A 202 survives a loss of power.",
        "process" => "A 202 survives a crash, not a loss of power.",
        "none" => "A 202 survives nothing.",
        _ => "What a 202 survives is not known.",
    };
    format!("From the moment a notification should be sent until {end}. {shared} {durability}")
}

/// Everything that a reader must know before a figure: verdicts with their reasons, and what was cut
/// short.
pub fn warnings(run: &Run) -> Vec<(Status, String)> {
    let mut lines: Vec<(Status, String)> = run
        .steps
        .iter()
        .flat_map(|step| {
            let of = |reason: &String| (step.verdict.status, format!("{}: {reason}", step.name));
            step.verdict.reasons.iter().map(of)
        })
        .collect();
    lines.sort_by_key(|(status, _)| std::cmp::Reverse(*status));
    let debug = |profile: &str| profile == "debug";
    let environment = &run.environment;
    if debug(&environment.profile) || environment.campana_profile.as_deref().is_some_and(debug) {
        let text = "A debug build took part: these figures say nothing about speed.".to_owned();
        lines.push((Status::Suspect, text));
    }
    if environment.git_dirty == Some(true) {
        let text = "The source had changes that no commit holds: nobody else can measure the same."
            .to_owned();
        lines.push((Status::Suspect, text));
    }
    if run.interrupted {
        lines.push((Status::Suspect, "Stopped by hand: later steps are missing.".to_owned()));
    }
    if let Some(error) = &run.error {
        lines.push((Status::Invalid, format!("The run broke off: {error}")));
    }
    lines
}

/// What the words of the report mean.
pub const MEANINGS: [(&str, &str); 16] = [
    (
        "wave, closed, open",
        "n notifications released together; n users with one outstanding each; arrivals at a rate, whatever the platform does. Results of different kinds never share an axis.",
    ),
    (
        "intended, actual",
        "Latency counts from the moment at which the schedule wanted to send; what the generator itself was late is part of it. The actual send is shown beside it.",
    ),
    (
        "received once",
        "answered 202 and received exactly once, whole, by the right receiver, in time (delivered) or after the deadline (late)",
    ),
    ("lost", "answered 202 and not received when the drain ended"),
    ("doubled", "answered 202 and received more than once"),
    ("corrupt", "received with other content than was sent"),
    ("shed", "answered 503 or 429: refused cleanly, under load"),
    ("rejected", "answered with another error"),
    ("unknown", "not answered, so nobody can say whether it was accepted"),
    ("dead letter", "given up by the platform and kept for a person to look at"),
    ("phantom", "received although nobody sent it, or by somebody else than it was sent to"),
    ("reordered", "received after a later one of the same channel"),
    (
        "bound",
        "the highest share of failures that so many trials cannot exclude, with 95 % confidence: about 3/n if none failed",
    ),
    ("makespan", "from the release of a wave to its last receipt"),
    ("goodput", "received within the deadline, per second"),
    (
        "OK, SUSPECT, INVALID",
        "whether the harness trusts its own figure: a SUSPECT one needs its reasons read, an INVALID one must not be used",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_sentence_is_plain_and_without_a_ratio() {
        let run = sample::waves();
        let said = headline(&run);
        assert_eq!(said.subject, "500 notifications at once");
        assert!(said.result.starts_with("half arrive within "), "{}", said.result);
        assert!(
            said.proof.contains(" of 25,000 arrived exactly once; more than 0.012"),
            "{}",
            said.proof
        );
        assert!(!said.result.contains("times") && !said.proof.contains("faster"));
    }

    #[test]
    fn failures_are_named_one_by_one() {
        let mut run = sample::waves();
        let step = run.steps.iter_mut().find(|step| step.load.size == 500).unwrap();
        step.classes.delivered -= 3;
        step.classes.lost = 2;
        step.classes.shed = 1;
        let said = headline(&run).proof;
        assert!(said.contains("1 refused cleanly, 2 lost") && said.contains("At most"), "{said}");
    }

    #[test]
    fn a_run_without_steps_says_so() {
        let mut run = sample::waves();
        run.steps.clear();
        let said = headline(&run);
        assert_eq!((said.status, said.result.as_str()), (Status::Invalid, "no step was finished"));
    }
}
