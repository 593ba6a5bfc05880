//! Code that a page quotes is the code that the tests run.
//! Reads: `README.md`, the examples. Writes: nothing. Never: accepts a quote that is nearly right.

use super::tree::{Finding, Rule, Tree};

static QUOTES: Rule = Rule {
    name: "quotes",
    why: "a reader copies the quote, the tests run the file",
    fix: "paste the file between the fences again",
};

/// Page and the file that it quotes whole.
const QUOTED: [(&str, &str); 2] = [
    ("README.md", "bus/examples/audit_log.rs"),
    ("docs/guide-service.md", "bus/examples/testing_a_service.rs"),
];

/// Every rule of this module.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let missing = QUOTED.iter().filter_map(|(page, file)| {
        let (page, source) = (tree.get(page)?, tree.get(file)?);
        let quote = format!("```rust\n{}```\n", source.text);
        (!page.text.contains(&quote))
            .then(|| QUOTES.broken(page, 1, format!("`{file}` is not quoted as it is")))
    });
    missing.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tree::File;
    use super::*;

    fn tree(quoted: &str) -> Tree {
        let file = |path: &str, text: String| File::new(path, &text);
        Tree {
            files: vec![
                file("README.md", format!("# A\n\n```rust\n{quoted}```\n")),
                file("bus/examples/audit_log.rs", "//! A\nfn main() {}\n".to_owned()),
            ],
        }
    }

    #[test]
    fn only_the_file_itself_is_a_quote() {
        assert!(check(&tree("//! A\nfn main() {}\n")).is_empty());
        assert_eq!(check(&tree("//! A\nfn main() { }\n")).len(), 1);
    }
}
