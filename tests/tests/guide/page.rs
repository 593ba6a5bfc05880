//! The guide as data: its steps, the files that it shows and what its reader types.
//! Reads: the text of the page. Writes: nothing. Never: leaves a code block out: one that is neither a file, a change
//! of one nor a console is an error.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

/// Where a block stands, for whoever has to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the heading.
    pub step: usize,
    /// The number of the block within the step, from 1.
    pub block: usize,
    /// The line of its fence, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docs/guide-clinic.md:{} (step {}, block {})", self.line, self.step, self.block)
    }
}

/// A code block.
#[derive(Debug)]
pub struct Block {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: Kind,
}

/// What a block is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole of a file.
    File { path: String, text: String },
    /// Lines of a file that change.
    Change { path: String, text: String },
    /// What the reader types, and sees.
    Console(Vec<Entry>),
}

/// One thing that the reader does at a prompt.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Behind the `$`; or a whole note, with its `#`.
    pub command: String,
    /// What is printed then; `…` stands for anything.
    pub output: Vec<String>,
    /// Whether it may take a while until that is printed, so that the reader looks again.
    pub patient: bool,
}

/// Every block of the page, in order.
///
/// # Errors
/// If a block says neither what file it is nor what to type.
pub fn read(text: &str) -> Result<Vec<Block>> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut blocks, mut step, mut block) = (Vec::new(), 0, 0);
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if let Some(heading) = line.strip_prefix("## ") {
            let number = heading.split_once('.').and_then(|(number, _)| number.parse().ok());
            (step, block) = (number.unwrap_or(step + 1), 0);
        }
        let Some(info) = line.strip_prefix("```") else {
            at += 1;
            continue;
        };
        block += 1;
        let place = Place { step, block, line: at + 1 };
        let length = lines[at + 1..].iter().position(|line| *line == "```");
        let length = length.with_context(|| format!("{place}: the block does not end"))?;
        let body = &lines[at + 1..at + 1 + length];
        let label = lines[..at].iter().rev().find(|line| !line.is_empty()).copied();
        let kind = kind(info, label.unwrap_or_default(), body)
            .with_context(|| format!("{place}: ```{info}"))?;
        blocks.push(Block { place, kind });
        at += length + 2;
    }
    Ok(blocks)
}

fn kind(info: &str, label: &str, body: &[&str]) -> Result<Kind> {
    let mut words = info.split_whitespace();
    let language = words.next().unwrap_or_default();
    if language == "console" {
        let patient = words.next() == Some("eventually");
        return Ok(Kind::Console(entries(body, patient)?));
    }
    let path = label.strip_prefix("**`").and_then(|rest| rest.split_once("`**"));
    let Some((path, _)) = path else {
        bail!("the line above it does not name a file, as **`src/main.rs`** does");
    };
    let (path, text) = (path.to_owned(), format!("{}\n", body.join("\n")));
    if language == "diff" {
        return Ok(Kind::Change { path, text });
    }
    let ending = path.rsplit('.').next().unwrap_or_default();
    let same = ending == language || (language == "rust" && ending == "rs");
    ensure!(same, "`{path}` is not a file of {language}");
    Ok(Kind::File { path, text })
}

fn entries(body: &[&str], patient: bool) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in body {
        let typed = line.strip_prefix("$ ").or_else(|| line.starts_with("# ").then_some(*line));
        match (typed, entries.last_mut()) {
            (Some(command), _) => {
                // What stands behind two spaces and a # is a note for people.
                let command = command.split_once("  # ").map_or(command, |(command, _)| command);
                let command = command.trim_end().to_owned();
                entries.push(Entry { command, output: Vec::new(), patient });
            }
            (None, Some(entry)) => entry.output.push((*line).to_owned()),
            (None, None) => bail!("it begins with something else than `$ `"),
        }
    }
    Ok(entries)
}

/// Whether these lines are what was expected: `…` within a line stands for any text, a line of its own for any lines.
pub fn fits(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=found.len()).any(|skipped| fits(rest, &found[skipped..]))
        }
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, others)| line_fits(first, line) && fits(rest, others)),
    }
}

fn line_fits(expected: &str, found: &str) -> bool {
    let Some((before, after)) = expected.split_once('…') else { return expected == found };
    let Some(rest) = found.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|at| rest.is_char_boundary(at) && line_fits(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn blocks_know_their_place() {
        let text = "# A\n\n## 1. One\n\n**`src/main.rs`**, new\n\n```rust\nfn main() {}\n```\n\n\
                    ## 2. Two\n\n```console eventually\n$ ls  # look\na\nb\n```\n";
        let blocks = read(text).unwrap();
        let file = Kind::File { path: "src/main.rs".to_owned(), text: "fn main() {}\n".to_owned() };
        assert_eq!((&blocks[0].kind, blocks[0].place.line), (&file, 7));
        let entry = Entry { command: "ls".to_owned(), output: lines("a\nb"), patient: true };
        assert_eq!(blocks[1].kind, Kind::Console(vec![entry]));
        assert_eq!(blocks[1].place, Place { step: 2, block: 1, line: 13 });
    }

    #[test]
    fn a_block_that_is_nothing_is_an_error() {
        for text in ["```rust\nfn a() {}\n```\n", "```console\nls\n```\n", "```sh\n", "```\n```\n"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        let error = read("## 3. C\n\n**`a.rs`**\n\n```sql\nx\n```\n").unwrap_err();
        assert!(format!("{error:#}").contains("step 3, block 1"), "{error:#}");
    }

    #[test]
    fn dots_stand_for_anything() {
        assert!(fits(&lines("a … c\n…\nz"), &lines("a b c\nx\ny\nz")));
        assert!(fits(&lines("…"), &[]));
        assert!(!fits(&lines("a … c"), &lines("a b d")));
        assert!(!fits(&lines("a"), &lines("a\nb")));
    }
}
