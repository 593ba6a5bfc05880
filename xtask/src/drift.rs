//! Committed files that are made by the program: written by `gen`, compared by `test`.
//! Reads: what the debug build prints, the code. Writes: the files, only for `gen`.
//! Never: merges; the file is what the program says, or it is out of date.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tidy::tree::Tree;
use crate::{catalogue, dashboards, repo, shell};

enum Source {
    /// `campana` with these arguments prints the file.
    Campana(&'static [&'static str]),
    /// Found in the code.
    Metrics,
}

const GENERATED: [(Source, &str); 6] = [
    (Source::Metrics, "docs/reference/metrics.md"),
    (Source::Campana(&["openapi"]), "docs/reference/openapi.json"),
    (Source::Campana(&["asyncapi"]), "docs/reference/asyncapi.json"),
    (Source::Campana(&["sidecar", "--openapi"]), "services/sidecar/openapi/openapi.json"),
    (Source::Campana(&["config", "doc"]), "docs/reference/config.toml"),
    (Source::Campana(&["topology", "show", "--json"]), "nats/topology.json"),
];

/// Path and text of every generated file, if the programs that print them are built.
fn generated() -> impl Iterator<Item = (String, Result<String>)> {
    let printed = GENERATED.iter().map(|(source, file)| ((*file).to_owned(), source.text()));
    printed.chain(dashboards::files().into_iter().map(|(file, text)| (file, Ok(text))))
}

/// `cargo xtask gen [PART]`: every generated file, or those whose path contains `part`.
pub fn write(part: &str) -> Result<()> {
    if GENERATED.iter().any(|(source, file)| source.is_printed() && file.contains(part)) {
        let mut build = shell::cargo();
        build.args(["build", "--workspace", "--bins", "--locked"]);
        shell::run(&mut build).context("the build failed, nothing was written")?;
    }
    let mut written = 0;
    for (source, file) in GENERATED.iter().filter(|(_, file)| file.contains(part)) {
        write_one(file, &source.text()?)?;
        written += 1;
    }
    for (file, text) in dashboards::files().iter().filter(|(file, _)| file.contains(part)) {
        write_one(file, text)?;
        written += 1;
    }
    if written == 0 {
        bail!("no generated file has `{part}` in its path");
    }
    Ok(())
}

fn write_one(file: &str, text: &str) -> Result<()> {
    let path = repo::root().join(file);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let changed = !fs::read_to_string(&path).is_ok_and(|old| old == text);
    fs::write(&path, text).with_context(|| format!("cannot write {file}"))?;
    println!("{} {file}", if changed { "wrote    " } else { "unchanged" });
    Ok(())
}

/// Compares every generated file with what the program says now.
pub fn compare_all() -> Result<()> {
    let mut stale = 0;
    for (file, text) in generated() {
        let outcome = text.map(|expected| {
            let committed = fs::read_to_string(repo::root().join(&file)).ok();
            difference(committed.as_deref(), &expected)
        });
        match outcome {
            Ok(None) => println!("{file}: up to date"),
            Ok(Some(difference)) => {
                stale += 1;
                println!("{file}: {difference}");
            }
            Err(error) => {
                stale += 1;
                println!("{file}: {error:#}");
            }
        }
    }
    if stale > 0 {
        bail!(
            "{stale} generated files are out of date: run `cargo xtask gen` and commit the result"
        );
    }
    Ok(())
}

impl Source {
    /// Whether a program of this workspace has to be built first.
    fn is_printed(&self) -> bool {
        matches!(self, Self::Campana(_))
    }

    fn text(&self) -> Result<String> {
        match self {
            Self::Metrics => Ok(catalogue::page(&Tree::load(repo::root())?)),
            Self::Campana(args) => {
                let mut command = Command::new(repo::debug_binary("campana"));
                command.args(*args).current_dir(repo::root());
                let said = shell::capture(&mut command)?;
                if !said.success {
                    bail!("`{}` failed: {}", shell::shown(&command), said.stderr.trim());
                }
                if said.stdout.trim().is_empty() {
                    bail!("`{}` printed nothing", shell::shown(&command));
                }
                Ok(said.stdout)
            }
        }
    }
}

/// The first line that differs, in words; none if all are the same.
fn difference(committed: Option<&str>, expected: &str) -> Option<String> {
    let Some(committed) = committed else {
        return Some("is not there".to_owned());
    };
    if committed == expected {
        return None;
    }
    let mut pairs = committed.lines().zip(expected.lines()).enumerate();
    Some(match pairs.find(|(_, (old, new))| old != new) {
        Some((index, (old, new))) => {
            format!("line {} is `{}`, should be `{}`", index + 1, old.trim(), new.trim())
        }
        None => format!(
            "has {} lines, should have {}",
            committed.lines().count(),
            expected.lines().count()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_shown() {
        assert_eq!(difference(Some("a\nb\n"), "a\nb\n"), None);
        assert_eq!(difference(None, "a").unwrap(), "is not there");
        assert_eq!(difference(Some("a\n b\n"), "a\nc\n").unwrap(), "line 2 is `b`, should be `c`");
        assert_eq!(difference(Some("a\n"), "a\nb\n").unwrap(), "has 1 lines, should have 2");
    }
}
