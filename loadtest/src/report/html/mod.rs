//! The page: what it says first, its pictures, and the order of everything below. Pure.

mod facts;
mod generators;
mod tables;

use super::figures::{self, Numbers, Shown};
use super::plot::Key;
use super::svg::escape;
use super::words;
use crate::model::{Run, Status};

const STYLE: &str = include_str!("../style.css");
/// Even a browser that would follow an address may not.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole report of a run.
pub(super) fn render(run: &Run) -> String {
    let pictures: String = figures::all(run).iter().map(picture).collect();
    let sections = [
        headline(run),
        warnings(run),
        pictures,
        tables::ledger(run),
        tables::channels(run),
        tables::latency(run),
        tables::reconciliation(run),
        tables::health(run),
        generators::section(run),
        tables::thresholds(run),
        tables::probes(run),
        facts::environment(run),
        facts::repeat(run),
        meanings(),
    ];
    page(&format!("{}, {}", run.scenario.name, run.started_at), &sections.join("\n"))
}

/// A document around a body; `title` is escaped here, the body is not.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <title>Campana load test: {title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
        title = escape(title)
    )
}

fn headline(run: &Run) -> String {
    let said = words::headline(run);
    format!(
        "<h1>Campana load test <small>{name}</small></h1>\n{badge}\n\
         <p class=\"headline\">{subject}: <span>{result}</span></p>\n\
         <p class=\"proof\">{proof}</p>\n<p class=\"soft\">{measured}</p>\n{tiles}",
        name = escape(&run.scenario.name),
        badge = badge(said.status),
        subject = escape(&said.subject),
        result = unbroken(&said.result),
        proof = unbroken(&said.proof),
        measured = escape(&words::measured(run)),
        tiles = tables::tiles(run)
    )
}

/// Escaped, and a number and its unit stay on one line.
fn unbroken(text: &str) -> String {
    escape(text).replace(" ms", "\u{a0}ms").replace(" %", "\u{a0}%")
}

fn badge(status: Status) -> String {
    let words = match status {
        Status::Ok => "the harness trusts these figures",
        Status::Suspect => "read the reasons below before you use these figures",
        Status::Invalid => "these figures must not be used",
    };
    format!("<p class=\"badge {0}\"><b>{0}</b> {words}</p>", status.text())
}

fn warnings(run: &Run) -> String {
    let items: String = words::warnings(run)
        .iter()
        .map(|(status, text)| {
            format!("<li><b class=\"{0}\">{0}</b> {1}</li>", status.text(), unbroken(text))
        })
        .collect();
    if items.is_empty() { items } else { format!("<ul class=\"warnings\">{items}</ul>") }
}

/// A picture with its legend, its meaning and its numbers.
pub fn picture(shown: &Shown) -> String {
    format!(
        "<section>\n<h2>{heading}</h2>\n<figure class=\"card\">\n{legend}\n{drawing}\n\
         <figcaption>{caption}</figcaption>\n{numbers}\n</figure>\n</section>\n",
        heading = escape(&shown.heading),
        legend = legend(&shown.figure.keys),
        drawing = shown.figure.draw(),
        caption = escape(&shown.caption),
        numbers = details(&shown.heading, &shown.numbers)
    )
}

fn legend(keys: &[Key]) -> String {
    let items: String = keys
        .iter()
        .map(|key| format!("<li class=\"{}\"><i></i>{}</li>", key.class, escape(&key.name)))
        .collect();
    format!("<ul class=\"legend\">{items}</ul>")
}

fn details(heading: &str, numbers: &Numbers) -> String {
    if numbers.rows.is_empty() {
        return String::new();
    }
    let label = format!("Numbers of: {heading}");
    format!("<details><summary>The numbers</summary>{}</details>", table(&label, numbers))
}

/// A table from plain texts, in a box that a keyboard can scroll.
pub fn table(label: &str, numbers: &Numbers) -> String {
    let head: String = numbers
        .head
        .iter()
        .map(|text| match text.is_empty() {
            // A header without words would be read out as one.
            true => "<td></td>".to_owned(),
            false => format!("<th scope=\"col\">{}</th>", escape(text)),
        })
        .collect();
    let rows: String = numbers
        .rows
        .iter()
        .map(|row| {
            let cells: String =
                row.iter().enumerate().map(|(place, text)| cell(place, text)).collect();
            format!("<tr>{cells}</tr>")
        })
        .collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\"><table><thead><tr>{head}</tr></thead>\
         <tbody>{rows}</tbody></table></div>",
        escape(label)
    )
}

/// The first names its row; verdicts have their colour, zeros are quiet.
fn cell(place: usize, text: &str) -> String {
    let safe = escape(text);
    match text {
        _ if place == 0 => format!("<th scope=\"row\">{safe}</th>"),
        "OK" | "SUSPECT" | "INVALID" | "MISSED" | "held" | "differs" => {
            format!("<td class=\"{safe}\">{safe}</td>")
        }
        "0" | "–" => format!("<td class=\"zero\">{safe}</td>"),
        _ => format!("<td>{safe}</td>"),
    }
}

fn meanings() -> String {
    let items: String = words::MEANINGS
        .iter()
        .map(|(word, meaning)| format!("<dt>{word}</dt><dd>{meaning}</dd>"))
        .collect();
    format!("<h2>What the words mean</h2>\n<dl class=\"facts\">{items}</dl>")
}
