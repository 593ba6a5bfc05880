//! One planted change a rule.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::contract::schema_of;

fn breaking(old: &Value, new: &Value) -> Vec<String> {
    let changes = compare(old, new);
    let only = changes.into_iter().filter(|change| change.impact == Impact::Breaking);
    only.map(|change| change.to_string()).collect()
}

fn object(fields: &Value, required: &Value) -> Value {
    json!({"type": "object", "properties": fields, "required": required})
}

fn base() -> Value {
    object(
        &json!({"order": {"type": "string"}, "cents": {"type": "integer", "format": "uint64", "minimum": 0},
            "note": {"type": ["string", "null"]}}),
        &json!(["order", "cents"]),
    )
}

/// The base with one place replaced (or removed with null).
fn planted(pointer: &str, value: Value) -> Value {
    let mut schema = base();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = schema.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    schema
}

#[test]
fn every_planted_breakage_is_found_and_told() {
    let cases = [
        ("/properties/note", json!(null), "/note: the field is gone"),
        ("/properties/order/type", json!("integer"), "/order: the type was string, is integer"),
        ("/properties/order/type", json!(["string", "null"]), "is null or string"),
        ("/properties/note/type", json!("string"), "/note: the type was null or string"),
        ("/properties/cents/format", json!("uint32"), "`format` was \"uint64\", is \"uint32\""),
        ("/properties/cents/minimum", json!(1), "`minimum` was 0, is 1"),
        ("/properties/cents/maximum", json!(9), "`maximum` was absent, is 9"),
        ("/properties/order/pattern", json!("^o"), "`pattern` was absent"),
        ("/properties/order/enum", json!(["a"]), "/order: is now one of a few values"),
        ("/required", json!(["order", "cents", "note"]), "/note: the field is now required"),
        ("/required", json!(["order"]), "/cents: the field is now optional"),
        ("/additionalProperties", json!(false), "/: unknown fields are refused now"),
        ("/type", json!("array"), "/: the type was object, is array"),
        ("/properties/order/contentEncoding", json!("base64"), "`contentEncoding` was absent"),
        ("/properties/order", json!(true), "/order: anything is allowed now"),
        ("/properties/order", json!({"title": "Order"}), "/order: anything is allowed now"),
        ("/properties/order", json!(false), "/order: the schema is another one"),
    ];
    for (pointer, value, expected) in cases {
        let said = breaking(&base(), &planted(pointer, value.clone()));
        assert_eq!(said.len(), 1, "{pointer} = {value}: {said:?}");
        assert!(said[0].contains(expected), "{pointer} = {value}: {said:?}");
    }
}

#[test]
fn a_new_required_field_breaks_and_a_rename_is_two_changes() {
    let mut schema = planted("/required", json!(["order", "cents", "currency"]));
    schema["properties"]["currency"] = json!({"type": "string"});
    assert!(breaking(&base(), &schema)[0].starts_with("/currency: a new required field"));
    let mut renamed = planted("/properties/note", json!(null));
    renamed["properties"]["remark"] = json!({"type": ["string", "null"]});
    assert!(breaking(&base(), &renamed)[0].contains("(or renamed)"));
}

#[test]
fn additive_changes_and_words_break_nobody() {
    let cases = [
        ("/properties/currency", json!({"type": "string", "default": "EUR"})),
        ("/properties/cents/minimum", json!(null)),
        ("/properties/cents/minimum", json!(-5)),
        ("/properties/order/description", json!("The order's number.")),
        ("/properties/note/default", json!("-")),
        ("/title", json!("Order")),
        ("/additionalProperties", json!(true)),
        ("/properties/order/deprecated", json!(true)),
    ];
    for (pointer, value) in cases {
        assert_eq!(breaking(&base(), &planted(pointer, value)), [""; 0], "{pointer}");
    }
    assert_eq!(compare(&base(), &base()), []);
    let words = planted("/properties/order/description", json!("x"));
    assert_eq!(compare(&base(), &words), [], "words are no change at all");
}

#[test]
fn closed_objects_cannot_grow() {
    let closed = planted("/additionalProperties", json!(false));
    let mut grown = closed.clone();
    grown["properties"]["currency"] = json!({"type": "string"});
    assert!(breaking(&closed, &grown)[0].contains("refuse unknown ones"));
}

#[test]
fn a_changed_default_changes_old_messages() {
    let old = planted("/properties/note/default", json!("a"));
    let new = planted("/properties/note/default", json!("b"));
    assert!(breaking(&old, &new)[0].contains("mean something else"));
}

#[test]
fn enumerations_neither_shrink_nor_grow_unless_open() {
    let values = |values: Value| json!({"type": "string", "enum": values});
    let (two, three) = (values(json!(["a", "b"])), values(json!(["a", "b", "c"])));
    assert!(breaking(&three, &two)[0].contains("\"c\" is gone"));
    assert!(breaking(&two, &three)[0].contains("\"c\" is new"));
    let described = json!({"oneOf": [{"type": "string", "enum": ["b"]},
        {"type": "string", "const": "a", "description": "The first."}]});
    assert_eq!(compare(&two, &described), [], "another way to write the same values");
    let mut open = two.clone();
    open["x-open"] = json!(true);
    assert_eq!(breaking(&open, &three), [""; 0]);
    assert!(!breaking(&three, &open).is_empty(), "an open one does not shrink either");
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema counts")]
enum Content {
    Template { key: String },
    Inline { title: String, next: Option<Box<Content>> },
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema counts")]
struct Message {
    /// What to say.
    content: Content,
    list: Vec<Content>,
    map: BTreeMap<String, u8>,
    pair: (String, u16),
    maybe: Option<Content>,
}

/// The schema of `Message` with a text in it replaced.
fn changed(from: &str, to: &str) -> Value {
    let text = schema_of::<Message>().to_value().to_string();
    assert!(text.contains(from), "{from} is not in {text}");
    serde_json::from_str(&text.replacen(from, to, 1)).unwrap()
}

#[test]
fn types_within_types_are_followed_once() {
    let old = schema_of::<Message>().to_value();
    assert_eq!(compare(&old, &old), []);
    let moved = json!(changed("definitions", "definitions"));
    assert_eq!(compare(&old, &moved), []);
    let text = old.to_string().replace("/definitions/Content", "/definitions/Words");
    let renamed = serde_json::from_str(&text.replace("\"Content\":", "\"Words\":")).unwrap();
    assert_eq!(compare(&old, &renamed), [], "the name of a Rust type does not travel");
    let title = breaking(
        &old,
        &changed("\"title\":{\"type\":\"string\"}", "\"title\":{\"type\":\"null\"}"),
    );
    assert_eq!(title.len(), 1, "{title:?}");
    assert!(title[0].starts_with("/content(kind=inline)/title: the type was"), "{title:?}");
    let variant = breaking(&old, &changed("\"template\"", "\"model\""));
    assert!(variant.iter().any(|what| what.contains("(kind=template): the variant is gone")));
    assert!(variant.iter().any(|what| what.contains("(kind=model): the variant is new")));
    let map = breaking(&old, &changed("\"uint8\"", "\"uint16\""));
    assert!(map[0].starts_with("/map/*: `format`"), "{map:?}");
    let pair = breaking(&old, &changed("\"uint16\"", "\"int16\""));
    assert!(pair[0].starts_with("/pair/1: `format`"), "{pair:?}");
}

#[test]
fn a_schema_that_turns_in_circles_ends() {
    let circle = json!({"$ref": "#/definitions/A", "definitions": {
        "A": {"$ref": "#/definitions/B"}, "B": {"$ref": "#/definitions/A"}}});
    let _ = compare(&circle, &circle);
    let deep = json!({"type": "array", "items": {"$ref": "#"}});
    assert_eq!(breaking(&deep, &deep), [""; 0]);
}
