//! The scenarios that are built in. A file of the same name in the working directory is not
//! looked at unless it is given as a path: what `ci` means must not depend on where one stands.

use std::fs;
use std::path::Path;

use super::Scenario;
use crate::failure::Failure;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Name and text, in the order of `campana loadtest scenarios`.
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*];
    };
}

built_in![
    "paper-figure",
    "steady",
    "spike",
    "soak",
    "fan-out",
    "reconnect-storm",
    "mixed-channels",
    "slow-provider",
    "noisy-neighbour",
    "ci",
    "nightly",
];

/// One line of the list.
#[derive(Debug, serde::Serialize)]
pub struct Listed {
    pub name: String,
    pub about: String,
    pub steps: usize,
    /// At most, without opening the receivers.
    pub seconds: f64,
}

/// All scenarios that are built in.
pub fn listed() -> Result<Vec<Listed>, Failure> {
    let one = |(name, text): &(&str, &str)| {
        let scenario = Scenario::read(&format!("{name}.toml"), text)?;
        Ok(Listed {
            name: (*name).to_owned(),
            about: scenario.about,
            steps: scenario.steps.len(),
            seconds: scenario.steps.iter().map(super::StepSpec::seconds).sum(),
        })
    };
    BUILT_IN.iter().map(one).collect()
}

/// The file's name for messages, and its text.
pub fn text_of(name_or_path: &str) -> Result<(String, String), Failure> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
        return Ok((format!("{name}.toml"), (*text).to_owned()));
    }
    let path = Path::new(name_or_path);
    match fs::read_to_string(path) {
        Ok(text) => Ok((name_or_path.to_owned(), text)),
        Err(error) => {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            Err(Failure::Usage(format!(
                "{name_or_path}: neither a file ({error}) nor a built-in scenario ({})",
                names.join(", ")
            )))
        }
    }
}
