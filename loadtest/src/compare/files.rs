//! The command: reads the runs of both sides, writes comparison.json and compare.html, gives the text
//! for stdout. Never runs anything itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::args::CompareArgs;
use super::{Comparison, Options, decide, html, text};
use crate::failure::Failure;
use crate::model::Run;
use crate::report;

/// A side with more runs would take minutes to read and show nothing new.
const RUNS_MAX: usize = 200;

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
    let options = Options {
        margin: arguments.margin / 100.0,
        primary: arguments.primary.clone(),
        steps: arguments.step.clone(),
        force: arguments.force,
        gate: arguments.fail_if,
    };
    let found = decide(&a, &b, &options)?;
    let json = serde_json::to_string_pretty(&found)
        .map_err(|error| Failure::failed("cannot write JSON", error))?;
    if let Some(dir) = &arguments.out {
        write(&found, &json, dir)?;
    }
    let printed = if arguments.json { json + "\n" } else { text::render(&found) };
    Ok((found, printed))
}

fn write(found: &Comparison, json: &str, dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::failed(dir.display(), error))?;
    report::put(&dir.join("comparison.json"), json)?;
    report::put(&dir.join("compare.html"), &html::render(found))
}
