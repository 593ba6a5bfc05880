//! report.md: a summary for a pull request. Pure. Text from the run is escaped: a name may not become
//! a link, a picture or HTML where the summary is read.

use super::read;
use super::words;
use crate::model::{Run, Step};
use crate::table::{grouped, number};

/// A comment with more reasons is not read.
const REASONS_MAX: usize = 20;

/// The whole summary.
pub(super) fn render(run: &Run) -> String {
    let said = words::headline(run);
    let mut text = format!(
        "## Load test {}: {}\n\n**{}: {}.** {}\n\n{}\n\n",
        plain(&run.scenario.name),
        said.status.text(),
        plain(&said.subject),
        plain(&said.result),
        plain(&said.proof),
        plain(&words::measured(run))
    );
    let reasons = words::warnings(run);
    for (status, reason) in reasons.iter().take(REASONS_MAX) {
        text += &format!("- {} {}\n", status.text(), plain(reason));
    }
    if reasons.len() > REASONS_MAX {
        text += &format!("- and {} more, in report.html\n", reasons.len() - REASONS_MAX);
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
    text += "| step | p50 ms | p99 ms | received once | lost | shed | CPU s per 1,000 | verdict |\n\
             |---|---:|---:|---:|---:|---:|---:|---|\n";
    for step in &run.steps {
        text += &row(run, step);
    }
    if !run.thresholds.is_empty() {
        text += "\n| threshold | worst | |\n|---|---:|---|\n";
        for judgement in &run.thresholds {
            let actual = judgement.actual.map_or_else(|| "no figure".to_owned(), number);
            let word = if judgement.pass { "held" } else { "**MISSED**" };
            text += &format!("| {} | {actual} | {word} |\n", plain(&judgement.expr));
        }
    }
    let machine = &run.environment;
    text += &format!(
        "\n{} cores of {}, kernel {}; {} {}; `{}`\n",
        machine.cores,
        plain(&machine.cpu_model),
        plain(&machine.kernel),
        plain(&run.target.name),
        plain(run.target.version.as_deref().unwrap_or("of unknown version")),
        run.command.replace('`', "'").replace(|letter: char| letter.is_control(), " ")
    );
    text
}

fn row(run: &Run, step: &Step) -> String {
    let latency = read::intended(step);
    let of = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), number);
    format!(
        "| {} | {} | {} | {} of {} | {} | {} | {} | {} |\n",
        plain(&step.name),
        of(latency.map(|latency| latency.p50_ms)),
        of(latency.map(|latency| latency.p99_ms)),
        grouped(read::received(&step.classes)),
        grouped(step.classes.sent),
        grouped(step.classes.lost),
        grouped(step.classes.shed),
        of(read::platform_cpu(run, step)),
        step.verdict.status.text()
    )
}

/// Text without meaning to Markdown or HTML.
pub(super) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '[' | ']' | '*' | '_' | '`' | '\\' | '!' | '#' | '@' => {
                safe.push('\\');
                safe.push(letter);
            }
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_summary_has_the_sentence_and_a_row_for_each_step() {
        let run = sample::waves();
        let text = render(&run);
        assert!(
            text.starts_with("## Load test paper-figure: OK\n\n**500 notifications at once: half"),
            "{text}"
        );
        assert_eq!(text.matches("\n| wave ").count(), run.steps.len());
    }

    #[test]
    fn a_name_cannot_become_markup() {
        let mut run = sample::waves();
        run.steps[0].name = "a|b\n# c <img src=x> [d](e) @all".to_owned();
        let text = render(&run);
        assert!(
            !text.contains("<img") && !text.contains("\n# c") && !text.contains(" [d]"),
            "{text}"
        );
        assert!(text.contains("a\\|b \\# c"));
    }
}
