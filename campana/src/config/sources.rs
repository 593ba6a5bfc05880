//! Where values come from, in order of strength.
//! Reads: the default file, a TOML file, `CAMPANA__SECTION__KEY` and `CAMPANA__SECTION__KEY_FILE`, flags.
//! Writes: nothing. Never: accepts a key that the default file does not know.

use std::path::{Path, PathBuf};

use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Metadata};

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
    let mut figment = Figment::from(Toml::string(DEFAULT_FILE)).merge(Serialized::defaults(Dict::new()));
    if let Some(path) = chosen_file(sources)? {
        figment = figment.merge(Toml::file_exact(path));
    }
    figment = figment.merge(
        Env::prefixed(PREFIX).filter(|key| !key.as_str().to_ascii_lowercase().ends_with("_file") || is_known(&key.as_str().to_ascii_lowercase().replace("__", "."))).split("__"),
    );
    for (key, path) in secret_files() {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| bad_config(format!("{key}: cannot read {}: {error}", path.display())))?;
        figment = figment.merge((key.as_str(), text.trim_end_matches(['\r', '\n'])));
    }
    for (key, value) in &sources.overrides {
        figment = figment.merge((key.as_str(), parse_flag(value)));
    }
    Ok(figment)
}

fn chosen_file(sources: &Sources) -> anyhow::Result<Option<PathBuf>> {
    match &sources.file {
        Some(path) if path.is_file() => Ok(Some(path.clone())),
        Some(path) => Err(bad_config(format!("the configuration file {} does not exist", path.display()))),
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

/// `CAMPANA__AUTH__TOKEN_SECRET_FILE=/run/secrets/x` sets `auth.token_secret` to the file's content.
fn secret_files() -> Vec<(String, PathBuf)> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", ".");
            let target = key.strip_suffix("_file")?;
            (!is_known(&key) && is_known(target)).then(|| (target.to_owned(), PathBuf::from(value)))
        })
        .collect()
}

/// Every key of the default file, those that are off (`#key = …`) included.
fn known_keys() -> Vec<String> {
    let all_on: String = DEFAULT_FILE.lines().map(|line| line.strip_prefix('#').filter(|rest| is_setting(rest)).unwrap_or(line)).fold(
        String::new(),
        |text, line| text + line + "\n",
    );
    Figment::from(Toml::string(&all_on)).extract::<Dict>().map(|dict| leaves(&dict, "")).unwrap_or_default()
}

fn is_setting(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
}

fn is_known(key: &str) -> bool {
    known_keys().iter().any(|known| known == key)
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
        let hint = nearest(&key, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
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
        let common = |candidate: &str| candidate.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        known.iter().max_by_key(|candidate| common(candidate)).filter(|candidate| common(candidate) * 2 > key.len())
    })
}

/// Where a value came from, for people.
pub(super) fn origin(metadata: &Metadata) -> String {
    match (&metadata.source, metadata.name.as_ref()) {
        (Some(figment::Source::File(path)), _) => path.display().to_string(),
        (_, name) if name.contains("environment") => "environment".to_owned(),
        (Some(figment::Source::Code(_)), _) => "flag or secret file".to_owned(),
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
