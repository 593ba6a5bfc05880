//! The files behind released schemas.
//! Reads: `SERVICE/NAME.vN.json`, samples `NAME.vN.json` and `NAME.vN.CASE.json`. Writes: schemas.
//! Never: skips a file that it cannot read: a schema that is not compared protects nobody.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Released, Report};
use crate::contract::ContractEntry;

/// Why the folder of released schemas is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is no JSON.
    #[error("{path} is no JSON: {error}")]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// A file that is called like no schema.
    #[error("{0} is not called NAME.vN.json (samples belong into a folder of their own)")]
    Name(PathBuf),
    /// Something would break readers.
    #[error("nothing was recorded:\n{0}")]
    Refused(Box<Report>),
}

/// The files of a folder in order; none if there is no folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, ReleaseError> {
    let failed = |error| ReleaseError::File { path: folder.to_owned(), error };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Value, ReleaseError> {
    let text = fs::read(path).map_err(|error| ReleaseError::File { path: path.into(), error })?;
    serde_json::from_slice(&text).map_err(|error| ReleaseError::Json { path: path.into(), error })
}

/// Every released schema below the folder; none if there is no folder yet.
///
/// # Errors
/// If a file cannot be read, is no JSON or has a wrong name.
pub fn load(folder: &Path) -> Result<Vec<Released>, ReleaseError> {
    let mut released = Vec::new();
    for service in list(folder)?.into_iter().filter(|path| path.is_dir()) {
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        for path in list(&service)?.into_iter().filter(|path| path.is_file()) {
            let parsed = name(&path).as_deref().and_then(parse);
            let (Some((message, version)), Some(service)) = (parsed, name(&service)) else {
                return Err(ReleaseError::Name(path));
            };
            released.push(Released { service, name: message, version, schema: read(&path)? });
        }
    }
    Ok(released)
}

/// Message and version of `NAME.vN.json`.
fn parse(file: &str) -> Option<(String, u32)> {
    let (name, version) = file.strip_suffix(".json")?.rsplit_once(".v")?;
    Some((name.to_owned(), version.parse().ok().filter(|version| *version >= 1)?))
}

/// The sample messages of one version, each with its file.
pub fn samples(
    folder: &Path,
    name: &str,
    version: u32,
) -> Result<Vec<(PathBuf, Value)>, ReleaseError> {
    let start = format!("{name}.v{version}.");
    let mut found = Vec::new();
    for path in list(folder)? {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !file.starts_with(&start) || !file.ends_with(".json") {
            continue;
        }
        match read(&path)? {
            Value::Array(many) => found.extend(many.into_iter().map(|one| (path.clone(), one))),
            one => found.push((path, one)),
        }
    }
    Ok(found)
}

/// Writes the schema of an entry's current version.
pub fn write(folder: &Path, entry: &ContractEntry) -> Result<PathBuf, ReleaseError> {
    let folder = folder.join(&entry.service);
    let path = folder.join(format!("{}.v{}.json", entry.name, entry.version));
    let failed = |error| ReleaseError::File { path: path.clone(), error };
    fs::create_dir_all(&folder).map_err(failed)?;
    fs::write(&path, format!("{:#}\n", entry.schema())).map_err(failed)?;
    Ok(path)
}
