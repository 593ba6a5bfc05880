//! Rules about files as text: headers, lengths, unfinished work, machine paths.
//! Reads: every text file. Writes: nothing. Never: judges layers; see `boundaries` and `manifests`.

use super::tree::{File, Finding, Rule, Tree};

const FILE_LINES_MAX: usize = 500;

static HEADER: Rule = Rule {
    name: "header",
    why: "a reader learns first what a file reads, writes, never does, and why it exists",
    fix: "begin the file with `//!` lines that say so",
};
static FILE_LENGTH: Rule = Rule {
    name: "file-length",
    why: "a file that nobody split becomes the one that nobody reads",
    fix: "move a group of items that change together into a module beside it",
};
static UNFINISHED: Rule = Rule {
    name: "unfinished",
    why: "trust in tests is all or nothing, and what is not built is not there",
    fix: "finish it, or remove it",
};
static PLACES: Rule = Rule {
    name: "places",
    why: "the repository works on any machine and names no folder or download host of one",
    fix: "use a path relative to the repository; name a package, not the host it comes from",
};

/// Every rule of this module.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        header(file, &mut findings);
        file_length(file, &mut findings);
        unfinished(file, &mut findings);
        places(file, &mut findings);
    }
    findings
}

fn header(file: &File, findings: &mut Vec<Finding>) {
    if file.extension() == "rs" && !file.text.starts_with("//!") {
        findings.push(HEADER.broken(file, 1, "the file does not begin with `//!`"));
    }
}

fn file_length(file: &File, findings: &mut Vec<Finding>) {
    let counted = matches!(file.extension(), "rs" | "ts" | "tsx" | "js" | "mjs" | "py");
    let generated = file.has_part("dist") || file.path.contains(".generated.");
    let lines = file.text.lines().count();
    if counted && !generated && lines > FILE_LINES_MAX {
        let what = format!("{lines} lines, more than {FILE_LINES_MAX}");
        findings.push(FILE_LENGTH.broken(file, FILE_LINES_MAX + 1, what));
    }
}

fn unfinished(file: &File, findings: &mut Vec<Finding>) {
    if let Some(rust) = &file.rust {
        for (index, line) in rust.code.iter().enumerate() {
            for mark in ["#[ignore", "todo!(", "unimplemented!("] {
                if line.contains(mark) {
                    findings.push(UNFINISHED.broken(file, index + 1, format!("`{mark}`")));
                }
            }
        }
        return;
    }
    let is_script_test = matches!(file.extension(), "js" | "mjs" | "ts" | "tsx" | "py")
        && file.path.contains("test")
        && !file.has_part("dist");
    if is_script_test {
        for (index, line) in file.text.lines().enumerate() {
            for mark in [".only(", ".skip(", "pytest.skip", "@unittest.skip"] {
                if line.contains(mark) {
                    findings.push(UNFINISHED.broken(file, index + 1, format!("`{mark}`")));
                }
            }
        }
    }
}

/// Put together here so that this file does not break its own rule.
const FOLDERS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Use", "rs/")];
const HOSTS: [&str; 6] = [
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("deb.debian", ".org"),
];

fn places(file: &File, findings: &mut Vec<Finding>) {
    if file.has_part("dist") || file.path == "LICENSE" {
        return;
    }
    for (index, line) in file.text.lines().enumerate() {
        for folder in FOLDERS {
            if names_folder(line, folder) {
                findings.push(PLACES.broken(
                    file,
                    index + 1,
                    format!("names the folder `{folder}…`"),
                ));
            }
        }
        for host in HOSTS {
            if line.contains(host) {
                findings.push(PLACES.broken(file, index + 1, format!("names the host `{host}`")));
            }
        }
    }
}

/// An absolute path, not the middle of a relative one or of an address.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*' | ')'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::places as at;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        at(&check(&Tree::sample(&[(path, text)])))
    }

    #[test]
    fn a_header_comes_first() {
        assert!(found("a/src/x.rs", "//! What.\nfn a() {}\n").is_empty());
        assert_eq!(found("a/src/x.rs", "use b;\n//! What.\n"), ["a/src/x.rs:1"]);
    }

    #[test]
    fn files_are_short() {
        assert!(found("a.py", &"x\n".repeat(500)).is_empty());
        assert_eq!(found("a.py", &"x\n".repeat(501)), ["a.py:501"]);
        assert!(found("a/dist/b.js", &"x\n".repeat(501)).is_empty());
        assert!(found("a.md", &"x\n".repeat(501)).is_empty());
    }

    #[test]
    fn nothing_is_unfinished() {
        assert_eq!(
            found("a.rs", "//! A\n#[test]\n#[ignore]\nfn a() { todo!() }"),
            ["a.rs:3", "a.rs:4"]
        );
        assert!(found("a.rs", "//! todo!() and #[ignore]\nfn a() { b(\"todo!()\") }").is_empty());
        assert_eq!(found("x.test.ts", "test.only('a')\n"), ["x.test.ts:1"]);
        assert!(found("x.ts", "list.skip(1)\n").is_empty());
    }

    #[test]
    fn machine_paths_and_hosts_are_found() {
        let home = format!("a\nsee {}me/x", "/ho");
        assert_eq!(found("a.md", &home), ["a.md:2"]);
        assert!(
            found("a.md", &format!("target{}rk/x and site.example{}me/", "/wo", "/ho")).is_empty()
        );
        assert_eq!(found("l.json", &format!("https://registry.npm{}", "js.org/x")), ["l.json:1"]);
    }
}
