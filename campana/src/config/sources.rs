//! Where values come from, in order of strength.
//! Reads: the default file, a TOML file, `CAMPANA__SECTION__KEY` and `CAMPANA__SECTION__KEY_FILE`, flags.
//! Writes: nothing. Never: accepts a key that the default file does not know.

use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::{Config, DEFAULT_FILE};
use crate::errors::bad_config;

const PREFIX: &str = "CAMPANA__";

/// What the command line adds.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file; `campana.toml` in the working directory if it exists.
    pub file: Option<PathBuf>,
    /// `section.key=value` pairs, strongest of all.
    pub overrides: Vec<(String, String)>,
}

/// Reads, merges and checks everything.
pub fn load(sources: &Sources) -> anyhow::Result<(Config, Figment)> {
    let figment = merge(sources)?;
    refuse_unknown_keys(&figment)?;
    let config: Config = figment.extract().map_err(|error| bad_config(describe(&error)))?;
    config.check()?;
    Ok((config, figment))
}

fn merge(sources: &Sources) -> anyhow::Result<Figment> {
    let options = every_option();
    let mut figment = Figment::from(Toml::string(DEFAULT_FILE));
    if let Some(path) = chosen_file(sources)? {
        figment = figment.merge(Toml::file_exact(path));
    }
    let (values, files) = environment(&options);
    for (key, text) in values {
        let value = typed(&options, &key, &text, |text| {
            text.parse().unwrap_or_else(|never| match never {})
        });
        figment = figment.merge(Layer { origin: "environment", key, value });
    }
    for (key, path) in files {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            bad_config(format!("{key}: cannot read {}: {error}", path.display()))
        })?;
        let value = Value::from(text.trim_end_matches(['\r', '\n']));
        figment = figment.merge(Layer { origin: "secret file", key, value });
    }
    for (key, text) in &sources.overrides {
        let value = typed(&options, key, text, parse_flag);
        figment = figment.merge(Layer { origin: "flag", key: key.clone(), value });
    }
    Ok(figment)
}

/// One value and where it came from.
struct Layer {
    origin: &'static str,
    key: String,
    value: Value,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}

/// A value as its option wants it: where a text belongs, `+12025550199` and `0123` are texts too.
fn typed(options: &Figment, key: &str, text: &str, parse: impl FnOnce(&str) -> Value) -> Value {
    match parse(text) {
        parsed @ Value::String(..) => parsed,
        _ if matches!(options.find_value(key), Ok(Value::String(..))) => Value::from(text),
        parsed => parsed,
    }
}

fn chosen_file(sources: &Sources) -> anyhow::Result<Option<PathBuf>> {
    match &sources.file {
        Some(path) if path.is_file() => Ok(Some(path.clone())),
        Some(path) => {
            Err(bad_config(format!("the configuration file {} does not exist", path.display())))
        }
        None => Ok(Some(PathBuf::from("campana.toml")).filter(|path| Path::is_file(path))),
    }
}

/// A flag's text as TOML would read it, else as plain text.
fn parse_flag(text: &str) -> Value {
    Toml::from_str::<Dict>(&format!("value = {text}"))
        .ok()
        .and_then(|mut dict| dict.remove("value"))
        .unwrap_or_else(|| Value::from(text))
}

/// What the environment says: values by key, and files that hold a value by key.
type Environment = (Vec<(String, String)>, Vec<(String, PathBuf)>);

/// `CAMPANA__SECTION__KEY=value`, and `CAMPANA__AUTH__TOKEN_SECRET_FILE=/run/secrets/x`, which sets
/// `auth.token_secret` to the file's content.
fn environment(options: &Figment) -> Environment {
    let (mut values, mut files) = (Vec::new(), Vec::new());
    for (name, value) in std::env::vars_os() {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else {
            continue;
        };
        let Some(key) =
            name.strip_prefix(PREFIX).map(|key| key.to_ascii_lowercase().replace("__", "."))
        else {
            continue;
        };
        match key.strip_suffix("_file").filter(|target| !has(options, &key) && has(options, target))
        {
            Some(target) => files.push((target.to_owned(), PathBuf::from(value))),
            None => values.push((key, value)),
        }
    }
    (values, files)
}

fn has(options: &Figment, key: &str) -> bool {
    options.find_value(key).is_ok()
}

/// The default file with those options on that are off (`#key = …`).
fn every_option() -> Figment {
    let all_on: String = DEFAULT_FILE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    Figment::from(Toml::string(&all_on))
}

/// Every key of the default file.
fn known_keys() -> Vec<String> {
    every_option().extract::<Dict>().map(|dict| leaves(&dict, "")).unwrap_or_default()
}

fn is_setting(line: &str) -> bool {
    line.split_once(" = ")
        .is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

/// `a.b.c` for every value that is not a table.
pub(super) fn leaves(dict: &Dict, prefix: &str) -> Vec<String> {
    dict.iter()
        .flat_map(|(key, value)| match value {
            Value::Dict(_, inner) => leaves(inner, &format!("{prefix}{key}.")),
            _ => vec![format!("{prefix}{key}")],
        })
        .collect()
}

fn refuse_unknown_keys(figment: &Figment) -> anyhow::Result<()> {
    let all: Dict = figment.extract().map_err(|error| bad_config(describe(&error)))?;
    let known = known_keys();
    for key in leaves(&all, "") {
        if known.contains(&key) {
            continue;
        }
        let origin = figment.find_metadata(&key).map(origin).unwrap_or_default();
        let hint =
            nearest(&key, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(bad_config(format!(
            "unknown option {key} ({origin}){hint} `campana config doc` lists every option"
        )));
    }
    Ok(())
}

/// The known key with the same last part or the longest common beginning.
fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a String> {
    let last = key.rsplit('.').next()?;
    known.iter().find(|candidate| candidate.rsplit('.').next() == Some(last)).or_else(|| {
        let common = |candidate: &str| {
            candidate.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count()
        };
        known
            .iter()
            .max_by_key(|candidate| common(candidate))
            .filter(|candidate| common(candidate) * 2 > key.len())
    })
}

/// Where a value came from, for people.
pub(super) fn origin(metadata: &Metadata) -> String {
    match (&metadata.source, metadata.name.as_ref()) {
        (Some(figment::Source::File(path)), _) => path.display().to_string(),
        (_, name) if name.contains("TOML") => "default".to_owned(),
        (_, name) => name.to_owned(),
    }
}

fn describe(error: &figment::Error) -> String {
    error
        .clone()
        .into_iter()
        .map(|one| {
            let path = one.path.join(".");
            let origin = one.metadata.as_ref().map(origin).unwrap_or_default();
            format!("{path}: {} ({origin})", one.kind)
        })
        .collect::<Vec<_>>()
        .join("; ")
}
