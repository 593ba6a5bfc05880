//! report.html: one file that needs nothing else, neither a script nor the network, and reads
//! the same in ten years. Pure but for writing that file; drawn from a [`Run`] and nothing else,
//! so that an old run.json can be drawn again.

mod curve;
mod figure;
mod html;
mod reference;
mod svg;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::run::{Run, SCHEMA_VERSION};

/// The report's name beside run.json.
pub const FILE: &str = "report.html";

/// Draws the report into a folder.
pub fn write(run: &Run, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(FILE);
    fs::write(&path, html::render(run)).map_err(|error| Failure::failed(path.display(), error))
}

/// Draws the report of an earlier run again.
pub fn render_again(dir: &Path) -> Result<PathBuf, Failure> {
    let path = dir.join("run.json");
    let usage =
        |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(&path).map_err(|error| usage(&error))?;
    let run: Run = serde_json::from_str(&text).map_err(|error| usage(&error))?;
    if run.schema_version != SCHEMA_VERSION {
        return Err(usage(&format!("schema_version {} is not known", run.schema_version)));
    }
    write(&run, dir)?;
    Ok(dir.join(FILE))
}

/// Every process that was watched: the platform first, the generator last.
fn process_names(run: &Run) -> Vec<String> {
    let names: BTreeSet<&String> =
        run.steps.iter().flat_map(|step| step.cpu_s_per_1000.keys()).collect();
    let mut ordered: Vec<String> = names.into_iter().cloned().collect();
    ordered.sort_by_key(|name| (name == "generator", name.clone()));
    ordered
}

/// The colour of a process.
fn process_class(name: &str) -> &'static str {
    match name {
        "campana" => "s-campana",
        "nats-server" => "s-nats",
        "generator" => "s-generator",
        _ => "s-other",
    }
}
