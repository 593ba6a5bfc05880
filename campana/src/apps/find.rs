//! Where the programs of the applications lie.
//! Reads: the file system, `PATH`, `CAMPANA_SUPPORT_DIR`. Writes: nothing. Never: fails the platform: what is not there
//! is said with what to do about it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::plan::{App, PortChoice};

/// What a folder with the Python module of the support desk holds.
const MODULE: &str = "campana_support/__main__.py";
/// Oldest Python that the module runs on.
const PYTHON_MIN: (u32, u32) = (3, 10);

/// What the command line says about the applications.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The folder with the programs; the one of this program if absent.
    pub folder: Option<PathBuf>,
    /// The folder that holds the Python module of the support desk.
    pub support: Option<PathBuf>,
    /// Where they listen.
    pub ports: PortChoice,
}

/// What an application is started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A program of its own.
    Program(PathBuf),
    /// A Python module behind a sidecar.
    Module {
        /// The interpreter.
        python: PathBuf,
        /// The folder that holds the module.
        folder: PathBuf,
        /// This program, for the sidecar.
        campana: PathBuf,
    },
}

/// Looks for what an application needs; an error says what to do.
pub fn find(app: App, wanted: &Wanted) -> Result<Found, String> {
    let campana = std::env::current_exe()
        .map_err(|error| format!("this program's own file is not known: {error}"))?;
    let beside = campana.parent().unwrap_or(Path::new("/")).to_owned();
    let Some(name) = app.program() else {
        let folder = module(wanted.support.as_deref(), &beside)?;
        return Ok(Found::Module { python: python()?, folder, campana });
    };
    let folder = wanted.folder.as_ref().unwrap_or(&beside);
    let program = folder.join(name);
    match program.canonicalize() {
        Ok(program) if program.is_file() => Ok(Found::Program(program)),
        _ => Err(format!(
            "{} is not there: build it (`cargo xtask up` does), or say where it is with --apps-dir",
            program.display()
        )),
    }
}

/// The folder that holds the module: the one that is named, or a usual place beside the program.
fn module(named: Option<&Path>, beside: &Path) -> Result<PathBuf, String> {
    let usual = || vec![beside.join("support"), beside.join("../share/campana/support")];
    let places = named.map_or_else(usual, |folder| vec![folder.to_owned()]);
    let found = places.iter().find(|folder| folder.join(MODULE).is_file());
    found.and_then(|folder| folder.canonicalize().ok()).ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "{MODULE} is not in {}: say --support-dir FOLDER, which in a checkout is services/support",
            places.join(" or ")
        )
    })
}

/// The first `python3` on `PATH`, if it is new enough.
fn python() -> Result<PathBuf, String> {
    let (major, minor) = PYTHON_MIN;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("python3"))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            format!("there is no python3 on PATH: install Python {major}.{minor} or newer")
        })?;
    let shown = found.display();
    let asked = Command::new(&found).arg("--version").stdin(Stdio::null()).output();
    let said = asked.map_err(|error| format!("{shown} cannot be run: {error}"))?.stdout;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    match version(&said) {
        Some(version) if version >= PYTHON_MIN => Ok(found),
        _ => Err(format!("{shown} is \"{said}\": Python {major}.{minor} or newer is needed")),
    }
}

/// `Python 3.13.5` → (3, 13).
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("Python ")?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version("Python 3.13.5"), Some((3, 13)));
        assert!(version("Python 3.9.2") < Some(PYTHON_MIN));
        assert_eq!(version("Segmentation fault"), None);
    }

    #[test]
    fn what_is_not_there_says_what_to_do() {
        let nowhere = PathBuf::from("/nowhere");
        let wanted = Wanted {
            folder: Some(nowhere.clone()),
            support: Some(nowhere.clone()),
            ports: PortChoice::Free,
        };
        let program = find(App::Chat, &wanted).unwrap_err();
        assert!(program.contains("/nowhere/campana-chat") && program.contains("--apps-dir"));
        let module = find(App::Support, &wanted).unwrap_err();
        assert!(module.contains("/nowhere") && module.contains("--support-dir"), "{module}");
        let usual = super::module(None, &nowhere).unwrap_err();
        assert!(usual.contains("/nowhere/support or "), "{usual}");
    }
}
