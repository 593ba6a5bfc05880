//! Just enough JSON to write a file that a person can read in a diff.
//! Reads: values. Writes: text with two spaces of indentation, keys in the order they were given.
//! Never: reads JSON. Why: `xtask` is built before anything else on a fresh machine and has next to no
//! dependencies.

use std::fmt::Write;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Null,
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// `object! { "key": value, … }`, in this order.
macro_rules! object {
    ($($key:literal : $value:expr),* $(,)?) => {
        $crate::dashboards::json::Json::Object(
            vec![$(($key.to_owned(), $crate::dashboards::json::Json::from($value))),*],
        )
    };
}
pub(crate) use object;

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Json {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Json {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl Json {
    /// Adds a key at the end of an object; other values stay what they are.
    pub fn push(&mut self, key: &str, value: impl Into<Self>) {
        if let Self::Object(fields) = self {
            fields.push((key.to_owned(), value.into()));
        }
    }

    /// The text of a file, with a line feed at its end.
    pub fn file(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text.push('\n');
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Null => write!(text, "null"),
            Self::Bool(value) => write!(text, "{value}"),
            Self::Int(value) => write!(text, "{value}"),
            Self::Float(value) => write!(text, "{value}"),
            Self::Text(value) => return quote(text, value),
            Self::List(values) => {
                let items = values.iter().map(|value| (None, value));
                return many(text, depth, '[', ']', items);
            }
            Self::Object(fields) => {
                let items = fields.iter().map(|(key, value)| (Some(key.as_str()), value));
                return many(text, depth, '{', '}', items);
            }
        };
    }
}

fn many<'a>(
    text: &mut String,
    depth: usize,
    open: char,
    close: char,
    items: impl Iterator<Item = (Option<&'a str>, &'a Json)>,
) {
    text.push(open);
    let mut empty = true;
    for (key, value) in items {
        if !empty {
            text.push(',');
        }
        empty = false;
        new_line(text, depth + 1);
        if let Some(key) = key {
            quote(text, key);
            text.push_str(": ");
        }
        value.write(text, depth + 1);
    }
    if !empty {
        new_line(text, depth);
    }
    text.push(close);
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

fn quote(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_order_is_kept() {
        let mut value = object! { "b": "say \"hi\"\n\\ \u{1}", "a": vec![1_i64, 2], "e": Vec::<i64>::new(), "f": 0.5 };
        value.push("n", Json::Null);
        let expected = "{\n  \"b\": \"say \\\"hi\\\"\\n\\\\ \\u0001\",\n  \"a\": [\n    1,\n    2\n  ],\n  \"e\": [],\n  \"f\": 0.5,\n  \"n\": null\n}\n";
        assert_eq!(value.file(), expected);
    }
}
