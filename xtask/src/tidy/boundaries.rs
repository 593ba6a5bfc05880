//! Which module may do what: roles, SQL, subjects, status rows, pure code, ambient things.
//! Reads: Rust code outside tests, `xtask/tidy/ambient.txt`. Writes: nothing.
//! Never: excuses a place in code; exceptions are listed in one file, each with its reason.

use super::rust_text::{RustText, crate_paths};
use super::tree::{File, Finding, Rule, Tree};

static ROLES: Rule = Rule {
    name: "roles",
    why: "roles meet on subjects, so that each may run as a process of its own",
    fix: "publish a message, or move what is shared beside the roles (contracts, store)",
};
static SQL: Rule = Rule {
    name: "sql",
    why: "all SQL of a service lies in its store, and that of the bus in bus/sqlx, where one suite runs it on every \
          engine",
    fix: "add a method to the store (or to campana-bus-sqlx) and call that",
};
static SUBJECTS: Rule = Rule {
    name: "subjects",
    why: "a subject that is put together elsewhere escapes the escaping, and a name becomes a wildcard",
    fix: "build or parse it with campana_bus::subjects",
};
static STATUS: Rule = Rule {
    name: "status-writer",
    why: "one writer of the status tables moves them forward only; a second one would race it",
    fix: "publish an outcome; the recorder writes it down",
};
static PURE: Rule = Rule {
    name: "pure",
    why: "decisions without I/O and clocks are tested in microseconds and never flake",
    fix: "take the value as a parameter, and act in the thin shell that calls this",
};
static AMBIENT: Rule = Rule {
    name: "ambient",
    why: "time, randomness and tasks that come from nowhere cannot be tested, nor stopped",
    fix: "use campana_bus::clock, campana_bus::ids or Lifecycle::spawn, or take it as a parameter",
};
static EXCEPTIONS: Rule =
    Rule { name: "ambient", why: "the list of exceptions may only shrink", fix: "remove the line" };

const SERVICE: &str = "services/notify/src";
const ROLE_NAMES: [&str; 4] = ["gateway", "dispatcher", "channels", "recorder"];
const AMBIENT_LIST: &str = "xtask/tidy/ambient.txt";

/// Every rule of this module.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, rust) in tree.product_rust().filter(|(file, _)| !file.is_under("xtask")) {
        roles(file, rust, &mut findings);
        sql(file, rust, &mut findings);
        subjects(file, rust, &mut findings);
        status_writer(file, rust, &mut findings);
        pure(file, rust, &mut findings);
    }
    ambient(tree, &mut findings);
    findings
}

/// The role that a file belongs to.
fn role_of(file: &File) -> Option<&'static str> {
    ROLE_NAMES.into_iter().find(|role| {
        file.is_under(&format!("{SERVICE}/{role}")) || file.path == format!("{SERVICE}/{role}.rs")
    })
}

fn roles(file: &File, rust: &RustText, findings: &mut Vec<Finding>) {
    let Some(own) = role_of(file) else { return };
    for (line, path) in crate_paths(&rust.code) {
        let module = path.split("::").nth(1).unwrap_or_default();
        if module != own && ROLE_NAMES.contains(&module) && !rust.is_test_line(line) {
            findings.push(ROLES.broken(file, line, format!("role {own} uses {path}")));
        }
    }
}

fn sql(file: &File, rust: &RustText, findings: &mut Vec<Finding>) {
    if file.is_under("bus/sqlx")
        || ["store", "migrations"].into_iter().any(|part| file.has_part(part))
    {
        return;
    }
    for (line, code) in rust.product_lines().filter(|(_, code)| has_word(code, "sqlx::")) {
        findings.push(SQL.broken(file, line, format!("`{}`", code.trim())));
    }
    for literal in rust.literals.iter().filter(|literal| is_sql(&literal.text)) {
        if !rust.is_test_line(literal.line) {
            findings.push(SQL.broken(file, literal.line, "a string with SQL"));
        }
    }
}

/// SQL keywords are upper case with us, so that prose is not taken for a statement.
fn is_sql(text: &str) -> bool {
    let has =
        |first: &str, second: &str| text.trim_start().starts_with(first) && text.contains(second);
    has("SELECT ", "FROM")
        || has("INSERT ", "INTO ")
        || has("DELETE ", "FROM ")
        || has("UPDATE ", "SET")
        || has("WITH ", "SELECT ")
        || has("CREATE ", "TABLE ")
        || has("PRAGMA ", "")
}

const SUBJECT_STARTS: [&str; 6] = ["notify.", "ch.", "live.", "dlq.", "_delay", "_retry"];

fn subjects(file: &File, rust: &RustText, findings: &mut Vec<Finding>) {
    let owners =
        ["bus/src/subjects", "bus/src/subjects.rs", "bus/src/topology", "bus/src/topology.rs"];
    if owners.into_iter().any(|owner| file.is_under(owner)) {
        return;
    }
    for literal in &rust.literals {
        let start = SUBJECT_STARTS.into_iter().find(|start| literal.text.starts_with(start));
        if start.is_some() && !rust.is_test_line(literal.line) {
            let what = format!("a subject in a string: \"{}\"", literal.text);
            findings.push(SUBJECTS.broken(file, literal.line, what));
        }
    }
}

fn status_writer(file: &File, rust: &RustText, findings: &mut Vec<Finding>) {
    if role_of(file) == Some("recorder") || file.has_part("store") || file.has_part("migrations") {
        return;
    }
    for (line, path) in crate_paths(&rust.code) {
        let writes = path == "crate::store::status" || path.starts_with("crate::store::status::");
        if writes && !rust.is_test_line(line) {
            findings.push(STATUS.broken(file, line, format!("uses {path}")));
        }
    }
}

const IMPURE: [&str; 10] = [
    "tokio::",
    "async fn",
    "async move",
    ".await",
    "SystemTime",
    "Instant::now",
    "clock::now",
    "rand::",
    "std::fs",
    "std::net",
];

fn pure(file: &File, rust: &RustText, findings: &mut Vec<Finding>) {
    let decides = file.has_part("plan") || file.has_part("session");
    if !decides || !(file.is_under("services") || file.is_under("ws-edge")) {
        return;
    }
    for (line, code) in rust.product_lines() {
        for word in IMPURE.into_iter().filter(|word| has_word(code, word)) {
            findings.push(PURE.broken(file, line, format!("`{word}` in a pure module")));
        }
    }
}

const AMBIENT_WORDS: [&str; 10] = [
    "tokio::spawn(",
    "task::spawn(",
    "SystemTime::now",
    "Instant::now",
    "OffsetDateTime::now_utc",
    "rand::rng(",
    "rand::random",
    "rand::thread_rng",
    "Uuid::now_v7",
    "Uuid::new_v4",
];

/// One line of the list: `path word reason…`; a path that ends with `/` stands for a folder.
struct Exception<'a> {
    line: usize,
    path: &'a str,
    word: &'a str,
    has_reason: bool,
}

fn ambient(tree: &Tree, findings: &mut Vec<Finding>) {
    let list = tree.get(AMBIENT_LIST);
    let exceptions = list.map(exceptions).unwrap_or_default();
    let mut used = vec![false; exceptions.len()];
    for (file, rust) in tree.product_rust() {
        for (line, code) in rust.product_lines() {
            let words = AMBIENT_WORDS.into_iter().filter(|word| has_word(code, word));
            for word in words.filter(|word| !is_testable_instant(word, code, rust)) {
                let allowed = exceptions.iter().position(|exception| exception.covers(file, word));
                match allowed {
                    Some(index) => used[index] = true,
                    None => findings.push(AMBIENT.broken(file, line, format!("`{word}`"))),
                }
            }
        }
    }
    let Some(list) = list else { return };
    for (exception, used) in exceptions.iter().zip(used) {
        let Exception { line, path, word, .. } = *exception;
        if !used {
            findings.push(EXCEPTIONS.broken(
                list,
                line,
                format!("{path} has no `{word}` any more"),
            ));
        } else if !exception.has_reason {
            findings.push(EXCEPTIONS.broken(list, line, "an exception without a reason"));
        }
    }
}

/// tokio's monotonic clock follows a test's paused time, so it may be read anywhere.
fn is_testable_instant(word: &str, code: &str, rust: &RustText) -> bool {
    word == "Instant::now"
        && (code.contains("tokio::time::Instant::now")
            || rust.code.iter().any(|line| {
                line.contains("use tokio::time::")
                    && line.split(|c: char| !c.is_alphanumeric()).any(|name| name == "Instant")
            }))
}

fn exceptions(list: &File) -> Vec<Exception<'_>> {
    let lines = list.text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines
        .filter_map(|(index, line)| {
            let mut words = line.split_whitespace();
            let (path, word) = (words.next()?, words.next()?);
            Some(Exception { line: index + 1, path, word, has_reason: words.next().is_some() })
        })
        .collect()
}

impl Exception<'_> {
    fn covers(&self, file: &File, word: &str) -> bool {
        let place = if self.path.ends_with('/') {
            file.is_under(self.path)
        } else {
            file.path == self.path
        };
        place && (self.word == "*" || word.starts_with(self.word))
    }
}

/// Whether the code has this word, not only as the end of a longer one.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        word.starts_with('.') || !before.is_some_and(super::rust_text::is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        places(&check(&Tree::sample(&[(path, text)])))
    }

    fn clean(path: &str, text: &str) {
        assert_eq!(found(path, text), [""; 0], "{text}");
    }

    fn one(path: &str, text: &str) {
        assert_eq!(found(path, text), [format!("{path}:1")], "{text}");
    }

    #[test]
    fn roles_do_not_import_roles() {
        let path = "services/notify/src/gateway/send.rs";
        one(path, "use crate::{contracts, recorder::Row};");
        one(path, "fn a() { crate::dispatcher::plan() }");
        clean(path, "use crate::gateway::problem; use crate::store::Store; // crate::recorder");
        clean("services/notify/src/lib.rs", "use crate::recorder::Recorder;");
        clean(path, "#[cfg(test)]\nmod tests { use crate::recorder::Row; }");
    }

    #[test]
    fn sql_stays_in_the_store() {
        let path = "services/notify/src/gateway/mod.rs";
        one(path, "let q = \"SELECT id FROM notifications\";");
        one(path, "use sqlx::Row;");
        clean(path, "let text = \"SELECT a channel\"; // SELECT a FROM b");
        clean("services/notify/src/store/keys.rs", "use sqlx::Row; f(\"DELETE FROM x\")");
        clean("services/notify/src/store.rs", "use sqlx::Row;");
        clean("bus/sqlx/src/inbox.rs", "use sqlx::Row; f(\"DELETE FROM campana_inbox\")");
        one("bus/src/inbox.rs", "use sqlx::Row;");
    }

    #[test]
    fn subjects_come_from_one_file() {
        one("ws-edge/src/hub.rs", "format!(\"live.ch.{x}\")");
        one("services/notify/src/x.rs", "let s = \"_delay.a\";");
        clean("bus/src/subjects.rs", "const A: &str = \"notify.request\";");
        clean("ws-edge/src/hub.rs", "#[cfg(test)]\nmod tests { const A: &str = \"ch.x\"; }");
        clean("tests/tests/it.rs", "const A: &str = \"dlq.x\";");
    }

    #[test]
    fn only_the_recorder_writes_status() {
        one("services/notify/src/gateway/get.rs", "use crate::store::{self, status::upsert};");
        clean("services/notify/src/recorder/mod.rs", "use crate::store::status;");
        clean("services/notify/src/gateway/get.rs", "use crate::store::statuses;");
    }

    #[test]
    fn decisions_are_pure() {
        one("services/notify/src/dispatcher/plan.rs", "use tokio::sync::Mutex;");
        one("ws-edge/src/session.rs", "async fn run() {}");
        clean(
            "ws-edge/src/session.rs",
            "fn step(now: Micros) {} #[cfg(test)]\nfn t() { rand::x() }",
        );
        clean("loadtest/src/plan.rs", "use tokio::time;");
        clean("services/notify/src/explanation.rs", "use tokio::time;");
    }

    #[test]
    fn nothing_is_ambient() {
        one("bus/src/x.rs", "tokio::spawn(task)");
        one("bus/src/x.rs", "let t = std::time::Instant::now();");
        clean("bus/src/x.rs", "let t = tokio::time::Instant::now();");
        clean("bus/src/x.rs", "use tokio::time::{Duration, Instant}; let t = Instant::now();");
        clean("bus/src/x.rs", "my_tokio::spawn(task); tracker.spawn(task); // tokio::spawn(x)");
    }

    #[test]
    fn exceptions_are_listed_with_a_reason_and_only_shrink() {
        let source = ("bus/src/clock.rs", "SystemTime::now()");
        let with = |list| places(&check(&Tree::sample(&[source, (AMBIENT_LIST, list)])));
        assert!(with("bus/src/clock.rs SystemTime::now the one clock").is_empty());
        assert!(with("# folder\nbus/src/ * the clock is here").is_empty());
        let list = format!("{AMBIENT_LIST}:1");
        assert_eq!(with("bus/src/clock.rs SystemTime::now"), [list.as_str()]);
        assert_eq!(with("bus/src/clock.rs rand::rng why").len(), 2);
    }
}
