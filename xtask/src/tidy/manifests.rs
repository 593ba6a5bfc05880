//! The arrows between crates, and one place for versions and lints.
//! Reads: every `Cargo.toml`. Writes: nothing. Never: resolves anything; the words are enough.

use super::tree::{File, Finding, Rule, Tree};

static ARROWS: Rule = Rule {
    name: "arrows",
    why: "services meet on subjects; only the composition root knows more than one of them",
    fix: "talk over the bus, or move what is shared into bus or identity",
};
static FOREIGN: Rule = Rule {
    name: "foreign-crates",
    why: "this crate promises to do without that kind of thing, so that its users may rely on it",
    fix: "do it in the service that owns the data or the protocol",
};
static INHERITED: Rule = Rule {
    name: "inherited",
    why: "every version, lint and profile has one place: the root manifest",
    fix: "write `x.workspace = true`, and `[lints]` with `workspace = true`",
};

/// Which folders of this repository a folder may depend on; `campana` may on all.
const ALLOWED: [(&str, &[&str]); 10] = [
    ("bus", &["bus"]),
    // Keys that are fetched: all else about identity does without a network.
    ("identity/jwks", &["bus", "identity"]),
    ("identity", &[]),
    // The yardstick has to share the platform's group commit; the harness itself stays a stranger.
    ("loadtest/floor", &["bus"]),
    ("loadtest", &[]),
    ("xtask", &[]),
    ("services", &["bus", "identity"]),
    ("ws-edge", &["bus", "identity"]),
    ("tests", &["bus", "identity"]),
    ("campana", &["bus", "identity", "services", "ws-edge"]),
];

/// Crates from outside that a folder's own manifest must not name.
const BANNED: [(&str, &[&str]); 3] = [
    ("bus/Cargo.toml", &["sqlx", "axum", "lettre", "reqwest", "hyper", "rusqlite"]),
    ("ws-edge/Cargo.toml", &["sqlx", "lettre", "rusqlite"]),
    ("identity/Cargo.toml", &["sqlx", "axum", "lettre", "reqwest", "tokio", "async-nats"]),
];

pub fn check(tree: &Tree) -> Vec<Finding> {
    let manifests: Vec<Manifest> = tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        // A workspace of its own has no root to inherit from, and nothing of this one depends on it.
        .filter(|file| !file.text.contains("\n[workspace]\n"))
        .map(Manifest::of)
        .collect();
    let mut findings = Vec::new();
    for manifest in &manifests {
        arrows(manifest, &manifests, &mut findings);
        foreign(manifest, &mut findings);
        inherited(manifest, &mut findings);
    }
    findings
}

struct Manifest<'a> {
    file: &'a File,
    name: String,
    dependencies: Vec<Dependency>,
    inherits_lints: bool,
}

struct Dependency {
    line: usize,
    name: String,
    inherited: bool,
}

impl<'a> Manifest<'a> {
    /// Reads the plain subset of TOML that our manifests use: one key a line.
    fn of(file: &'a File) -> Self {
        let mut manifest =
            Self { file, name: String::new(), dependencies: Vec::new(), inherits_lints: false };
        let mut section = String::new();
        for (index, line) in file.text.lines().enumerate() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = header.trim_matches(['[', ']']).to_owned();
            } else if let Some((key, value)) = line.split_once('=')
                && !line.starts_with('#')
            {
                manifest.entry(&section, key.trim(), value.trim(), index + 1);
            }
        }
        manifest
    }

    fn entry(&mut self, section: &str, key: &str, value: &str, line: usize) {
        let last = section.rsplit('.').next().unwrap_or_default();
        if section == "package" && key == "name" {
            self.name = value.trim_matches('"').to_owned();
        } else if section == "lints" && key == "workspace" {
            self.inherits_lints = value == "true";
        } else if last.ends_with("dependencies") {
            let (name, attribute) = key.split_once('.').unwrap_or((key, ""));
            let inherited = attribute == "workspace"
                || (value.starts_with('{') && value.replace(' ', "").contains("workspace=true"));
            self.dependencies.push(Dependency { line, name: name.to_owned(), inherited });
        } else if section.contains("dependencies.") && matches!(key, "version" | "path" | "git") {
            self.dependencies.push(Dependency { line, name: last.to_owned(), inherited: false });
        } else if section.contains("dependencies.") && key == "workspace" {
            self.dependencies.push(Dependency { line, name: last.to_owned(), inherited: true });
        }
    }

    fn folder(&self) -> &str {
        self.file.path.trim_end_matches("/Cargo.toml")
    }

    fn top(&self) -> &str {
        self.folder().split('/').next().unwrap_or_default()
    }
}

fn arrows(manifest: &Manifest<'_>, all: &[Manifest<'_>], findings: &mut Vec<Finding>) {
    // A line of a folder's own comes before that of the folder above it.
    let allowed = ALLOWED
        .iter()
        .find(|(place, _)| [manifest.folder(), manifest.top()].contains(place))
        .map(|(_, allowed)| *allowed);
    for dependency in &manifest.dependencies {
        let Some(target) = all.iter().find(|other| other.name == dependency.name) else {
            continue;
        };
        let inside = target.folder().starts_with(&format!("{}/", manifest.folder()))
            || target.folder() == manifest.folder();
        if !inside && !allowed.unwrap_or_default().contains(&target.top()) {
            let what = format!("{} must not depend on {}", manifest.name, target.name);
            findings.push(ARROWS.broken(manifest.file, dependency.line, what));
        }
    }
}

fn foreign(manifest: &Manifest<'_>, findings: &mut Vec<Finding>) {
    let banned = BANNED.iter().find(|(path, _)| *path == manifest.file.path);
    for dependency in &manifest.dependencies {
        if banned.is_some_and(|(_, names)| names.contains(&dependency.name.as_str())) {
            let what = format!("{} must do without {}", manifest.name, dependency.name);
            findings.push(FOREIGN.broken(manifest.file, dependency.line, what));
        }
    }
}

fn inherited(manifest: &Manifest<'_>, findings: &mut Vec<Finding>) {
    if !manifest.inherits_lints {
        findings.push(INHERITED.broken(
            manifest.file,
            1,
            "the workspace's lints are not inherited",
        ));
    }
    for dependency in manifest.dependencies.iter().filter(|dependency| !dependency.inherited) {
        let what = format!("`{}` says its own version or place", dependency.name);
        findings.push(INHERITED.broken(manifest.file, dependency.line, what));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    const BUS: (&str, &str) =
        ("bus/Cargo.toml", "[package]\nname = \"c-bus\"\n[lints]\nworkspace = true\n");
    const NOTIFY: (&str, &str) = (
        "services/notify/Cargo.toml",
        "[package]\nname = \"c-notify\"\n[lints]\nworkspace = true\n[dependencies]\nc-bus.workspace = true\nsqlx = { workspace = true, features = [\"any\"] }\n",
    );

    fn found(path: &str, dependencies: &str) -> Vec<String> {
        let text = format!(
            "[package]\nname = \"c-new\"\n[lints]\nworkspace = true\n[dependencies]\n{dependencies}\n"
        );
        places(&check(&Tree::sample(&[BUS, NOTIFY, (path, &text)])))
    }

    #[test]
    fn arrows_go_one_way() {
        assert!(found("campana/Cargo.toml", "c-notify.workspace = true").is_empty());
        assert!(found("services/chat/Cargo.toml", "c-bus.workspace = true").is_empty());
        for path in [
            "services/chat/Cargo.toml",
            "ws-edge/Cargo.toml",
            "loadtest/Cargo.toml",
            "tests/Cargo.toml",
        ] {
            assert_eq!(found(path, "c-notify.workspace = true"), [format!("{path}:6")]);
        }
        assert_eq!(found("loadtest/Cargo.toml", "c-bus.workspace = true").len(), 1);
        assert!(found("loadtest/floor/Cargo.toml", "c-bus.workspace = true").is_empty());
        assert_eq!(found("loadtest/floor/Cargo.toml", "c-notify.workspace = true").len(), 1);
        assert!(
            found("bus/sqlx/Cargo.toml", "c-bus.workspace = true\nsqlx.workspace = true")
                .is_empty()
        );
    }

    #[test]
    fn some_crates_do_without() {
        assert_eq!(found("ws-edge/Cargo.toml", "sqlx.workspace = true"), ["ws-edge/Cargo.toml:6"]);
        assert!(found("ws-edge/Cargo.toml", "axum.workspace = true").is_empty());
        assert_eq!(found("identity/Cargo.toml", "tokio.workspace = true").len(), 1);
    }

    #[test]
    fn versions_and_lints_are_inherited() {
        assert_eq!(found("ws-edge/Cargo.toml", "axum = \"1\""), ["ws-edge/Cargo.toml:6"]);
        assert_eq!(found("ws-edge/Cargo.toml", "axum = { version = \"1\" }").len(), 1);
        assert_eq!(found("ws-edge/Cargo.toml", "[dependencies.axum]\nversion = \"1\"").len(), 1);
        let bare = Tree::sample(&[("a/Cargo.toml", "[package]\nname = \"a\"\n")]);
        assert_eq!(places(&check(&bare)), ["a/Cargo.toml:1"]);
    }
}
