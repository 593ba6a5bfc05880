//! Released schemas: the folder that remembers what was shipped, and the comparison with what is in the code.
//! Reads: `SERVICE/NAME.vN.json` and samples. Writes: the same files, only in [`record`].
//! Never: overwrites a released schema with one that would break a reader.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::compat::{Change, Impact, compare};
use super::entry::ContractEntry;

pub use files::{ReleaseError, load};

/// A schema as it was released.
#[derive(Clone, Debug, PartialEq)]
pub struct Released {
    /// The service.
    pub service: String,
    /// The message.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The JSON Schema of its body.
    pub schema: Value,
}

/// What is not as it should be with one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `SERVICE.NAME.vN`.
    pub contract: String,
    /// What.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// Readers of the released schema would misread messages, or new readers old ones.
    Breaking(Vec<Change>),
    /// The schema grew; the folder does not know yet.
    Grown(Vec<Change>),
    /// This version was never released.
    Unreleased,
    /// The code has a lower version than the folder.
    Backwards(u32),
    /// Versions were left out; the highest released one is given.
    Skipped(u32),
    /// Released, but no longer in the catalogue.
    Vanished,
    /// Two entries of the catalogue say that they are this one.
    Doubled,
    /// No sample of this version in this folder.
    NoSample(PathBuf),
    /// This sample cannot be decoded any more.
    Unreadable {
        /// Which file.
        sample: PathBuf,
        /// What the decoder said.
        error: String,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, changes: &[Change]| {
            changes.iter().try_for_each(|change| write!(f, "\n    {change}"))
        };
        write!(f, "{}: ", self.contract)?;
        match &self.problem {
            Problem::Breaking(changes) => {
                f.write_str("breaks readers:")?;
                list(f, changes)?;
                f.write_str("\n  undo it, or raise the version and bring old messages up in `upcast`")
            }
            Problem::Grown(changes) => {
                f.write_str("grew, which breaks nobody:")?;
                list(f, changes)?;
                f.write_str("\n  record it, so that the new parts are protected too")
            }
            Problem::Unreleased => f.write_str("is not released yet\n  record it"),
            Problem::Backwards(released) => write!(
                f,
                "version {released} is released already\n  versions only rise: messages of {released} are in streams"
            ),
            Problem::Skipped(released) => {
                write!(f, "the last released version is {released}\n  versions rise by one")
            }
            Problem::Vanished => f.write_str(
                "is released, but not in the catalogue\n  put it back; once no stream and no reader has it, delete \
                 its files",
            ),
            Problem::Doubled => f.write_str("is in the catalogue twice\n  give one of them another name"),
            Problem::NoSample(folder) => write!(
                f,
                "has no sample in {}\n  keep one message of every version there, for ever",
                folder.display()
            ),
            Problem::Unreadable { sample, error } => write!(
                f,
                "{} cannot be decoded: {error}\n  messages like it are in streams: read them still, or upcast them",
                sample.display()
            ),
        }
    }
}

/// Everything that was found; clean if nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// In the order of names.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// Whether [`record`] may write: nothing is wrong that a released schema would have to forget.
    #[must_use]
    pub fn is_recordable(&self) -> bool {
        let harmless = |finding: &Finding| {
            matches!(
                finding.problem,
                Problem::Unreleased | Problem::Grown(_) | Problem::NoSample(_)
            )
        };
        self.findings.iter().all(harmless)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(f, "{line}{finding}")?;
        }
        Ok(())
    }
}

/// Compares a catalogue with released schemas.
#[must_use]
pub fn judge(released: &[Released], entries: &[ContractEntry]) -> Report {
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    for entry in entries {
        let contract = key(entry);
        if !known.insert((&entry.service, &entry.name, entry.version)) {
            findings.push(Finding { contract, problem: Problem::Doubled });
            continue;
        }
        let problem = judge_one(released, entry);
        findings.extend(problem.map(|problem| Finding { contract, problem }));
    }
    let mut newest = BTreeMap::new();
    for one in released {
        let version = newest.entry((&one.service, &one.name)).or_insert(one.version);
        *version = one.version.max(*version);
    }
    for ((service, name), version) in newest {
        if !known.iter().any(|entry| (entry.0, entry.1) == (service, name)) {
            let contract = format!("{service}.{name}.v{version}");
            findings.push(Finding { contract, problem: Problem::Vanished });
        }
    }
    findings.sort_by(|a, b| a.contract.cmp(&b.contract));
    Report { findings }
}

fn judge_one(released: &[Released], entry: &ContractEntry) -> Option<Problem> {
    let own = released.iter().filter(|one| one.service == entry.service && one.name == entry.name);
    let last = own.clone().map(|one| one.version).max();
    if let Some(same) = own.clone().find(|one| one.version == entry.version) {
        let changes = compare(&same.schema, entry.schema());
        let (breaking, additive): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.impact == Impact::Breaking);
        if !breaking.is_empty() {
            return Some(Problem::Breaking(breaking));
        }
        return (!additive.is_empty()).then_some(Problem::Grown(additive));
    }
    match last {
        Some(last) if entry.version < last => Some(Problem::Backwards(last)),
        Some(last) if entry.version > last + 1 => Some(Problem::Skipped(last)),
        _ => Some(Problem::Unreleased),
    }
}

fn key(entry: &ContractEntry) -> String {
    format!("{}.{}.v{}", entry.service, entry.name, entry.version)
}

/// Compares a catalogue with the folder, and decodes every sample of every released version.
///
/// # Errors
/// If the folder cannot be read.
pub fn check(folder: &Path, entries: &[ContractEntry]) -> Result<Report, ReleaseError> {
    let released = load(folder)?;
    let mut report = judge(&released, entries);
    for entry in entries {
        let mut versions: BTreeSet<u32> = released
            .iter()
            .filter(|one| one.service == entry.service && one.name == entry.name)
            .map(|one| one.version)
            .collect();
        versions.insert(entry.version);
        for version in versions {
            samples(folder, entry, version, &mut report.findings)?;
        }
    }
    report.findings.sort_by(|a, b| a.contract.cmp(&b.contract));
    Ok(report)
}

fn samples(
    folder: &Path,
    entry: &ContractEntry,
    version: u32,
    findings: &mut Vec<Finding>,
) -> Result<(), ReleaseError> {
    let place = match &entry.samples {
        Some(place) => folder.parent().unwrap_or(folder).join(place),
        None => folder.join(&entry.service).join("samples"),
    };
    let contract = format!("{}.v{version}", entry.id());
    let mut found = false;
    for (sample, message) in files::samples(&place, &entry.name, version)? {
        found = true;
        if let Err(error) = (entry.decode)(version, message) {
            let problem = Problem::Unreadable { sample, error };
            findings.push(Finding { contract: contract.clone(), problem });
        }
    }
    if !found {
        findings.push(Finding { contract, problem: Problem::NoSample(place) });
    }
    Ok(())
}

/// Writes what the folder lacks: new messages, new versions, new optional fields. Gives the written files.
///
/// # Errors
/// If something would break a reader, with the report; or if the folder cannot be read or written.
pub fn record(folder: &Path, entries: &[ContractEntry]) -> Result<Vec<PathBuf>, ReleaseError> {
    let report = judge(&load(folder)?, entries);
    if !report.is_recordable() {
        return Err(ReleaseError::Refused(Box::new(report)));
    }
    let mut written = Vec::new();
    for entry in entries {
        if report.findings.iter().any(|finding| finding.contract == key(entry)) {
            written.push(files::write(folder, entry)?);
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests;
