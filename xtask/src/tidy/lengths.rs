//! Functions are short; the known long ones are listed and may only get shorter.
//! Reads: Rust code, `xtask/tidy/long-functions.txt`. Writes: nothing.
//! Never: counts what is outside the function's own lines; nested functions count for themselves too.

use super::rust_text::{RustText, is_word};
use super::tree::{File, Finding, Rule, Tree};

const FUNCTION_LINES_MAX: usize = 70;
const LIST: &str = "xtask/tidy/long-functions.txt";

static FUNCTION_LENGTH: Rule = Rule {
    name: "function-length",
    why: "a function that fits a screen fits a head",
    fix: "keep the control flow here and move the leaves into functions with names",
};
static RATCHET: Rule = Rule {
    name: "function-length",
    why: "the list of long functions may only shrink",
    fix: "lower the number in the list to the function's length, or remove the line",
};

/// A function and the lines it takes, from its `fn` to its closing brace.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = Vec::new();
    let list = tree.get(LIST);
    let entries = list.map(entries).unwrap_or_default();
    for (file, rust) in tree.rust() {
        for function in functions(&rust.code) {
            if function.lines <= FUNCTION_LINES_MAX || is_table(file, rust, function.line) {
                continue;
            }
            let entry =
                entries.iter().find(|entry| entry.path == file.path && entry.name == function.name);
            if let Some(entry) = entry.filter(|entry| entry.lines >= function.lines) {
                used.push((entry.line, function.lines));
                continue;
            }
            let Function { name, line, lines } = function;
            let what = format!("`{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}");
            findings.push(FUNCTION_LENGTH.broken(file, line, what));
        }
    }
    if let Some(list) = list {
        findings.extend(entries.iter().filter_map(|entry| stale(list, entry, &used)));
    }
    findings
}

/// Test code: a table of cases is read row by row, whatever its length.
fn is_table(file: &File, rust: &RustText, line: usize) -> bool {
    rust.is_test_line(line) || file.path.contains("tests/") || file.path.ends_with("/tests.rs")
}

/// An entry that allows more than is needed.
fn stale(list: &File, entry: &Entry, used: &[(usize, usize)]) -> Option<Finding> {
    let actual = used.iter().filter(|(line, _)| *line == entry.line).map(|(_, lines)| lines).max();
    let what = match actual {
        None => format!("`{}` in {} is not that long any more", entry.name, entry.path),
        Some(&lines) if lines < entry.lines => {
            format!("`{}` in {} has {lines} lines now", entry.name, entry.path)
        }
        Some(_) => return None,
    };
    Some(RATCHET.broken(list, entry.line, what))
}

struct Entry {
    line: usize,
    path: String,
    name: String,
    lines: usize,
}

/// Lines of `path function lines`; `#` begins a comment.
fn entries(list: &File) -> Vec<Entry> {
    let lines = list.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let mut words = line.split('#').next()?.split_whitespace();
            Some(Entry {
                line: index + 1,
                path: words.next()?.to_owned(),
                name: words.next()?.to_owned(),
                lines: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

fn functions(code: &[String]) -> Vec<Function> {
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        for (column, _) in line.match_indices("fn ") {
            if line[..column].chars().next_back().is_some_and(is_word) {
                continue;
            }
            let name: String =
                line[column + 3..].trim_start().chars().take_while(|&c| is_word(c)).collect();
            if !name.is_empty()
                && let Some(end) = body_end(code, index, column)
            {
                found.push(Function { name, line: index + 1, lines: end - index + 1 });
            }
        }
    }
    found
}

/// Index of the line with the body's closing brace; none for a declaration without a body.
fn body_end(code: &[String], first: usize, column: usize) -> Option<usize> {
    let (mut round, mut braces) = (0_i32, 0_i32);
    for (index, line) in code.iter().enumerate().skip(first) {
        let from = if index == first { column } else { 0 };
        for current in line[from..].chars() {
            match current {
                '(' | '[' => round += 1,
                ')' | ']' => round -= 1,
                ';' if round == 0 && braces == 0 => return None,
                '{' => braces += 1,
                '}' => {
                    braces -= 1;
                    if braces == 0 {
                        return Some(index);
                    }
                }
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tree::places;
    use super::*;

    fn long(name: &str, lines: usize) -> String {
        format!("fn {name}(\n) {{\n{}}}\n", "    let x = \"{\"; // }\n".repeat(lines - 3))
    }

    fn found(source: &str, list: &str) -> Vec<String> {
        places(&check(&Tree::sample(&[("a/src/x.rs", source), (LIST, list)])))
    }

    #[test]
    fn lines_are_counted_from_name_to_closing_brace() {
        let source = format!("trait T {{ fn a(x: [u8; 2]); }}\nimpl S {{\n{}}}", long("b", 9));
        let code = super::super::rust_text::RustText::of(&source).code;
        let expected = Function { name: "b".to_owned(), line: 3, lines: 9 };
        assert_eq!(functions(&code), [expected]);
    }

    #[test]
    fn long_functions_are_found_unless_listed() {
        assert!(found(&long("a", 70), "").is_empty());
        assert_eq!(found(&long("a", 71), ""), ["a/src/x.rs:1"]);
        assert!(found(&long("a", 71), "# known\na/src/x.rs a 71").is_empty());
        assert_eq!(found(&long("a", 72), "a/src/x.rs a 71").len(), 2);
    }

    #[test]
    fn the_list_only_shrinks() {
        let list = format!("{LIST}:1");
        assert_eq!(found(&long("a", 60), "a/src/x.rs a 71"), [list.as_str()]);
        assert_eq!(found(&long("a", 75), "a/src/x.rs a 80"), [list.as_str()]);
    }
}
