//! `cargo xtask tidy`: the repository's own rules, checked over the working tree.
//! Reads: every text file of the repository. Writes: what it finds to stdout.
//! Never: changes a file; needs a build or the network. Why: a rule that no machine checks is a wish.

mod boundaries;
mod catalogues;
mod lengths;
mod manifests;
mod quotes;
pub mod rust_text;
mod text_rules;
pub mod tree;

use anyhow::{Result, bail};

use self::tree::{Finding, Tree};
use crate::repo;

/// Checks everything and prints each finding with its reason and remedy.
pub fn command() -> Result<()> {
    let tree = Tree::load(repo::root())?;
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing found", tree.files.len());
        return Ok(());
    }
    bail!("tidy found {} in {} files", count(&findings), tree.files.len())
}

/// Every rule, in order of path and line.
fn check(tree: &Tree) -> Vec<Finding> {
    let rules = [
        text_rules::check,
        lengths::check,
        manifests::check,
        boundaries::check,
        catalogues::check,
        crate::dashboards::lint::check,
        crate::dashboards::coverage::check,
        quotes::check,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(tree)).collect();
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    findings
}

fn count(findings: &[Finding]) -> String {
    let mut names: Vec<&str> = findings.iter().map(|finding| finding.rule.name).collect();
    names.sort_unstable();
    let mut parts = Vec::new();
    for group in names.chunk_by(|a, b| a == b) {
        parts.push(format!("{} {}", group.len(), group[0]));
    }
    format!("{} ({})", findings.len(), parts.join(", "))
}
