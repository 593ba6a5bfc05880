//! Patterns of channel names, as Centrifugo's `channels` method takes them.
//! Reads: a pattern and names. Writes: nothing. Never: takes more than a pattern's length times a name's in time.
//!
//! `*` and `**` stand for any text, `?` for one character, `[abc]`, `[a-z]` and `[!a-z]` for one of a class, `{a,b}`
//! for one of several texts, `\` takes the next character as it is.

/// Longest pattern in bytes; names have at most 255.
const PATTERN_BYTES_MAX: usize = 255;
/// Patterns that one with alternatives stands for.
const VARIANTS_MAX: usize = 64;

/// A pattern; an empty one takes every name.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    variants: Vec<Vec<Piece>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Any,
    One,
    Char(char),
    Class { ranges: Vec<(char, char)>, not: bool },
}

impl Glob {
    /// `None` for what is no pattern.
    pub(crate) fn parse(pattern: &str) -> Option<Self> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return None;
        }
        if pattern.is_empty() {
            return Some(Self { variants: vec![vec![Piece::Any]] });
        }
        let mut texts = vec![Vec::new()];
        let mut rest = pattern.chars();
        while let Some(next) = rest.next() {
            match next {
                '{' => texts = product(&texts, &alternatives(&mut rest)?)?,
                other => {
                    let piece = piece(other, &mut rest)?;
                    texts.iter_mut().for_each(|text| text.push(piece.clone()));
                }
            }
        }
        Some(Self { variants: texts })
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        self.variants.iter().any(|pattern| takes(pattern, &name))
    }
}

fn piece(first: char, rest: &mut std::str::Chars<'_>) -> Option<Piece> {
    Some(match first {
        '*' => Piece::Any,
        '?' => Piece::One,
        '[' => class(rest)?,
        '\\' => Piece::Char(rest.next()?),
        '}' | ']' => return None,
        other => Piece::Char(other),
    })
}

/// What stands between braces, which do not nest.
fn alternatives(rest: &mut std::str::Chars<'_>) -> Option<Vec<Vec<Piece>>> {
    let mut all = vec![Vec::new()];
    loop {
        match rest.next()? {
            '}' => return Some(all),
            ',' => all.push(Vec::new()),
            '{' => return None,
            other => {
                let piece = piece(other, rest)?;
                all.last_mut()?.push(piece);
            }
        }
    }
}

fn product(texts: &[Vec<Piece>], endings: &[Vec<Piece>]) -> Option<Vec<Vec<Piece>>> {
    if texts.len().checked_mul(endings.len())? > VARIANTS_MAX {
        return None;
    }
    let joined = texts.iter().flat_map(|text| {
        endings.iter().map(move |ending| text.iter().chain(ending).cloned().collect())
    });
    Some(joined.collect())
}

fn class(rest: &mut std::str::Chars<'_>) -> Option<Piece> {
    let inside: String = rest.by_ref().take_while(|one| *one != ']').collect();
    // Without its end the class took all that was left.
    let (not, inside) = match inside.strip_prefix(['!', '^']) {
        Some(inside) => (true, inside),
        None => (false, inside.as_str()),
    };
    let chars: Vec<char> = inside.chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(first) = chars.get(at).copied() {
        match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('-'), Some(last)) => {
                ranges.push((first, *last));
                at += 3;
            }
            _ => {
                ranges.push((first, first));
                at += 1;
            }
        }
    }
    (!ranges.is_empty()).then_some(Piece::Class { ranges, not })
}

/// Goes back to the last `*` only, which is enough.
fn takes(pattern: &[Piece], name: &[char]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some(Piece::Any) => {
                star = Some((at, seen));
                at += 1;
            }
            Some(piece) if fits(piece, name[seen]) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((any, from)) = star else {
                    return false;
                };
                star = Some((any, from + 1));
                at = any + 1;
                seen = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|piece| *piece == Piece::Any)
}

fn fits(piece: &Piece, one: char) -> bool {
    match piece {
        Piece::Any | Piece::One => true,
        Piece::Char(wanted) => *wanted == one,
        Piece::Class { ranges, not } => {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&one)) != *not
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_what_they_say() {
        for (pattern, name, takes) in [
            ("", "anything", true),
            ("*", "news:a", true),
            ("news:*", "news:a", true),
            ("news:*", "news", false),
            ("*:a", "news:a", true),
            ("n*s:?", "news:a", true),
            ("n*s:?", "news:ab", false),
            ("**x**", "axb", true),
            ("room:[0-9]", "room:7", true),
            ("room:[!0-9]", "room:7", false),
            ("room:[abc]", "room:b", true),
            ("{news,room}:*", "room:1", true),
            ("{news,room}:*", "rooms:1", false),
            ("a{,b}c", "ac", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("🔔?", "🔔x", true),
            ("a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(name), takes, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let bombs = "{a,b}".repeat(10);
        let long = "x".repeat(256);
        for bad in ["{a", "a}", "{a{b}}", "[]", "a\\", &bombs, &long] {
            assert!(Glob::parse(bad).is_none(), "{bad}");
        }
    }
}
