//! report.html and report.md: drawn from run.json and nothing else, so that an old run can be drawn
//! again. The page is one file that needs neither a script nor the network and reads the same in ten
//! years. Reads run.json, writes the two files beside it. Never: measures or decides anything.
//! Why no script: what a chart library adds is zooming; every mark has its value on pointing at it,
//! the numbers stand under every picture, and paper, mail and a strict browser show the same page.

mod figures;
mod html;
mod load;
mod markdown;
mod plot;
pub mod read;
mod reference;
#[cfg(test)]
pub mod sample;
mod several;
mod svg;
#[cfg(test)]
mod tests;
pub mod words;

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::model::Run;

pub use figures::{Numbers, Shown};
pub use html::{page, picture, table as table_of};
pub use load::load;
pub use plot::{Axis, Figure, Kind, Mark, Panel, key, nines};
pub use svg::escape;

/// The page's name beside run.json.
pub const FILE: &str = "report.html";
/// The summary's name.
pub const SUMMARY_FILE: &str = "report.md";

/// Draws both files into a folder.
pub fn write(run: &Run, dir: &Path) -> Result<(), Failure> {
    put(&dir.join(FILE), &html::render(run))?;
    put(&dir.join(SUMMARY_FILE), &markdown::render(run))
}

/// Draws the report of an earlier run again, beside its run.json or into another folder.
fn render_again(source: &Path, out: Option<&Path>) -> Result<PathBuf, Failure> {
    let run = load(source)?;
    let beside = if source.is_dir() { Some(source) } else { source.parent() };
    let dir = out.or(beside).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(dir).map_err(|error| Failure::failed(dir.display(), error))?;
    write(&run, dir)?;
    Ok(dir.join(FILE))
}

/// Draws earlier runs: each beside its run.json, or several into one page if there is a folder for it.
pub fn render_all(sources: &[PathBuf], out: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    match out {
        Some(out) if sources.len() > 1 => several::draw(sources, out).map(|path| vec![path]),
        _ => sources.iter().map(|source| render_again(source, out)).collect(),
    }
}

/// Writes a text, or says where it could not.
pub fn put(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::failed(path.display(), error))
}
