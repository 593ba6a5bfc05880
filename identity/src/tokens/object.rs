//! A JSON object read strictly: nothing twice, nothing too deep, and every wrong value is named.
//! Reads: bytes whose length the caller has bounded. Writes: nothing.
//! Never: recurses, or takes the first or last of two members with one name: another reader of the same token
//! might take the other (RFC 8725 §3.10 warns of such differences).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::TokenFault;

/// Deepest JSON in a token, its body included.
pub(super) const DEPTH_MAX: usize = 32;

/// Furthest time from 1970 in seconds: some 8.9 million years, exact in every number type.
const FAR: i64 = 1 << 48;

/// The members of one object as they stand in the text.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member is given twice"));
                    }
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'a> Object<'a> {
    /// The object that is the whole text.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, TokenFault> {
        if too_deep(text) {
            return Err(TokenFault::Body("JSON nested at most 32 deep"));
        }
        serde_json::from_slice(text)
            .map_err(|_| TokenFault::Body("a JSON object with no member given twice"))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn says(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A member that is there and not null.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|raw| raw.get() != "null")
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, raw)| (name.as_str(), *raw))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn typed<T: Deserialize<'a>>(
        &self,
        name: &str,
        path: &str,
        expected: &'static str,
    ) -> Result<Option<T>, TokenFault> {
        let parsed = self.get(name).map(|raw| serde_json::from_str(raw.get())).transpose();
        parsed.map_err(|_| TokenFault::claim(path.to_owned(), expected))
    }

    /// Whether it is there and true.
    pub(super) fn truth(&self, name: &'static str) -> Result<bool, TokenFault> {
        Ok(self.typed(name, name, "true or false")?.unwrap_or(false))
    }

    pub(super) fn text(&self, name: &str, path: &str) -> Result<Option<String>, TokenFault> {
        self.typed(name, path, "a text")
    }

    pub(super) fn texts(&self, name: &str, path: &str) -> Result<Vec<String>, TokenFault> {
        Ok(self.typed(name, path, "a list of texts")?.unwrap_or_default())
    }

    /// One text or a list of texts, as `aud` may be (RFC 7519 §4.1.3).
    pub(super) fn one_or_more(&self, name: &str) -> Result<Vec<String>, TokenFault> {
        const EXPECTED: &str = "a text or a list of texts";
        if self.get(name).is_some_and(|raw| raw.get().starts_with('"')) {
            return Ok(self.typed::<String>(name, name, EXPECTED)?.into_iter().collect());
        }
        Ok(self.typed(name, name, EXPECTED)?.unwrap_or_default())
    }

    pub(super) fn object(&self, name: &str, path: &str) -> Result<Object<'a>, TokenFault> {
        let object = self.typed(name, path, "an object with no member given twice")?;
        Ok(object.unwrap_or_default())
    }

    pub(super) fn objects(&self, name: &str, path: &str) -> Result<Vec<Object<'a>>, TokenFault> {
        let objects = self.typed(name, path, "a list of objects with no member given twice")?;
        Ok(objects.unwrap_or_default())
    }

    /// `{"value": true}`, and `{}` for false, as Centrifugo's overrides are written.
    pub(super) fn flag(&self, name: &str, path: &str) -> Result<Option<bool>, TokenFault> {
        const EXPECTED: &str = "an object like {\"value\": true}";
        let wrong = || TokenFault::claim(path.to_owned(), EXPECTED);
        let Some(flag) = self.typed::<Object<'_>>(name, path, EXPECTED)? else {
            return Ok(None);
        };
        let value = flag.typed("value", path, EXPECTED)?;
        if flag.members().any(|(name, _)| name != "value") {
            return Err(wrong());
        }
        Ok(Some(value.unwrap_or(false)))
    }

    /// A `NumericDate` (RFC 7519 §2): seconds since 1970, perhaps with a fraction, which is cut off.
    pub(super) fn seconds(&self, name: &'static str) -> Result<Option<i64>, TokenFault> {
        const EXPECTED: &str = "a number of seconds since 1970, at most 2^48 away";
        let Some(number) = self.typed::<serde_json::Number>(name, name, EXPECTED)? else {
            return Ok(None);
        };
        let whole = number.as_i64().or_else(|| {
            let float = number.as_f64()?.floor();
            #[expect(clippy::cast_possible_truncation, reason = "within 48 bits")]
            (float.abs() <= FAR as f64).then_some(float as i64)
        });
        let near = whole.filter(|at| (-FAR..=FAR).contains(at));
        near.ok_or(TokenFault::claim(name, EXPECTED)).map(Some)
    }

    /// JSON given plainly or, under another name, as base64; the latter wins if it is not empty.
    pub(super) fn json(
        &self,
        plain: &str,
        encoded: &str,
        path: &str,
    ) -> Result<Option<String>, TokenFault> {
        const EXPECTED: &str = "JSON, or JSON in padded base64 in its `b64` form";
        let wrong = || TokenFault::claim(path.to_owned(), EXPECTED);
        let text: Option<String> = self.typed(encoded, path, EXPECTED)?;
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(self.get(plain).map(|raw| single_line(raw.get())));
        };
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        if too_deep(&bytes) {
            return Err(wrong());
        }
        let raw: &RawValue = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        Ok(Some(single_line(raw.get())))
    }
}

/// A line break in JSON is white space between tokens; the protocol separates messages by it.
fn single_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// Whether brackets are open deeper than allowed; strings do not count. Whoever gets the JSON later may be
/// less careful than the parser here.
fn too_deep(text: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}
