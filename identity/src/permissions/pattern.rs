//! Names with `*` in them.
//! Reads: text. Writes: nothing.
//! Never: backtracks: the parts between the stars are found one after the other, leftmost first, which is
//! right for `*` alone and costs one pass over the name.

use serde::{Deserialize, Serialize};

use super::CHANNEL_BYTES_MAX;

/// Longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = CHANNEL_BYTES_MAX;

/// Most stars of one pattern.
pub const PATTERN_STARS_MAX: usize = 8;

/// A name in which `*` stands for any text, also none and also across `:`; nothing else is special.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// What stands between the stars; one part for a name without.
    parts: Vec<String>,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty or too long.
    #[error("a pattern has 1 to {PATTERN_BYTES_MAX} bytes")]
    Length,
    /// Too many stars.
    #[error("a pattern has at most {PATTERN_STARS_MAX} `*`")]
    Stars,
}

impl Pattern {
    /// Takes a text in which `*` stands for any text.
    ///
    /// # Errors
    /// If it is empty or over a limit.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.matches('*').count() > PATTERN_STARS_MAX {
            return Err(PatternError::Stars);
        }
        Ok(Self { parts: checked(text)?.split('*').map(str::to_owned).collect() })
    }

    /// Takes a text that stands for itself alone, stars and all.
    ///
    /// # Errors
    /// If it is empty or over a limit.
    pub fn exact(text: &str) -> Result<Self, PatternError> {
        Ok(Self { parts: vec![checked(text)?.to_owned()] })
    }

    /// Whether the whole name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else {
            return false;
        };
        if self.parts.len() == 1 {
            return first == name;
        }
        let middle = &self.parts[1..self.parts.len() - 1];
        let inner =
            name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
        let found =
            |rest: &'_ str, part: &String| rest.find(part.as_str()).map(|at| at + part.len());
        inner.is_some_and(|mut rest| {
            middle.iter().all(|part| match found(rest, part) {
                Some(end) => {
                    rest = &rest[end..];
                    true
                }
                None => false,
            })
        })
    }
}

fn checked(text: &str) -> Result<&str, PatternError> {
    let fits = (1..=PATTERN_BYTES_MAX).contains(&text.len());
    if fits { Ok(text) } else { Err(PatternError::Length) }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.parts.join("*")
    }
}
