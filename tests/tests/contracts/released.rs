//! `campana contracts`: the committed schemas are those of the code, and a planted breakage is told.

use std::path::{Path, PathBuf};
use std::process::Command;

use campana_tests::command;
use campana_tests::command::Ended;
use serde_json::{Value, json};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn contracts(verb: &str, folder: &Path) -> Ended {
    let mut campana = Command::new(command::campana().unwrap());
    campana.current_dir(repository()).args(["contracts", verb, "--dir"]).arg(folder);
    campana.output().unwrap().into()
}

/// A copy of the released schemas beside a link to the samples, so that a test may change it.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("contracts");
    for service in std::fs::read_dir(repository().join("contracts")).unwrap() {
        let service = service.unwrap();
        let target = folder.join(service.file_name());
        std::fs::create_dir_all(&target).unwrap();
        for file in std::fs::read_dir(service.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), target.join(file.file_name())).unwrap();
        }
    }
    for samples in ["services", "ws-edge"] {
        std::os::unix::fs::symlink(repository().join(samples), home.path().join(samples)).unwrap();
    }
    (home, folder)
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut schema: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut schema);
    std::fs::write(&path, schema.to_string()).unwrap();
}

#[test]
fn what_is_committed_is_what_the_code_says_and_every_sample_is_read() {
    let said = contracts("check", &repository().join("contracts"));
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
}

#[test]
fn planted_breakages_are_told_and_not_recorded() {
    let (_home, folder) = copy();
    // The release had one more field and a wider type than the code has now.
    edit(&folder, "notify/delivery.v1.json", |schema| {
        schema["properties"]["colour"] = json!({"type": "string"});
        schema["properties"]["address"]["type"] = json!(["string", "null"]);
    });
    let said = contracts("check", &folder);
    assert_eq!(said.code, 1);
    for part in [
        "notify.delivery.v1: breaks readers",
        "/colour: the field is gone",
        "/address: the type was",
    ] {
        assert!(said.stdout.contains(part), "{}", said.stdout);
    }
    let refused = contracts("release", &folder);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("nothing was recorded"), "{}", refused.stderr);
}

#[test]
fn new_contracts_and_optional_fields_are_recorded() {
    let (_home, folder) = copy();
    std::fs::remove_file(folder.join("notify/inbox.v1.json")).unwrap();
    edit(&folder, "notify/delivery.v1.json", |schema| {
        schema["properties"].as_object_mut().unwrap().remove("metadata");
    });
    let said = contracts("check", &folder);
    assert!(said.stdout.contains("notify.inbox.v1: is not released yet"), "{}", said.stdout);
    assert!(said.stdout.contains("/metadata: a new optional field"), "{}", said.stdout);
    assert_eq!(contracts("release", &folder).code, 0);
    assert_eq!(contracts("check", &folder).code, 0);
}
