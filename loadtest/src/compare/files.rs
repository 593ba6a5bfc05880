//! The command: reads the runs of both sides, writes comparison.json and compare.html, gives the text
//! for stdout. Never runs anything itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::CompareArgs;
use super::{Comparison, decide, html, text};
use crate::failure::Failure;
use crate::model::Run;
use crate::report;

/// A side with more runs would take minutes to read and show nothing new.
const RUNS_MAX: usize = 200;
/// The page's name.
pub(super) const PAGE: &str = "compare.html";

/// Compares as the arguments say; the comparison, and what to print.
pub fn compare(arguments: &CompareArgs) -> Result<(Comparison, String), Failure> {
    let side = |one: &Option<PathBuf>, many: &[PathBuf]| -> Result<Vec<Run>, Failure> {
        let paths: Vec<&PathBuf> = one.iter().chain(many).collect();
        if paths.len() > RUNS_MAX {
            return Err(Failure::Usage(format!(
                "{} runs on one side; at most {RUNS_MAX}",
                paths.len()
            )));
        }
        paths.into_iter().map(|path| report::load(path)).collect()
    };
    let a = side(&arguments.first, &arguments.a)?;
    let b = side(&arguments.second, &arguments.b)?;
    let found = decide(&a, &b, &arguments.options())?;
    if let Some(dir) = &arguments.out {
        write(&found, dir)?;
    }
    let printed = print(&found, arguments.json)?;
    Ok((found, printed))
}

/// What goes to stdout.
pub(super) fn print(found: &Comparison, as_json: bool) -> Result<String, Failure> {
    if as_json { Ok(json(found)? + "\n") } else { Ok(text::render(found)) }
}

fn json(found: &Comparison) -> Result<String, Failure> {
    serde_json::to_string_pretty(found).map_err(|error| Failure::failed("cannot write JSON", error))
}

/// Writes comparison.json and compare.html.
pub(super) fn write(found: &Comparison, dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::failed(dir.display(), error))?;
    report::put(&dir.join("comparison.json"), &json(found)?)?;
    report::put(&dir.join(PAGE), &html::render(found))
}
