//! Changes of a file as the guide shows them: lines that stay, go and come.
//! Reads: its arguments. Writes: nothing. Never: guesses: what stays and goes must stand in the file exactly once.

use anyhow::{Result, bail, ensure};

/// The text with the change made. Parts of a change are divided by a line `@@`, and stand in the order of the file.
///
/// # Errors
/// If a part does not stand in the file, or more than once.
pub fn apply(text: &str, change: &str) -> Result<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut from = 0;
    for part in change.split("@@\n") {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for line in part.lines() {
            match line.split_at_checked(1) {
                Some(("-", gone)) => old.push(gone),
                Some(("+", come)) => new.push(come),
                Some((" ", stays)) => {
                    old.push(stays);
                    new.push(stays);
                }
                None => {
                    old.push("");
                    new.push("");
                }
                _ => bail!("a line of a change begins with a space, - or +: {line}"),
            }
        }
        ensure!(!old.is_empty(), "a change says where: it shows a line that stays");
        let mut places = (from..lines.len()).filter(|at| lines[*at..].starts_with(&old));
        let (first, second) = (places.next(), places.next());
        let Some(at) = first else { bail!("the file has no such lines (any more):\n{part}") };
        ensure!(second.is_none(), "these lines stand in the file more than once:\n{part}");
        from = at + new.len();
        lines.splice(at..at + old.len(), new);
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_made_in_order() {
        let made = apply("a\nb\n\nc\na\n", " a\n-b\n+B\n\n@@\n c\n+d\n").unwrap();
        assert_eq!(made, "a\nB\n\nc\nd\na\n");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert!(apply("a\n", "-b\n").is_err());
        assert!(apply("a\nx\na\n", " a\n+b\n").unwrap_err().to_string().contains("more than once"));
        assert!(apply("a\n", "+b\n").is_err());
    }
}
