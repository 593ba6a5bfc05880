//! The repository's text files, loaded once, and what a rule says about them.
//! Reads: the working tree. Writes: nothing. Never: looks into build output or installed packages.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::rust_text::RustText;

/// Folders at the root that hold no source.
const SKIPPED_AT_ROOT: [&str; 5] = [".git", ".tools", "target", "campana-data", "loadtest-results"];
/// Folders anywhere that hold no source.
const SKIPPED_ANYWHERE: [&str; 3] = ["node_modules", "__pycache__", ".venv"];

/// One text file.
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
    /// For `.rs` files.
    pub rust: Option<RustText>,
    /// Whether everything in it is test code.
    pub is_test: bool,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            rust: path.ends_with(".rs").then(|| RustText::of(text)),
            is_test: is_test_path(path),
        }
    }

    pub fn extension(&self) -> &str {
        self.path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, e)| e)
    }

    /// Whether the file is in the folder (or is the file) of that path.
    pub fn is_under(&self, folder: &str) -> bool {
        let folder = folder.trim_end_matches('/');
        self.path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether a folder of its path, or the file without its ending, has this name.
    pub fn has_part(&self, name: &str) -> bool {
        let (path, _) = self.path.rsplit_once('.').unwrap_or((&self.path, ""));
        path.split('/').any(|part| part == name)
    }
}

fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

/// All files, in order of their paths.
pub struct Tree {
    pub files: Vec<File>,
}

impl Tree {
    pub fn load(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        Ok(Self::of(files))
    }

    /// A tree made of literal files, for tests of rules.
    #[cfg(test)]
    pub fn sample(files: &[(&str, &str)]) -> Self {
        Self::of(files.iter().map(|(path, text)| File::new(path, text)).collect())
    }

    fn of(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let declared: Vec<String> = files.iter().flat_map(test_module_files).collect();
        for file in &mut files {
            file.is_test |= declared.iter().any(|module| {
                file.path == format!("{module}.rs") || file.path.starts_with(&format!("{module}/"))
            });
        }
        Self { files }
    }

    pub fn rust(&self) -> impl Iterator<Item = (&File, &RustText)> {
        self.files.iter().filter_map(|file| file.rust.as_ref().map(|rust| (file, rust)))
    }

    /// Rust files that are not test code as a whole.
    pub fn product_rust(&self) -> impl Iterator<Item = (&File, &RustText)> {
        self.rust().filter(|(file, _)| !file.is_test)
    }

    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Paths without ending of modules that this file declares under `#[cfg(test)]`.
fn test_module_files(file: &File) -> Vec<String> {
    let Some(rust) = &file.rust else {
        return Vec::new();
    };
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let base = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        other => format!("{folder}/{}", other.trim_end_matches(".rs")),
    };
    rust.test_modules.iter().map(|module| format!("{base}/{module}")).collect()
}

fn collect(root: &Path, folder: &str, files: &mut Vec<File>) -> Result<()> {
    let absolute = root.join(folder);
    let entries =
        fs::read_dir(&absolute).with_context(|| format!("cannot read {}", absolute.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let skipped = SKIPPED_ANYWHERE.contains(&name.as_str())
                || (folder.is_empty() && SKIPPED_AT_ROOT.contains(&name.as_str()));
            if !skipped {
                collect(root, &path, files)?;
            }
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            // What is not text (pictures, archives) is none of the rules' business.
            files.push(File::new(&path, &text));
        }
    }
    Ok(())
}

/// One broken rule at one place.
#[derive(Debug)]
pub struct Finding {
    pub rule: &'static Rule,
    pub path: String,
    pub line: usize,
    pub what: String,
}

/// A rule's name, its reason, and what to do about a break.
#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    pub why: &'static str,
    pub fix: &'static str,
}

impl Rule {
    pub fn broken(&'static self, file: &File, line: usize, what: impl Into<String>) -> Finding {
        Finding { rule: self, path: file.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, path, line, what } = self;
        write!(
            out,
            "{path}:{line}: {what} [{}]\n    why: {}\n    fix: {}",
            rule.name, rule.why, rule.fix
        )
    }
}

/// `path:line` of each finding, for short assertions.
#[cfg(test)]
pub fn places(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_code_is_known_by_path_and_by_declaration() {
        let tree = Tree::sample(&[
            ("a/src/lib.rs", "#[cfg(test)]\nmod fakes;\nmod real;"),
            ("a/src/fakes.rs", ""),
            ("a/src/real.rs", "#[cfg(test)]\nmod inner;"),
            ("a/src/real/inner.rs", ""),
            ("a/src/real/tests.rs", ""),
            ("a/tests/it/main.rs", ""),
        ]);
        let product: Vec<_> = tree.product_rust().map(|(file, _)| file.path.as_str()).collect();
        assert_eq!(product, ["a/src/lib.rs", "a/src/real.rs"]);
    }

    #[test]
    fn paths_are_compared_by_whole_parts() {
        let file = File::new("services/notify/src/store/status.rs", "");
        assert!(file.is_under("services/notify") && file.is_under("services/notify/src/store/"));
        assert!(!file.is_under("services/not"));
        assert!(file.has_part("store") && file.has_part("status") && !file.has_part("stat"));
        assert_eq!(file.extension(), "rs");
    }
}
