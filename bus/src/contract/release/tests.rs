//! A folder of released schemas through the life of an event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::contract::{Schema, UpcastError, schema_of};
use crate::event::Event;

macro_rules! version {
    ($module:ident, $version:literal, $($field:tt)*) => {
        mod $module {
            use super::*;

            #[derive(Serialize, Deserialize, JsonSchema)]
            pub struct Ordered { $($field)* }

            impl Event for Ordered {
                const SERVICE: &'static str = "shop";
                const NAME: &'static str = "ordered";
                const VERSION: u32 = $version;

                fn schema() -> Schema {
                    schema_of::<Self>()
                }

                fn upcast(_: u32, mut body: Value) -> Result<Value, UpcastError> {
                    if let Some(units) = body["units"].as_u64() {
                        body["cents"] = (units * 100).into();
                    }
                    Ok(body)
                }
            }
        }
    };
}

version!(first, 1, order: String, units: u64);
version!(grown, 1, order: String, units: u64, note: Option<String>);
version!(broken, 1, order: String, cents: u64);
version!(second, 2, order: String, cents: u64);
version!(fourth, 4, order: String);

fn of<E: Event>() -> Vec<ContractEntry> {
    vec![ContractEntry::event::<E>()]
}

fn problems(folder: &Path, entries: &[ContractEntry]) -> Vec<Problem> {
    check(folder, entries).unwrap().findings.into_iter().map(|finding| finding.problem).collect()
}

fn sample(folder: &Path, file: &str, value: &Value) {
    let samples = folder.join("shop/samples");
    std::fs::create_dir_all(&samples).unwrap();
    std::fs::write(samples.join(file), value.to_string()).unwrap();
}

#[test]
fn an_event_is_released_grows_and_gets_a_new_version() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("contracts");
    let found = problems(&folder, &of::<first::Ordered>());
    assert!(matches!(found[..], [Problem::Unreleased, Problem::NoSample(_)]), "{found:?}");
    sample(&folder, "ordered.v1.json", &json!({"order": "o-1", "units": 3}));
    assert_eq!(record(&folder, &of::<first::Ordered>()).unwrap().len(), 1);
    assert_eq!(problems(&folder, &of::<first::Ordered>()), []);
    assert_eq!(record(&folder, &of::<first::Ordered>()).unwrap(), [""; 0].map(PathBuf::from));

    let found = problems(&folder, &of::<grown::Ordered>());
    assert!(matches!(&found[..], [Problem::Grown(changes)] if changes[0].path == "/note"));
    record(&folder, &of::<grown::Ordered>()).unwrap();
    let found = problems(&folder, &of::<first::Ordered>());
    assert!(matches!(&found[..], [Problem::Breaking(changes)] if changes[0].path == "/note"));

    sample(&folder, "ordered.v2.json", &json!([{"order": "o-1", "cents": 300}]));
    let found = problems(&folder, &of::<second::Ordered>());
    assert_eq!(found, [Problem::Unreleased], "the sample of version 1 is brought up");
    record(&folder, &of::<second::Ordered>()).unwrap();
    assert_eq!(problems(&folder, &of::<second::Ordered>()), []);
    assert!(folder.join("shop/ordered.v1.json").is_file(), "old versions stay");
}

#[test]
fn what_breaks_readers_is_never_recorded() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("contracts");
    sample(&folder, "ordered.v1.json", &json!({"order": "o-1", "units": 3}));
    sample(&folder, "ordered.v1.old.json", &json!({"order": "o-1"}));
    record(&folder, &of::<first::Ordered>()).unwrap();
    let report = check(&folder, &of::<broken::Ordered>()).unwrap();
    let text = report.to_string();
    for part in [
        "shop.ordered.v1: breaks readers:",
        "/units: the field is gone",
        "/cents: a new required field",
        "raise the version",
        "ordered.v1.old.json cannot be decoded: missing field `cents`",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let refused = record(&folder, &of::<broken::Ordered>()).unwrap_err().to_string();
    assert!(refused.starts_with("nothing was recorded:\nshop.ordered.v1: breaks"), "{refused}");
    assert_eq!(load(&folder).unwrap()[0].schema, schema_of::<first::Ordered>().to_value());

    assert!(record(&folder, &[]).is_err());
    assert!(matches!(problems(&folder, &[])[..], [Problem::Vanished]));
    let skipped = judge(&load(&folder).unwrap(), &of::<fourth::Ordered>());
    assert_eq!(skipped.findings[0].problem, Problem::Skipped(1));
    let twice = [of::<first::Ordered>(), of::<first::Ordered>()].concat();
    assert_eq!(judge(&load(&folder).unwrap(), &twice).findings[0].problem, Problem::Doubled);
}

#[test]
fn versions_do_not_go_back() {
    let old = |version| Released {
        service: "shop".into(),
        name: "ordered".into(),
        version,
        schema: schema_of::<second::Ordered>().to_value(),
    };
    let report = judge(&[old(2), old(3)], &of::<first::Ordered>());
    assert_eq!(report.findings[0].problem, Problem::Backwards(3));
    // The older of two versions that a service still sends is compared with its own release.
    let both = judge(&[old(2), old(3)], &of::<second::Ordered>());
    assert!(both.is_clean(), "{both}");
}

#[test]
fn files_that_are_no_schemas_are_told() {
    let home = tempfile::tempdir().unwrap();
    let shop = home.path().join("shop");
    std::fs::create_dir_all(&shop).unwrap();
    std::fs::write(shop.join("ordered.v1.json"), "{").unwrap();
    assert!(matches!(load(home.path()), Err(ReleaseError::Json { .. })));
    std::fs::write(shop.join("ordered.v1.json"), "{}").unwrap();
    std::fs::write(shop.join("ordered.v0.json"), "{}").unwrap();
    assert!(matches!(load(home.path()), Err(ReleaseError::Name(_))));
}
