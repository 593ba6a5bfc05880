//! Filling templates: minijinja with a work limit, an output limit and a small dialect.
//! Reads: template sources and the caller's data. Writes: nothing. Never: loads a file, follows an
//! include, reads a clock, or treats data as template text.
//!
//! A template is written by an operator, but a slip (or a hostile operator of one tenant) must not stop
//! the dispatcher for everyone: fuel bounds the steps, [`guard`] keeps out the constructs that grow values
//! without costing steps, every filter caps its result, and the output stops at [`OUTPUT_BYTES_MAX`].
//! A placeholder without a value is an error and not an empty text: half a message is worse than a
//! dead letter that says which placeholder was missing.

mod filters;
mod guard;

use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use sha2::{Digest, Sha256};

use crate::contracts::{Channel, Rendered};
use crate::plan::TemplateView;

/// Longest source of one placeholder text.
pub const SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Longest rendered text of one part.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Steps that one part may take; an ordinary e-mail takes a few hundred.
pub const FUEL: u64 = 50_000;

/// Why a template cannot be used or filled. The text names the part and the reason, never the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template part {part}: {reason}")]
pub struct RenderError {
    /// For example `email.html`.
    pub part: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A template whose parts are parsed once and filled many times.
#[derive(Clone, Debug)]
pub struct CompiledTemplate {
    /// The template's key.
    pub key: String,
    /// Over the sources: equal templates need not be parsed again.
    pub hash: [u8; 32],
    environment: Environment<'static>,
    channels: BTreeMap<Channel, Parts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    title: bool,
    text: bool,
    html: bool,
    url: bool,
    /// Whether any part mentions the recipient, so that it must be filled once for each.
    personal: bool,
}

/// What identifies the sources of a template.
#[must_use]
pub fn fingerprint(view: &TemplateView) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for (channel, part) in &view.channels {
        hasher.update(channel.as_str().as_bytes());
        for source in [&part.title, &part.text, &part.html, &part.url] {
            let source = source.as_deref();
            hasher.update(source.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
            hasher.update(source.unwrap_or_default().as_bytes());
        }
    }
    hasher.finalize().into()
}

impl CompiledTemplate {
    /// Parses every part. Also the gateway's check of a template that somebody wants to store.
    ///
    /// # Errors
    /// Names the part that does not parse or that leaves the dialect.
    pub fn compile(view: &TemplateView) -> Result<Self, RenderError> {
        let mut environment = BASE.clone();
        let mut channels = BTreeMap::new();
        for (channel, sources) in &view.channels {
            let mut add = |name: &str, source: &Option<String>| -> Result<bool, RenderError> {
                let Some(source) = source else {
                    return Ok(false);
                };
                let part = format!("{}.{name}", channel.as_str());
                if source.len() > SOURCE_BYTES_MAX {
                    return Err(RenderError {
                        part,
                        reason: format!("longer than {SOURCE_BYTES_MAX} bytes"),
                    });
                }
                guard::check(source)
                    .map_err(|reason| RenderError { part: part.clone(), reason })?;
                environment
                    .add_template_owned(part.clone(), source.clone())
                    .map_err(|error| RenderError { part, reason: describe(&error) })?;
                Ok(true)
            };
            let personal = [&sources.title, &sources.text, &sources.html, &sources.url]
                .iter()
                .any(|source| source.as_deref().is_some_and(|text| text.contains("recipient")));
            let parts = Parts {
                title: add("title", &sources.title)?,
                text: add("text", &sources.text)?,
                html: add("html", &sources.html)?,
                url: add("url", &sources.url)?,
                personal,
            };
            channels.insert(*channel, parts);
        }
        Ok(Self { key: view.key.clone(), hash: fingerprint(view), environment, channels })
    }

    /// The channels that this template has a text for.
    pub fn channels(&self) -> impl Iterator<Item = Channel> + '_ {
        self.channels.keys().copied()
    }

    /// Whether the text of this channel differs from recipient to recipient.
    #[must_use]
    pub fn is_personal(&self, channel: Channel) -> bool {
        self.channels.get(&channel).is_some_and(|parts| parts.personal)
    }

    /// Fills the parts of one channel; `None` if the template has no text for it.
    ///
    /// # Errors
    /// If a placeholder has no value, or a limit is reached.
    pub fn render(
        &self,
        channel: Channel,
        data: &serde_json::Map<String, serde_json::Value>,
        recipient: &str,
    ) -> Result<Option<Rendered>, RenderError> {
        let Some(parts) = self.channels.get(&channel) else {
            return Ok(None);
        };
        let context = context(data, recipient);
        let fill = |wanted: bool, name: &str| -> Result<Option<String>, RenderError> {
            if !wanted {
                return Ok(None);
            }
            self.fill(&format!("{}.{name}", channel.as_str()), &context).map(Some)
        };
        let title = fill(parts.title, "title")?.unwrap_or_default();
        Ok(Some(Rendered {
            // A title goes into headers and one-line places.
            title: title.split_whitespace().collect::<Vec<_>>().join(" "),
            text: fill(parts.text, "text")?.unwrap_or_default(),
            html: fill(parts.html, "html")?,
            url: fill(parts.url, "url")?
                .map(|url| url.trim().to_owned())
                .filter(|url| !url.is_empty()),
        }))
    }

    fn fill(&self, part: &str, context: &Value) -> Result<String, RenderError> {
        let failed = |reason: String| RenderError { part: part.to_owned(), reason };
        let template =
            self.environment.get_template(part).map_err(|error| failed(describe(&error)))?;
        let mut output = Capped { bytes: Vec::new() };
        template
            .render_captured_to(context.clone(), &mut output)
            .map_err(|error| failed(describe(&error)))?;
        String::from_utf8(output.bytes).map_err(|_| failed("the output is not text".to_owned()))
    }
}

/// The environment that all templates share; cloning it copies pointers only.
static BASE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(16);
    environment.set_auto_escape_callback(|name| {
        if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
    });
    environment.set_formatter(filters::print);
    filters::install(&mut environment);
    environment
});

fn context(data: &serde_json::Map<String, serde_json::Value>, recipient: &str) -> Value {
    let mut root: BTreeMap<String, Value> =
        data.iter().map(|(name, value)| (name.clone(), to_value(value))).collect();
    let own = BTreeMap::from([("id".to_owned(), Value::from(recipient))]);
    root.entry("recipient".to_owned()).or_insert_with(|| Value::from_object(own));
    Value::from_object(root)
}

fn to_value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => number.as_i64().map_or_else(
            || {
                number
                    .as_u64()
                    .map_or_else(|| Value::from(number.as_f64().unwrap_or_default()), Value::from)
            },
            Value::from,
        ),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            Value::from_object(items.iter().map(to_value).collect::<Vec<Value>>())
        }
        Json::Object(map) => Value::from_object(
            map.iter()
                .map(|(name, value)| (name.clone(), to_value(value)))
                .collect::<BTreeMap<_, _>>(),
        ),
    }
}

/// What an operator may read: the kind, the place and minijinja's own words; those quote the template,
/// not the data.
fn describe(error: &minijinja::Error) -> String {
    let place = error.line().map(|line| format!(" on line {line}")).unwrap_or_default();
    match error.kind() {
        ErrorKind::OutOfFuel => format!("takes more than {FUEL} steps{place}"),
        ErrorKind::WriteFailure => format!("the output is longer than {OUTPUT_BYTES_MAX} bytes"),
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}{place}"),
            None => format!("{kind}{place}"),
        },
    }
}

/// A writer that refuses to grow past the limit.
struct Capped {
    bytes: Vec<u8>,
}

impl io::Write for Capped {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + chunk.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("output limit"));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
