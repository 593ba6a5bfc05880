//! The sides of a live comparison: platforms that run already, or commands that start one each.
//! Reads: up.json. Writes: a temporary folder for each platform that it starts. Never: leaves one behind;
//! the process group of a command ends with its round, and is killed if this process dies.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::args::{CompareArgs, UP_FILE};
use crate::failure::Failure;
use crate::peers::child::Child;
use crate::target::{self, Target};

/// Where a side comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The folder with its up.json.
    Running(PathBuf),
    Command(String),
}

/// A platform that answers; one that was started here ends with it.
pub(super) struct Ready {
    pub target: Target,
    started: Option<(Child, TempDir)>,
}

/// Both sides, A first.
pub(super) fn sources(arguments: &CompareArgs) -> Result<[Source; 2], Failure> {
    let usage = |why: &str| Failure::Usage(why.to_owned());
    if !arguments.a.is_empty() || !arguments.b.is_empty() {
        return Err(usage("--a and --b name finished runs; name platforms as A and B"));
    }
    let mut folders = arguments.first.iter().chain(&arguments.second);
    let mut one = |name: &str, command: &Option<String>| match (command, folders.next()) {
        (Some(command), None) => Ok(Source::Command(command.clone())),
        (None, Some(path)) => Ok(Source::Running(folder(path))),
        (Some(_), Some(_)) => Err(usage("a side is a folder or a command, not both")),
        (None, None) => Err(Failure::Usage(format!(
            "side {name} is missing: give the data directory of a running platform, or --{}-command",
            name.to_lowercase()
        ))),
    };
    let live = &arguments.live;
    // With one command the one folder is the other side.
    match (&live.a_command, &live.b_command) {
        (Some(command), None) => {
            let b = one("B", &None)?;
            if arguments.second.is_some() && arguments.first.is_some() {
                return Err(usage("three sides: a command and two folders"));
            }
            Ok([Source::Command(command.clone()), b])
        }
        (a, b) => Ok([one("A", a)?, one("B", b)?]),
    }
}

fn folder(path: &Path) -> PathBuf {
    if path.ends_with(UP_FILE) {
        return path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    }
    path.to_owned()
}

impl Source {
    /// As the comparison names it.
    pub fn words(&self) -> String {
        match self {
            Self::Running(folder) => folder.display().to_string(),
            Self::Command(line) => line.clone(),
        }
    }

    /// The platform, started if need be; returns when it answers.
    pub async fn ready(&self, name: &'static str) -> Result<Ready, Failure> {
        let line = match self {
            Self::Running(folder) => {
                let target = target::from_up_file(folder)?;
                return Ok(Ready { target, started: None });
            }
            Self::Command(line) => line,
        };
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::failed("cannot make a temporary folder", error))?;
        let data = folder.path().join("data");
        let environment: [(&str, &OsStr); 2] =
            [("CAMPANA__DATA_DIR", data.as_os_str()), ("CAMPANA_DATA_DIR", data.as_os_str())];
        let mut child = Child::start_line(name, folder.path(), line, &environment)?;
        let trouble = "left no up.json in the data directory of CAMPANA__DATA_DIR (does its command name another?)";
        let target = child.until(trouble, || target::from_up_file(&data).ok()).await?;
        Ok(Ready { target, started: Some((child, folder)) })
    }
}

impl Ready {
    /// Ends what was started for it.
    pub async fn stop(self) {
        if let Some((child, _folder)) = self.started {
            child.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        arguments: CompareArgs,
    }

    fn typed(words: &[&str]) -> CompareArgs {
        Typed::parse_from([&["compare"], words].concat()).arguments
    }

    #[test]
    fn a_side_is_a_folder_or_a_command() {
        let running = |name: &str| Source::Running(PathBuf::from(name));
        let command = |line: &str| Source::Command(line.to_owned());
        let of = |words: &[&str]| sources(&typed(words));
        assert_eq!(of(&["x", "y/up.json"]).unwrap(), [running("x"), running("y")]);
        assert_eq!(of(&["x", "--a-command", "c"]).unwrap(), [command("c"), running("x")]);
        assert_eq!(of(&["x", "--b-command", "c"]).unwrap(), [running("x"), command("c")]);
        let both = ["--a-command", "c", "--b-command", "d --free-ports"];
        assert_eq!(of(&both).unwrap(), [command("c"), command("d --free-ports")]);
        for bad in [
            &["--a-command", "c"][..],
            &["--b-command", "c"],
            &["x", "y", "--a-command", "c"],
            &["x", "y", "--b-command", "c"],
            &["x", "--a-command", "c", "--b-command", "d"],
            &["--a", "x", "--b", "y", "--rounds", "2"],
        ] {
            assert!(matches!(of(bad), Err(Failure::Usage(_))), "{bad:?}");
        }
    }

    #[test]
    fn platforms_are_told_from_finished_runs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        assert!(!typed(&[&path, &path]).is_live());
        std::fs::write(dir.path().join(UP_FILE), "{}").unwrap();
        assert!(typed(&[&path, &path]).is_live());
        std::fs::write(dir.path().join("run.json"), "{}").unwrap();
        assert!(!typed(&[&path, &path]).is_live());
        assert!(typed(&[&path, &path, "--rounds", "2"]).is_live());
    }
}
