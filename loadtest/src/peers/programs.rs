//! Which programs peers need, where they are, and what to do if they are not there.
//! Reads: `PATH`, a few environment variables, the folder of this program. Writes and installs nothing.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Beside PostgreSQL's server: makes the folder that it needs.
pub const INITDB: &str = "initdb";
/// Where Debian puts PostgreSQL's programs, by version; only the clients are on `PATH`.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// The programs that peers are made of, with the way to get each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Campana,
    Centrifugo,
    Floor,
    NatsServer,
    Node,
    Npm,
    Postgres,
    Python,
    Redis,
}

impl Program {
    /// Its file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Campana => "campana",
            Self::Centrifugo => "centrifugo",
            Self::Floor => "campana-floor",
            Self::NatsServer => "nats-server",
            Self::Node => "node",
            Self::Npm => "npm",
            Self::Postgres => "postgres",
            Self::Python => "python3",
            Self::Redis => "redis-server",
        }
    }

    /// The variable that names another file.
    const fn variable(self) -> Option<&'static str> {
        match self {
            Self::Campana => Some("CAMPANA_BIN"),
            Self::NatsServer => Some("NATS_SERVER_BIN"),
            _ => None,
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Campana | Self::Floor => {
                "build it beside this program: `cargo build --release --workspace --bins`"
            }
            Self::Centrifugo => "install it from https://centrifugal.dev",
            Self::NatsServer => "run `cargo xtask tools nats-server`, or set NATS_SERVER_BIN",
            Self::Node | Self::Npm => "install Node.js 20 or newer with npm",
            Self::Postgres => {
                "install it (Debian: `apt install postgresql`), or set PG_BIN_DIR to the folder of its programs"
            }
            Self::Python => "install Python 3.10 or newer (Debian: python3-venv)",
            Self::Redis => "install it (Debian: `apt install redis-server`)",
        }
    }

    /// Where it is: in its variable, beside this program, in the checkout's `.tools`, on `PATH`, at Debian's place.
    pub fn find(self) -> Result<PathBuf, Failure> {
        let set = |name| std::env::var_os(name).map(PathBuf::from);
        let named = self.variable().and_then(set);
        let folder = set("PG_BIN_DIR").map(|folder| folder.join(self.name()));
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name(self.name()));
        let here = std::env::current_dir().unwrap_or_default();
        let tools = here.ancestors().map(|folder| folder.join(".tools/nats-server/nats-server"));
        let ours = matches!(self, Self::Campana | Self::Floor);
        let candidates = named
            .into_iter()
            .chain(folder.filter(|_| self == Self::Postgres))
            .chain(beside.filter(|_| ours))
            .chain(tools.filter(|_| self == Self::NatsServer))
            .chain(on_path(self.name()))
            .chain(newest(Path::new(POSTGRESQL)).filter(|_| self == Self::Postgres));
        candidates.into_iter().find(|file| self.is(file)).ok_or_else(|| {
            Failure::Usage(format!("{} is not on PATH: {}", self.name(), self.remedy()))
        })
    }

    /// A server alone, as a link to it on `PATH` would be, has nothing to make its folder with.
    fn is(self, file: &Path) -> bool {
        file.is_file() && (self != Self::Postgres || file.with_file_name(INITDB).is_file())
    }
}

/// The server of the newest PostgreSQL below a folder with one for each version.
fn newest(versions: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(versions).into_iter().flatten().flatten();
    let all = entries.filter_map(|entry| {
        let server = entry.path().join("bin").join(Program::Postgres.name());
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Program::Postgres.is(&server).then_some((version, server))
    });
    all.max().map(|(_, server)| server)
}

/// A path as an argument.
pub fn text(path: &Path) -> Result<&str, Failure> {
    path.to_str().ok_or_else(|| Failure::Failed("a folder's name is no text".to_owned()))
}

/// What a program says of its version, after its name; nothing if it does not say.
pub fn version(program: Program) -> Option<String> {
    let output = std::process::Command::new(program.find().ok()?).arg("--version").output().ok()?;
    let number = version_in(&String::from_utf8_lossy(&output.stdout))?;
    Some(format!("{} {number}", program.name()))
}

/// `v=7.0.15`, `v2.15.1` and `15.14`, as Redis, NATS and PostgreSQL write it.
fn version_in(text: &str) -> Option<String> {
    text.split_ascii_whitespace().find_map(|word| {
        let number = word.strip_prefix("v=").or_else(|| word.strip_prefix('v')).unwrap_or(word);
        number.starts_with(|letter: char| letter.is_ascii_digit()).then(|| number.to_owned())
    })
}

/// Every place on `PATH` where a program of this name may be.
pub fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).collect()
}

/// The folder with what belongs to one peer, in a checkout.
pub fn folder(peers: &Path, name: &str) -> Result<PathBuf, Failure> {
    let folder = peers.join(name);
    folder.canonicalize().map_err(|_| {
        Failure::Usage(format!(
            "{} is not there: run this in a checkout of the project, or give --peers-dir",
            folder.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_a_remedy() {
        let Err(failure) = Program::Centrifugo.find() else { return };
        let text = failure.to_string();
        assert!(text.contains("not on PATH") && text.contains("centrifugal.dev"), "{text}");
        let missing = folder(Path::new("/nonexistent"), "django").unwrap_err().to_string();
        assert!(missing.contains("--peers-dir"), "{missing}");
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(version_in(redis).as_deref(), Some("7.0.15"));
        assert_eq!(version_in("nats-server: v2.15.1\n").as_deref(), Some("2.15.1"));
        let postgres = "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)";
        assert_eq!(version_in(postgres).as_deref(), Some("15.14"));
        assert_eq!(version_in("very well"), None);
    }

    #[test]
    fn the_newest_postgresql_that_can_make_a_database_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        for (version, programs) in [
            ("9", ["postgres", INITDB]),
            ("15", ["postgres", INITDB]),
            ("17", ["psql", "postgres"]),
        ] {
            let bin = folder.path().join(version).join("bin");
            std::fs::create_dir_all(&bin).unwrap();
            for program in programs {
                std::fs::write(bin.join(program), "").unwrap();
            }
        }
        assert_eq!(newest(folder.path()), Some(folder.path().join("15/bin/postgres")));
        assert_eq!(newest(Path::new("/nonexistent")), None);
    }

    #[test]
    fn a_shell_is_on_every_path() {
        assert!(on_path("sh").iter().any(|file| file.is_file()));
    }
}
