//! The folder of a run: made before the run, because a folder that cannot be written must not
//! cost the figures; filled at its end, also when it was stopped or failed half-way.

use std::fs;
use std::path::{Path, PathBuf};

use time::macros::format_description;

use crate::clock;
use crate::failure::Failure;
use crate::model::Run;
use crate::report;

/// Options whose value is a secret.
const SECRETS: [&str; 2] = ["--api-key", "--neighbour-key"];

/// Makes the folder.
pub fn dir(asked: Option<&Path>, name: &str) -> Result<PathBuf, Failure> {
    let dir = match asked {
        Some(dir) => dir.to_owned(),
        None => {
            let shape = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second]Z");
            let at = clock::utc_now()
                .format(shape)
                .map_err(|error| Failure::failed("the time of day", error))?;
            Path::new("loadtest-results").join(format!("{at}-{name}"))
        }
    };
    fs::create_dir_all(&dir).map_err(|error| Failure::failed(dir.display(), error))?;
    Ok(dir)
}

/// Writes run.json and the report.
pub fn write(run: &Run, dir: &Path) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(run).map_err(|error| Failure::failed("run.json", error))?;
    let path = dir.join("run.json");
    // First beside it: whoever reads the folder sees all of it or nothing.
    let temporary = dir.join("run.json.tmp");
    fs::write(&temporary, text + "\n")
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|error| Failure::failed(path.display(), error))?;
    report::write(run, dir)
}

/// The command as typed, without the path of the program and without a key.
pub fn command_line(words: impl Iterator<Item = String>) -> String {
    let mut line = vec!["campana loadtest".to_owned()];
    let mut hide_next = false;
    for word in words {
        let hidden = std::mem::replace(&mut hide_next, SECRETS.contains(&word.as_str()));
        line.push(match word.split_once('=') {
            _ if hidden => "…".to_owned(),
            Some((name, _)) if SECRETS.contains(&name) => format!("{name}=…"),
            _ if word.chars().any(|c| " <>&|;*?'\"".contains(c)) => format!("'{word}'"),
            _ => word,
        });
    }
    line.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_kept_without_its_keys() {
        let words =
            ["run", "ci", "--api-key", "ck_a", "--neighbour-key=ck_b", "--threshold", "p99<=1"];
        let line = command_line(words.into_iter().map(str::to_owned));
        assert_eq!(
            line,
            "campana loadtest run ci --api-key … --neighbour-key=… --threshold 'p99<=1'"
        );
    }
}
