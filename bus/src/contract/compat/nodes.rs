//! One node of a schema: what it refers to, allows and is called.
//! Reads: JSON Schemas. Writes: nothing. Never: compares; that is the module above.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Impact;

/// Words, not rules.
const ANNOTATIONS: [&str; 12] = [
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
    "x-open",
];
/// Compared as structure.
const STRUCTURE: [&str; 13] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "items",
    "oneOf",
    "prefixItems",
    "properties",
    "required",
    "type",
    "$ref",
];
/// Rules that may become looser: with a larger number, or with a smaller one.
const UPPER: [&str; 5] = ["exclusiveMaximum", "maxItems", "maxLength", "maxProperties", "maximum"];
const LOWER: [&str; 5] = ["exclusiveMinimum", "minItems", "minLength", "minProperties", "minimum"];

/// What kind of schema a node is.
pub enum Node<'a> {
    Anything,
    Nothing,
    Object(&'a Map<String, Value>),
}

impl<'a> Node<'a> {
    pub fn of(schema: &'a Value) -> Self {
        match schema {
            Value::Bool(false) => Self::Nothing,
            Value::Object(map) if map.keys().any(|key| !ANNOTATIONS.contains(&key.as_str())) => {
                Self::Object(map)
            }
            _ => Self::Anything,
        }
    }
}

/// The schema behind references, and the last reference. A lone `allOf` around one is how draft 7 adds words.
pub fn resolve<'a>(root: &'a Value, schema: &'a Value) -> (&'a Value, Option<String>) {
    let (mut schema, mut name) = (schema, None);
    for _ in 0..16 {
        let next = schema.get("$ref").and_then(Value::as_str).and_then(|reference| {
            let target = root.pointer(reference.strip_prefix('#')?)?;
            name = Some(reference.to_owned());
            Some(target)
        });
        let alone = || {
            let map = schema.as_object()?;
            let only = map.keys().all(|key| key == "allOf" || ANNOTATIONS.contains(&key.as_str()));
            map.get("allOf")?.as_array().filter(|all| only && all.len() == 1)?.first()
        };
        match next.or_else(alone) {
            Some(found) => schema = found,
            None => break,
        }
    }
    (schema, name)
}

/// The values of an enumeration, however it is written; `None` if the node is none.
pub fn choices(schema: &Map<String, Value>) -> Option<BTreeSet<String>> {
    if let Some(value) = schema.get("const") {
        return Some([value.to_string()].into());
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return Some(values.iter().map(Value::to_string).collect());
    }
    let branches = branches(schema)?;
    let mut all = BTreeSet::new();
    for branch in branches {
        all.extend(choices(branch.as_object()?)?);
    }
    Some(all)
}

fn branches(schema: &Map<String, Value>) -> Option<&Vec<Value>> {
    ["oneOf", "anyOf"].into_iter().find_map(|keyword| schema.get(keyword)?.as_array())
}

/// The alternatives of a node by a name that survives reordering and renaming of types.
pub fn variants<'a>(
    root: &'a Value,
    schema: &'a Map<String, Value>,
) -> BTreeMap<String, &'a Value> {
    let mut named = BTreeMap::new();
    for branch in branches(schema).into_iter().flatten() {
        let name = variant_name(root, branch);
        let mut unique = name.clone();
        let mut number = 2;
        while named.contains_key(&unique) {
            unique = format!("{name} #{number}");
            number += 1;
        }
        named.insert(unique, branch);
    }
    named
}

fn variant_name(root: &Value, branch: &Value) -> String {
    let (resolved, _) = resolve(root, branch);
    let Some(map) = resolved.as_object() else { return "any".to_owned() };
    if let Some(values) = choices(map) {
        return values.into_iter().collect::<Vec<_>>().join(", ");
    }
    let fields = map.get("properties").and_then(Value::as_object);
    // A tag is a field with one value; serde writes it for `tag = "…"`.
    let tags: Vec<String> = fields
        .into_iter()
        .flatten()
        .filter_map(|(name, schema)| {
            let values = choices(schema.as_object()?).filter(|values| values.len() == 1)?;
            Some(format!("{name}={}", values.into_iter().next()?.trim_matches('"')))
        })
        .collect();
    if !tags.is_empty() {
        return tags.join(", ");
    }
    // Without a tag, serde names a variant by the one field that holds it.
    let must = required(map);
    if let (Some(fields), [only]) = (fields, &must.iter().copied().collect::<Vec<_>>()[..])
        && fields.len() == 1
    {
        return (*only).to_owned();
    }
    let types = types(map);
    if types.is_empty() {
        "any".to_owned()
    } else {
        types.into_iter().collect::<Vec<_>>().join(" or ")
    }
}

/// The JSON types that a node allows; empty for all.
pub fn types(schema: &Map<String, Value>) -> BTreeSet<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => [one.as_str()].into(),
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

/// The fields that must be there.
pub fn required(schema: &Map<String, Value>) -> BTreeSet<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether readers refuse unknown fields.
pub fn closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
}

/// Whether a keyword is words, or is compared as structure.
pub fn is_handled(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword) || STRUCTURE.contains(&keyword)
}

/// What a changed rule does. Readers do not check bounds, so a looser one harms nobody.
pub fn keyword_impact(keyword: &str, before: Option<&Value>, after: Option<&Value>) -> Impact {
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    let looser = match (number(before), number(after)) {
        (Some(before), Some(after)) if UPPER.contains(&keyword) => after >= before,
        (Some(before), Some(after)) if LOWER.contains(&keyword) => after <= before,
        _ => {
            let bound = UPPER.contains(&keyword) || LOWER.contains(&keyword);
            let rule = bound || matches!(keyword, "pattern" | "uniqueItems" | "multipleOf");
            // A default that comes or goes is told by `required` where it matters.
            (rule && after.is_none())
                || (keyword == "default" && (before.is_none() || after.is_none()))
        }
    };
    if looser { Impact::Additive } else { Impact::Breaking }
}
