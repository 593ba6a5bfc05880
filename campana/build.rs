//! Tells the program from what it was built: the commit and the compiler, for `campana_build_info`.
//! Reads: `.git`, the compiler's version, `CAMPANA_COMMIT` for builds outside a repository. Writes: nothing.
//! Never: fails a build; what cannot be found out is called `unknown`.

use std::path::Path;
use std::process::Command;

/// Digits of a commit that are shown.
const COMMIT_DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=CAMPANA_COMMIT");
    let unknown = || "unknown".to_owned();
    println!("cargo::rustc-env=CAMPANA_COMMIT={}", commit().unwrap_or_else(unknown));
    println!("cargo::rustc-env=CAMPANA_RUSTC={}", rustc().unwrap_or_else(unknown));
}

fn commit() -> Option<String> {
    let chosen = std::env::var("CAMPANA_COMMIT").ok().filter(|chosen| !chosen.is_empty());
    let full = match chosen {
        Some(chosen) => chosen,
        None => head(&Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).join("../.git"))?,
    };
    let hex: String = full.chars().take_while(char::is_ascii_hexdigit).collect();
    (hex.len() >= 7).then(|| hex.chars().take(COMMIT_DIGITS).collect())
}

/// The commit that is checked out, and a rebuild when that changes. Files are read instead of asking git, which
/// an image for building may not have.
fn head(git: &Path) -> Option<String> {
    let read = |name: &str| {
        let path = git.join(name);
        let text = std::fs::read_to_string(&path).ok()?;
        println!("cargo::rerun-if-changed={}", path.display());
        Some(text.trim().to_owned())
    };
    let head = read("HEAD")?;
    let Some(branch) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    read(branch).or_else(|| {
        let packed = read("packed-refs")?;
        packed.lines().find_map(|line| line.strip_suffix(branch).map(|id| id.trim().to_owned()))
    })
}

/// `1.95.0` of `rustc 1.95.0 (…)`.
fn rustc() -> Option<String> {
    let output = Command::new(std::env::var_os("RUSTC")?).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1).map(str::to_owned)
}
