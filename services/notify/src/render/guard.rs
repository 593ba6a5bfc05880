//! The dialect check: which constructs a template may use.
//! Reads: one template source. Writes: nothing. Never: decides whether the source parses; minijinja does.
//!
//! Fuel counts steps, but some steps double a value: concatenation, literals that hold a value twice,
//! captured blocks, recursion. Forty doublings are a terabyte for forty steps. Notification texts need
//! none of that, so the dialect leaves them out: placeholders, filters, `if` and `for` remain.

/// How many `~` and `+` one source may hold: 2^8 times the longest value is still small.
const JOINS_MAX: usize = 8;
/// As [`super::filters`] installs them.
pub(super) const FILTERS: [&str; 16] = [
    "capitalize",
    "d",
    "default",
    "first",
    "int",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "round",
    "safe",
    "trim",
    "truncate",
    "upper",
    "e",
];
const STATEMENTS: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];

/// Says what the source uses that the dialect does not have.
pub(super) fn check(source: &str) -> Result<(), String> {
    let mut rest = source;
    let mut joins = 0;
    while let Some(at) = rest.find('{') {
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("{#") {
            rest = comment.find("#}").map_or("", |end| &comment[end + 2..]);
        } else if let Some(code) = rest.strip_prefix("{{") {
            rest = scan(code, "}}", &mut joins)?;
        } else if let Some(code) = rest.strip_prefix("{%") {
            check_statement(code)?;
            rest = scan(code, "%}", &mut joins)?;
        } else {
            rest = &rest[1..];
        }
    }
    Ok(())
}

fn check_statement(code: &str) -> Result<(), String> {
    let code = code.trim_start_matches(['-', '+']).trim_start();
    let word: String = code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if STATEMENTS.contains(&word.as_str()) {
        return Ok(());
    }
    Err(format!("the statement `{word}` is not available; there are if and for"))
}

/// State of the walk through one `{{ … }}` or `{% … %}`.
struct Walk {
    /// For each open bracket: whether a comma may stand in it.
    open: Vec<bool>,
    /// The last character that was not white space.
    last: char,
    /// The last word, if nothing but white space follows it.
    word: String,
    /// Whether the word is over.
    ended: bool,
    /// Whether a filter's name comes next.
    piped: bool,
    /// Between `for` and `in` a comma separates names.
    naming: bool,
}

/// Walks to the end of the code and returns what follows it.
fn scan<'a>(code: &'a str, end: &str, joins: &mut usize) -> Result<&'a str, String> {
    let mut walk = Walk {
        open: Vec::new(),
        last: ' ',
        word: String::new(),
        ended: false,
        piped: false,
        naming: false,
    };
    let mut characters = code.char_indices();
    while let Some((at, c)) = characters.next() {
        if code[at..].starts_with(end) {
            check_filter(&mut walk)?;
            return Ok(&code[at + end.len()..]);
        }
        if c == '"' || c == '\'' {
            skip_text(c, &mut characters);
            walk.last = c;
            walk.word.clear();
            continue;
        }
        step(&mut walk, c, joins)?;
    }
    // Not closed: minijinja reports that better.
    Ok("")
}

fn skip_text(quote: char, characters: &mut std::str::CharIndices<'_>) {
    while let Some((_, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if c == quote {
            return;
        }
    }
}

fn step(walk: &mut Walk, c: char, joins: &mut usize) -> Result<(), String> {
    if c.is_alphanumeric() || c == '_' {
        if std::mem::take(&mut walk.ended) {
            walk.word.clear();
        }
        walk.word.push(c);
        walk.last = c;
        return Ok(());
    }
    check_filter(walk)?;
    match walk.word.as_str() {
        "for" => walk.naming = true,
        "in" => walk.naming = false,
        "recursive" => return Err("loops cannot be recursive".to_owned()),
        _ => {}
    }
    let after_word = !walk.word.is_empty()
        && !matches!(
            walk.word.as_str(),
            "in" | "if" | "elif" | "else" | "and" | "or" | "not" | "is"
        );
    let after_value = after_word || matches!(walk.last, ')' | ']' | '"' | '\'');
    match c {
        _ if c.is_whitespace() => {
            walk.ended = true;
            return Ok(());
        }
        '{' => return Err("literal objects are not available".to_owned()),
        '[' if !after_value => return Err("literal lists are not available".to_owned()),
        '[' => walk.open.push(false),
        '(' => walk.open.push(after_value),
        ')' | ']' => {
            walk.open.pop();
        }
        ',' if !walk.open.last().copied().unwrap_or(walk.naming) => {
            return Err("a comma stands only between arguments".to_owned());
        }
        '|' => walk.piped = true,
        '*' => return Err("`*` is not available".to_owned()),
        '~' | '+' => {
            *joins += 1;
            if *joins > JOINS_MAX {
                return Err(format!("more than {JOINS_MAX} concatenations"));
            }
        }
        _ => {}
    }
    walk.last = c;
    walk.word.clear();
    Ok(())
}

/// An unknown filter would only be found when a message is sent.
fn check_filter(walk: &mut Walk) -> Result<(), String> {
    if walk.word.is_empty() || !std::mem::take(&mut walk.piped) {
        return Ok(());
    }
    if FILTERS.contains(&walk.word.as_str()) {
        return Ok(());
    }
    Err(format!("there is no filter {}; there are {}", walk.word, FILTERS.join(", ")))
}
