//! Reads a run.json: says what is wrong with it, and never trusts it further than its shape.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::Failure;
use crate::model::{Run, SCHEMA_VERSION};

/// The file's name in a folder of results.
const FILE: &str = "run.json";
/// A soak of a day stays far below; more is no run.json.
const BYTES_MAX: u64 = 512 << 20;

/// The part that is read first.
#[derive(Deserialize)]
struct Version {
    schema_version: Option<u32>,
}

/// Reads a run from its file or its folder.
pub fn load(source: &Path) -> Result<Run, Failure> {
    let path = if source.is_dir() { source.join(FILE) } else { PathBuf::from(source) };
    let usage =
        |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let size = fs::metadata(&path).map_err(|error| usage(&error))?.len();
    if size > BYTES_MAX {
        return Err(usage(&format!("{size} bytes are more than any run.json has")));
    }
    let text = fs::read_to_string(&path).map_err(|error| usage(&error))?;
    parse(&text).map_err(|error| usage(&error))
}

/// Reads a run from its text.
pub fn parse(text: &str) -> Result<Run, String> {
    let version: Version = serde_json::from_str(text)
        .map_err(|error| format!("this is not a whole run.json: {error}"))?;
    match version.schema_version {
        Some(SCHEMA_VERSION) => {}
        Some(other) => {
            return Err(format!(
                "schema_version is {other}, this harness reads {SCHEMA_VERSION}: draw it with the harness \
                 that wrote it, or measure again"
            ));
        }
        None => return Err("schema_version is missing: this is not a run.json".to_owned()),
    }
    serde_json::from_str(text).map_err(|error| format!("this is not a whole run.json: {error}"))
}
