//! The filters and tests that templates may use, each with a bounded result.
//! Reads: template values. Writes: nothing. Never: turns a list or an object into text by itself, because
//! its size is not known before it is written.

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

/// Longest text that a filter may make.
const TEXT_BYTES_MAX: usize = super::OUTPUT_BYTES_MAX;

/// Adds everything that a template may call.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.add_filter("upper", |value: Value| {
        text(&value).and_then(|text| capped(&value, text.to_uppercase()))
    });
    environment.add_filter("lower", |value: Value| {
        text(&value).and_then(|text| capped(&value, text.to_lowercase()))
    });
    environment.add_filter("trim", |value: Value| {
        text(&value).and_then(|text| capped(&value, text.trim().to_owned()))
    });
    environment.add_filter("capitalize", |value: Value| {
        text(&value).and_then(|text| capped(&value, capitalize(&text)))
    });
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("join", join);
    environment.add_filter("replace", replace);
    environment.add_filter("truncate", truncate);
    environment.add_filter("length", |value: Value| {
        value.len().ok_or_else(|| refuse("only texts, lists and objects have a length"))
    });
    environment.add_filter("first", |value: Value| edge(&value, true));
    environment.add_filter("last", |value: Value| edge(&value, false));
    environment.add_filter("round", round);
    environment
        .add_filter("int", |value: Value| number(&value).map(|number| number.trunc() as i64));
    environment.add_filter("e", escape);
    environment.add_filter("safe", |value: Value| text(&value).map(Value::from_safe_string));
    environment.add_test("defined", |value: Value| !value.is_undefined());
    environment.add_test("none", |value: Value| value.is_none());
}

/// Prints scalars only: the text of a list has no bound, and is never meant in a message.
pub(super) fn print(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => Ok(()),
        ValueKind::String
        | ValueKind::Number
        | ValueKind::Bool
        | ValueKind::Undefined
        | ValueKind::Invalid => minijinja::escape_formatter(out, state, value),
        kind => Err(refuse(&format!(
            "a value of the kind {kind} has no text; use join or name a field"
        ))),
    }
}

fn refuse(why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.to_owned())
}

fn text(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(value.to_string()),
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        kind => Err(refuse(&format!("a value of the kind {kind} is not a text"))),
    }
}

fn number(value: &Value) -> Result<f64, Error> {
    text(value)?.trim().parse().map_err(|_| refuse("the value is not a number"))
}

/// Keeps the mark "safe" of the input, refuses what is too long.
fn capped(input: &Value, output: String) -> Result<Value, Error> {
    if output.len() > TEXT_BYTES_MAX {
        return Err(refuse("the text is too long"));
    }
    Ok(if input.is_safe() { Value::from_safe_string(output) } else { Value::from(output) })
}

fn capitalize(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + &rest.as_str().to_lowercase()
    })
}

fn default(value: Value, other: Option<Value>) -> Value {
    if value.is_undefined() || value.is_none() {
        other.unwrap_or_else(|| Value::from(""))
    } else {
        value
    }
}

fn join(value: Value, separator: Option<String>) -> Result<Value, Error> {
    let separator = separator.unwrap_or_default();
    let mut output = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        if index > 0 {
            output.push_str(&separator);
        }
        output.push_str(&text(&item)?);
        if output.len() > TEXT_BYTES_MAX {
            return Err(refuse("the text is too long"));
        }
    }
    Ok(Value::from(output))
}

fn replace(value: Value, from: String, to: String) -> Result<Value, Error> {
    let input = text(&value)?;
    let hits =
        if from.is_empty() { input.chars().count() + 1 } else { input.matches(&from).count() };
    if input.len().saturating_add(hits.saturating_mul(to.len())) > TEXT_BYTES_MAX {
        return Err(refuse("the text is too long"));
    }
    // The result mixes two texts, so it is no longer marked safe.
    Ok(Value::from(input.replace(&from, &to)))
}

fn truncate(value: Value, length: usize) -> Result<Value, Error> {
    let input = text(&value)?;
    if input.chars().count() <= length {
        return Ok(value);
    }
    let mut output: String = input.chars().take(length.saturating_sub(1)).collect();
    output.push('…');
    Ok(Value::from(output))
}

/// For a text part that is shown as HTML somewhere; an HTML part escapes by itself.
fn escape(value: Value) -> Result<Value, Error> {
    if value.is_safe() {
        return Ok(value);
    }
    let input = text(&value)?;
    let mut output = String::with_capacity(input.len());
    for c in input.chars() {
        match c {
            '<' => output.push_str("&lt;"),
            '>' => output.push_str("&gt;"),
            '&' => output.push_str("&amp;"),
            '"' => output.push_str("&quot;"),
            '\'' => output.push_str("&#x27;"),
            other => output.push(other),
        }
    }
    capped(&Value::from_safe_string(String::new()), output)
}

fn edge(value: &Value, first: bool) -> Result<Value, Error> {
    let mut items = value.try_iter()?;
    Ok(if first { items.next() } else { items.last() }.unwrap_or(Value::UNDEFINED))
}

fn round(value: Value, digits: Option<u32>) -> Result<Value, Error> {
    let number = number(&value)?;
    let digits = digits.unwrap_or(0).min(12) as usize;
    Ok(Value::from(format!("{number:.digits$}")))
}
