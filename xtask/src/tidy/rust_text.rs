//! Rust source as rules need it: without comments, without the insides of strings, test code marked.
//! Reads: text. Writes: nothing. Never: fails; text that is no Rust gives useless but harmless lines.
//! Why not a parser: the rules ask for words and braces, and this package has to build in seconds.

/// A string literal and the line it starts on (1-based).
#[derive(Debug, PartialEq, Eq)]
pub struct Literal {
    pub line: usize,
    pub text: String,
}

/// One source file, taken apart. All vectors of lines are as long as the file.
pub struct RustText {
    /// No comments, strings emptied: what is left are words and punctuation.
    pub code: Vec<String>,
    /// Every string literal outside comments.
    pub literals: Vec<Literal>,
    /// Whether the line belongs to an item under `#[cfg(test)]` or `#[test]`.
    pub in_test: Vec<bool>,
    /// Modules declared as `#[cfg(test)] mod name;`: their files are test code as well.
    pub test_modules: Vec<String>,
}

impl RustText {
    pub fn of(text: &str) -> Self {
        let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1, ..Lexer::default() };
        lexer.run();
        let code: Vec<String> = lexer.code.split('\n').map(str::to_owned).collect();
        let mut in_test = vec![false; code.len()];
        let mut test_modules = Vec::new();
        for region in test_regions(&code) {
            let item = code[region.clone()].join(" ");
            if let Some(name) = declared_module(&item) {
                test_modules.push(name);
            }
            in_test[region].fill(true);
        }
        Self { code, literals: lexer.literals, in_test, test_modules }
    }

    /// Whether the 1-based line is test code.
    pub fn is_test_line(&self, line: usize) -> bool {
        line.checked_sub(1).and_then(|index| self.in_test.get(index)).copied().unwrap_or(false)
    }

    /// Lines of code outside tests, 1-based.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.in_test).enumerate();
        lines.filter(|(_, (_, test))| !**test).map(|(index, (line, _))| (index + 1, line.as_str()))
    }
}

#[derive(Default)]
struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    code: String,
    literals: Vec<Literal>,
}

impl Lexer {
    fn run(&mut self) {
        while let Some(current) = self.peek(0) {
            match current {
                '/' if self.peek(1) == Some('/') => self.skip_line_comment(),
                '/' if self.peek(1) == Some('*') => self.skip_block_comment(),
                '"' => self.string(0, false),
                'r' | 'b' | 'c' if !self.after_word() => self.prefixed(),
                '\'' => self.quote(),
                other => self.keep(other),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn after_word(&self) -> bool {
        self.code.chars().next_back().is_some_and(is_word)
    }

    fn keep(&mut self, current: char) {
        self.code.push(current);
        self.advance();
    }

    /// Moves on by one character; line ends stay so that line numbers hold.
    fn drop_one(&mut self) {
        if self.peek(0) == Some('\n') {
            self.code.push('\n');
        }
        self.advance();
    }

    fn advance(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn skip_line_comment(&mut self) {
        while self.peek(0).is_some_and(|current| current != '\n') {
            self.at += 1;
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(current) = self.peek(0) {
            match (current, self.peek(1)) {
                ('/', Some('*')) => {
                    depth += 1;
                    self.at += 2;
                }
                ('*', Some('/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.drop_one(),
            }
        }
    }

    /// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`, or just a word that starts with such a letter.
    fn prefixed(&mut self) {
        let mut ahead = 1;
        let mut raw = self.peek(0) == Some('r');
        if !raw && self.peek(1) == Some('r') {
            raw = true;
            ahead = 2;
        }
        let mut hashes = 0;
        while raw && self.peek(ahead + hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(ahead + hashes) == Some('"') {
            self.at += ahead + hashes;
            self.string(hashes, raw);
        } else {
            let first = self.chars[self.at];
            self.keep(first);
        }
    }

    /// At the opening quote; keeps two quotes in the code and the content as a literal.
    fn string(&mut self, hashes: usize, raw: bool) {
        let line = self.line;
        let mut text = String::new();
        self.code.push('"');
        self.at += 1;
        while let Some(current) = self.peek(0) {
            if current == '\\' && !raw {
                text.push(current);
                text.extend(self.peek(1));
                self.drop_one();
                self.drop_one();
            } else if current == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += 1 + hashes;
                break;
            } else {
                text.push(current);
                self.drop_one();
            }
        }
        self.code.push('"');
        self.literals.push(Literal { line, text });
    }

    /// A character literal disappears, a lifetime stays.
    fn quote(&mut self) {
        let literal_length = match (self.peek(1), self.peek(2)) {
            (Some('\\'), _) => (3..12).find(|&ahead| self.peek(ahead) == Some('\'')),
            (Some(_), Some('\'')) => Some(2),
            _ => None,
        };
        match literal_length {
            Some(length) => {
                self.code.push_str("''");
                self.at += length + 1;
            }
            None => self.keep('\''),
        }
    }
}

pub fn is_word(current: char) -> bool {
    current.is_alphanumeric() || current == '_'
}

/// Ranges of line indexes of items that exist only in tests.
fn test_regions(code: &[String]) -> Vec<std::ops::Range<usize>> {
    let mut regions = Vec::new();
    for (index, line) in code.iter().enumerate() {
        if let Some(column) = test_attribute_end(line) {
            regions.push(index..item_end(code, index, column) + 1);
        } else if line.trim_start().starts_with("#![cfg(test)]") {
            regions.push(0..code.len());
        }
    }
    regions
}

/// Where a test attribute on this line ends, in bytes.
fn test_attribute_end(line: &str) -> Option<usize> {
    const STARTS: [&str; 5] =
        ["#[cfg(test)]", "#[cfg(all(test,", "#[cfg(any(test,", "#[test]", "#[tokio::test"];
    let start = STARTS.iter().find_map(|attribute| line.find(attribute))?;
    line[start..].find(']').map(|end| start + end + 1)
}

/// Index of the line where the item that follows ends: its closing brace, or its semicolon.
fn item_end(code: &[String], first: usize, column: usize) -> usize {
    let (mut round, mut braces) = (0_i32, 0_i32);
    for (index, line) in code.iter().enumerate().skip(first) {
        let from = if index == first { column } else { 0 };
        for current in line[from..].chars() {
            match current {
                '(' | '[' => round += 1,
                ')' | ']' => round -= 1,
                '{' => braces += 1,
                '}' => {
                    braces -= 1;
                    if braces == 0 && round == 0 {
                        return index;
                    }
                }
                ';' if braces == 0 && round == 0 => return index,
                _ => {}
            }
        }
    }
    code.len() - 1
}

/// The name in `mod name;`.
fn declared_module(item: &str) -> Option<String> {
    let (_, rest) = item.split_once("mod ")?;
    let (name, _) = rest.split_once(';')?;
    let name = name.trim();
    (!name.is_empty() && name.chars().all(is_word)).then(|| name.to_owned())
}

/// Every path that starts at `crate::`, groups taken apart, with its 1-based line.
pub fn crate_paths(code: &[String]) -> Vec<(usize, String)> {
    let text = code.join("\n");
    let mut found = Vec::new();
    for (start, _) in text.match_indices("crate::") {
        if text[..start].chars().next_back().is_some_and(|before| is_word(before) || before == ':')
        {
            continue;
        }
        let line = text[..start].matches('\n').count() + 1;
        expand(&text[start + "crate::".len()..], "crate", line, &mut found);
    }
    found
}

/// Reads one path, or a group of paths in braces, and returns how many bytes it took.
fn expand(text: &str, prefix: &str, line: usize, found: &mut Vec<(usize, String)>) -> usize {
    if text.starts_with('{') {
        let mut at = 1;
        let mut line = line;
        while at < text.len() && !text[at..].starts_with('}') {
            let skipped = text[at..].len()
                - text[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
            line += text[at..at + skipped].matches('\n').count();
            at += skipped;
            if text[at..].starts_with('}') {
                break;
            }
            // A character that is neither path nor separator is passed over.
            let step = text[at..].chars().next().map_or(1, char::len_utf8);
            at += expand(&text[at..], prefix, line, found).max(step);
        }
        return at + 1;
    }
    let name: String = text.chars().take_while(|&c| is_word(c) || c == '*').collect();
    if name.is_empty() {
        return 0;
    }
    let path = format!("{prefix}::{name}");
    let rest = &text[name.len()..];
    if let Some(deeper) = rest.strip_prefix("::") {
        return name.len() + 2 + expand(deeper, &path, line, found);
    }
    found.push((line, path));
    name.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        RustText::of(text).code.join("\n")
    }

    #[test]
    fn comments_and_strings_are_emptied_and_lines_kept() {
        assert_eq!(code("a /* x /* y */\n z */ b // c\nd"), "a \n b \nd");
        assert_eq!(code(r#"f("a \" // b", 'x', '\'', '\u{1F600}')"#), r#"f("", '', '', '')"#);
        assert_eq!(code("r#\"one\n\"two\"#; br\"x\"; rest"), "\"\n\"; \"\"; rest");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("let r#type = bar; for r in c {}"), "let r#type = bar; for r in c {}");
    }

    #[test]
    fn literals_know_their_line() {
        let text = RustText::of("a\n\"one\"; // \"no\"\nb(r#\"two\"#)");
        let expected = [(2, "one"), (3, "two")];
        let found: Vec<_> = text.literals.iter().map(|l| (l.line, l.text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn test_items_are_marked() {
        let text = RustText::of(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod fakes;\nfn d() {}",
        );
        assert_eq!(text.in_test, [false, true, true, true, true, false, true, true, false]);
        assert_eq!(text.test_modules, ["fakes"]);
    }

    #[test]
    fn paths_are_expanded() {
        let text = RustText::of(
            "use crate::{a::B, c::{d, e::F},\n  store::status};\nlet x = crate::g::h(); $crate::i; mycrate::no::p",
        );
        let found = crate_paths(&text.code);
        let expected = [
            (1, "crate::a::B"),
            (1, "crate::c::d"),
            (1, "crate::c::e::F"),
            (2, "crate::store::status"),
            (3, "crate::g::h"),
            (3, "crate::i"),
        ];
        let found: Vec<_> = found.iter().map(|(line, path)| (*line, path.as_str())).collect();
        assert_eq!(found, expected);
    }
}
