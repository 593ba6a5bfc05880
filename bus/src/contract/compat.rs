//! What a change of a schema does to readers and writers of the other side of it.
//! Reads: two JSON Schemas (draft 7 or 2020-12, as schemars writes them). Writes: a list of changes.
//! Never: calls a change additive that it does not understand.
//!
//! Messages outlive deployments, and old and new processes run side by side, so a change within one version must
//! be harmless in both directions: a new reader meets old messages, an old reader meets new ones.

mod nodes;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use nodes::{Node, choices, closed, required, resolve, types, variants};

/// Deeper than any message of ours; stops schemas that refer to themselves in ways the check does not follow.
const DEPTH_MAX: usize = 64;

/// Whether readers may notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// Nobody has to.
    Additive,
    /// Somebody may misread or refuse a message: needs a new version.
    Breaking,
}

/// One difference between two schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where: field names, `[]` for the items of a list, `*` for the values of a map, `(a)` for a variant.
    pub path: String,
    /// Whether it matters.
    pub impact: Impact,
    /// What, and for whom it is a problem.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{path}: {}", self.what)
    }
}

/// All differences that are more than words, breaking ones first.
#[must_use]
pub fn compare(old: &Value, new: &Value) -> Vec<Change> {
    let mut comparison =
        Comparison { old, new, seen: HashSet::new(), changes: Vec::new(), depth: 0 };
    comparison.schema("", old, new);
    let mut changes = comparison.changes;
    changes.sort_by(|a, b| b.impact.cmp(&a.impact).then_with(|| a.path.cmp(&b.path)));
    changes
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    /// Pairs of references on the way or done, since types may contain themselves.
    seen: HashSet<(String, String)>,
    changes: Vec<Change>,
    depth: usize,
}

impl<'a> Comparison<'a> {
    fn breaking(&mut self, path: &str, what: impl Into<String>) {
        self.add(path, Impact::Breaking, what);
    }

    fn add(&mut self, path: &str, impact: Impact, what: impl Into<String>) {
        self.changes.push(Change { path: path.to_owned(), impact, what: what.into() });
    }

    fn schema(&mut self, path: &str, old: &'a Value, new: &'a Value) {
        let (old, old_name) = resolve(self.old, old);
        let (new, new_name) = resolve(self.new, new);
        if let (Some(old_name), Some(new_name)) = (old_name, new_name)
            && !self.seen.insert((old_name, new_name))
        {
            return;
        }
        if self.depth >= DEPTH_MAX {
            return self.breaking(path, "nested too deeply to be compared");
        }
        self.depth += 1;
        match (Node::of(old), Node::of(new)) {
            (Node::Anything, Node::Anything) | (Node::Nothing, Node::Nothing) => {}
            (Node::Object(old), Node::Object(new)) => self.objects(path, old, new),
            (Node::Anything, _) => self.breaking(path, "anything was allowed, now it is not"),
            (_, Node::Anything) => {
                self.breaking(path, "anything is allowed now: readers so far expect a type");
            }
            _ => self.breaking(path, "the schema is another one"),
        }
        self.depth -= 1;
    }

    fn objects(&mut self, path: &str, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        match (choices(old), choices(new)) {
            (Some(before), Some(after)) => return self.choices(path, old, &before, &after),
            (None, Some(_)) => return self.breaking(path, "is now one of a few values"),
            (Some(_), None) => return self.breaking(path, "is no longer one of a few values"),
            (None, None) => {}
        }
        let (before, after) = (types(old), types(new));
        if before != after {
            let names = |types: BTreeSet<&str>| {
                let names: Vec<&str> = types.into_iter().collect();
                if names.is_empty() { "any type".to_owned() } else { names.join(" or ") }
            };
            return self
                .breaking(path, format!("the type was {}, is {}", names(before), names(after)));
        }
        self.fields(path, old, new);
        self.variants(path, old, new);
        self.items(path, old, new);
        self.map_values(path, old, new);
        self.keywords(path, old, new);
    }

    fn choices(
        &mut self,
        path: &str,
        old: &Map<String, Value>,
        before: &BTreeSet<String>,
        after: &BTreeSet<String>,
    ) {
        for value in before.difference(after) {
            self.breaking(path, format!("the value {value} is gone: old messages have it"));
        }
        for value in after.difference(before) {
            self.grown(path, old, &format!("the value {value}"));
        }
    }

    /// A reader that is generated from an enum refuses what it does not know, unless it says otherwise.
    fn grown(&mut self, path: &str, old: &Map<String, Value>, what: &str) {
        if old.get("x-open") == Some(&Value::Bool(true)) {
            self.add(path, Impact::Additive, format!("{what} is new"));
        } else {
            self.breaking(
                path,
                format!(
                    "{what} is new: readers so far refuse it (a type that is meant to grow has \
                     #[serde(other)] and #[schemars(extend(\"x-open\" = true))] from its first release on)"
                ),
            );
        }
    }

    fn fields(&mut self, path: &str, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        let members = |schema: &'a Map<String, Value>| {
            schema.get("properties").and_then(Value::as_object).map(|all| all.iter())
        };
        let before: BTreeMap<&String, &'a Value> = members(old).into_iter().flatten().collect();
        let after: BTreeMap<&String, &'a Value> = members(new).into_iter().flatten().collect();
        let (must_before, must_after) = (required(old), required(new));
        for (name, schema) in &before {
            let at = format!("{path}/{name}");
            let Some(changed) = after.get(name) else {
                self.breaking(
                    &at,
                    "the field is gone (or renamed): old messages and readers have it",
                );
                continue;
            };
            match (must_before.contains(name.as_str()), must_after.contains(name.as_str())) {
                (false, true) => {
                    self.breaking(&at, "the field is now required: old messages may lack it");
                }
                (true, false) => {
                    self.breaking(&at, "the field is now optional: readers so far require it");
                }
                _ => {}
            }
            self.schema(&at, schema, changed);
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            let at = format!("{path}/{name}");
            if must_after.contains(name.as_str()) {
                self.breaking(
                    &at,
                    "a new required field: old messages lack it (give it a default)",
                );
            } else if closed(old) {
                self.breaking(&at, "a new field where readers so far refuse unknown ones");
            } else {
                self.add(&at, Impact::Additive, "a new optional field");
            }
        }
    }

    fn variants(&mut self, path: &str, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        let before = variants(self.old, old);
        let after = variants(self.new, new);
        for (name, schema) in &before {
            let at = format!("{path}({name})");
            match after.get(name) {
                Some(changed) => self.schema(&at, schema, changed),
                None => self.breaking(&at, "the variant is gone: old messages have it"),
            }
        }
        for name in after.keys().filter(|name| !before.contains_key(*name)) {
            self.grown(&format!("{path}({name})"), old, "the variant");
        }
        match (
            old.get("allOf").and_then(Value::as_array),
            new.get("allOf").and_then(Value::as_array),
        ) {
            (Some(before), Some(after)) if before.len() == after.len() => {
                for (before, after) in before.iter().zip(after) {
                    self.schema(path, before, after);
                }
            }
            (None, None) => {}
            _ => self.breaking(path, "allOf has other parts"),
        }
    }

    fn items(&mut self, path: &str, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        for keyword in ["items", "prefixItems", "additionalItems"] {
            match (old.get(keyword), new.get(keyword)) {
                (Some(Value::Array(before)), Some(Value::Array(after))) => {
                    if before.len() != after.len() {
                        self.breaking(path, "the list has another number of places");
                    }
                    for (index, (before, after)) in before.iter().zip(after).enumerate() {
                        self.schema(&format!("{path}/{index}"), before, after);
                    }
                }
                (Some(before), Some(after)) => self.schema(&format!("{path}/[]"), before, after),
                (None, None) => {}
                _ => self.breaking(path, format!("`{keyword}` appeared or vanished")),
            }
        }
    }

    fn map_values(&mut self, path: &str, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        let allows = |schema: &Map<String, Value>| {
            schema.get("additionalProperties").is_none_or(|value| value == &Value::Bool(true))
        };
        match (old.get("additionalProperties"), new.get("additionalProperties")) {
            _ if allows(old) && allows(new) => {}
            _ if closed(old) && allows(new) => {
                self.add(path, Impact::Additive, "unknown fields are ignored now");
            }
            _ if closed(new) && !closed(old) => {
                self.breaking(path, "unknown fields are refused now: newer writers send some");
            }
            (Some(before), Some(after)) => self.schema(&format!("{path}/*"), before, after),
            _ => self.breaking(path, "the values of the map have another schema"),
        }
    }

    /// Everything that is no structure.
    fn keywords(&mut self, path: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for keyword in all {
            let (before, after) = (old.get(keyword), new.get(keyword));
            if before == after || nodes::is_handled(keyword) {
                continue;
            }
            let impact = nodes::keyword_impact(keyword, before, after);
            let shown = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
            let mut what = format!("`{keyword}` was {}, is {}", shown(before), shown(after));
            if keyword == "default" && impact == Impact::Breaking {
                what.push_str(": messages without the field mean something else now");
            }
            self.add(path, impact, what);
        }
    }
}

#[cfg(test)]
mod tests;
