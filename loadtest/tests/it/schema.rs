//! run.json against its schema, and the schema against the committed file.

use std::path::Path;

use serde_json::Value;

use crate::fake::{Fake, Faults};
use crate::program::{program, sweep, texts};

async fn printed_schema() -> Value {
    let dir = tempfile::tempdir().unwrap();
    let output = program(dir.path()).arg("schema").output().await.unwrap();
    let (code, stdout, stderr) = texts(&output);
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_schema_is_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("run.schema.json");
    let committed: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(
        committed == printed_schema().await,
        "run.schema.json is old: campana-loadtest schema > loadtest/run.schema.json"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_run_is_as_its_schema_says() {
    let fake = Fake::start(Faults { refuse_every: Some((7, 503)), ..Faults::default() }).await;
    let done = sweep(&fake, &["--waves", "2,9", "--repeat", "2", "--threshold", "p99<=1000"]).await;
    let schema = printed_schema().await;
    let mut wrong = Vec::new();
    check(&schema, &schema, &done.run, "run", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The checker itself must see what is wrong.
    let mut spoilt = done.run.clone();
    spoilt["steps"][0]["classes"]["sent"] = Value::String("many".to_owned());
    spoilt.as_object_mut().unwrap().remove("id");
    check(&schema, &schema, &spoilt, "run", &mut wrong);
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
}

/// As much of JSON Schema as the generator uses: `$ref`, `type`, `properties`, `required`,
/// `additionalProperties`, `items`, `prefixItems`, `enum`, `const`, `anyOf`, `oneOf`.
fn check(root: &Value, schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        return check(root, target, value, at, wrong);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let fits = choices.iter().any(|choice| {
                let mut inner = Vec::new();
                check(root, choice, value, at, &mut inner);
                inner.is_empty()
            });
            if !fits {
                wrong.push(format!("{at}: fits none of {key}"));
            }
        }
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        wrong.push(format!("{at}: {value} is none of {values:?}"));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        wrong.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|name| is_a(name, value)) {
        wrong.push(format!("{at}: {value} is no {types:?}"));
        return;
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                wrong.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, member) in object {
            let own = schema["properties"].get(name);
            match own.or(schema.get("additionalProperties").filter(|more| more.is_object())) {
                Some(inner) => check(root, inner, member, &format!("{at}.{name}"), wrong),
                None if schema["properties"].is_object() => {
                    wrong.push(format!("{at}.{name} is not described"));
                }
                None => {}
            }
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        let inner = schema["prefixItems"].get(index).or_else(|| schema.get("items"));
        if let Some(inner) = inner {
            check(root, inner, item, &format!("{at}[{index}]"), wrong);
        }
    }
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    }
}
