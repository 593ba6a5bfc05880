//! A private PostgreSQL for a peer, with the settings that `initdb` gives it: what it has committed is on disk.
//! Reads: its programs, where [`Program::Postgres`] finds them. Writes: `postgres` in the peer's folder. Never: runs
//! as root, which PostgreSQL refuses; for root it runs as the user that its package makes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::child::{Child, free_port};
use super::install;
use super::programs::{INITDB, Program, text};
use crate::failure::Failure;

/// Its first user, and the one of the system that Debian's package makes.
const USER: &str = "postgres";
/// Others may pass through the folder to what is theirs in it, and see nothing else.
const PASSABLE: u32 = 0o711;
/// Line of `postmaster.pid` with the server's state, as `pg_ctl` reads it.
const STATE_LINE: usize = 7;

/// Makes a database and returns its server and port when it takes connections.
pub async fn start(folder: &Path) -> Result<(Child, u16), Failure> {
    let program = Program::Postgres.find()?;
    let home = folder.join("postgres");
    fs::create_dir(&home).map_err(|error| Failure::failed(home.display(), error))?;
    // Where setpriv is the program, what it is to start is its arguments.
    let changed: &[&str] = if is_root() {
        hand_over(folder, &home)?;
        &["setpriv", "--pdeathsig", "KILL", "--reuid", USER, "--regid", USER, "--clear-groups"]
    } else {
        &[]
    };
    let data = home.join("data");
    let initdb = program.with_file_name(INITDB);
    make(&[changed, &[text(&initdb)?]].concat(), &data)?;
    let port = free_port()?;
    let number = port.to_string();
    let server = ["-D", text(&data)?, "-h", "127.0.0.1", "-p", &number, "-k", ""];
    let line = [changed, &[text(&program)?], &server].concat();
    let mut child = Child::start("postgres", folder, Path::new(line[0]), &line[1..])?.forking();
    let state = data.join("postmaster.pid");
    child.until("is not ready", || is_ready(&fs::read_to_string(&state).ok()?)).await?;
    Ok((child, port))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn hand_over(folder: &Path, home: &Path) -> Result<(), Failure> {
    fs::set_permissions(folder, Permissions::from_mode(PASSABLE))
        .map_err(|error| Failure::failed(folder.display(), error))?;
    let what = "cannot give PostgreSQL its folder (its package makes a user named postgres)";
    install::run(Command::new("chown").arg(USER).arg(home), what)
}

fn make(line: &[&str], data: &Path) -> Result<(), Failure> {
    let mut initdb = Command::new(line[0]);
    initdb
        .args(&line[1..])
        // The same on every machine, whatever its language.
        .args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale"])
        // Only what is committed from now on has to survive.
        .args(["--no-sync", "--pgdata"])
        .arg(data)
        .current_dir("/");
    install::run(&mut initdb, "initdb cannot make a database")
}

fn is_ready(state: &str) -> Option<()> {
    (state.lines().nth(STATE_LINE)?.trim() == "ready").then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_its_last_line_says_so() {
        let file = "4711\n/data\n1700000000\n5432\n\n127.0.0.1\n    65537         3\n";
        assert_eq!(is_ready(file), None);
        assert_eq!(is_ready(&format!("{file}starting\n")), None);
        assert_eq!(is_ready(&format!("{file}ready   \n")), Some(()));
    }
}
