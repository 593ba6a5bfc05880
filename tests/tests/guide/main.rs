//! The guide that builds a clinic from an empty folder, followed to the letter: its files are compiled step by step,
//! its commands are run beside a real platform, and what it says the reader sees is compared with what is there.
//! Reads: `docs/guide-clinic.md`, the programs beside the test, `CHROMIUM_BIN`, `tests/browser/node_modules`. Writes:
//! `target/tmp/guide`, temporary folders. Never: forgives a guide that is nearly right: a failure names step, block
//! and line.

mod edit;
mod page;
mod reader;
mod workshop;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use page::{Block, Kind};
use reader::Reader;
use workshop::Workshop;

const GUIDE: &str = "../docs/guide-clinic.md";
/// Steps after which the page is looked at in a browser.
const WITH_A_BROWSER: [usize; 2] = [5, 6];
const BROWSES_WITHIN: Duration = Duration::from_secs(200);
/// What a file's name begins with that is not the clinic's, but the platform's.
const OF_THE_PLATFORM: &str = "../campana/";

#[tokio::test(flavor = "multi_thread")]
async fn the_clinic_guide_is_true() {
    let blocks = page::read(&guide().unwrap()).unwrap();
    let mut workshop = Workshop::open().unwrap();
    let mut reader = Reader::new(&workshop).unwrap();
    let last = blocks.last().unwrap().place.step;
    for step in 0..=last {
        for block in blocks.iter().filter(|block| block.place.step == step) {
            let done = follow(block, &mut workshop, &mut reader).await;
            done.with_context(|| block.place.to_string()).unwrap();
        }
        if WITH_A_BROWSER.contains(&step) {
            browse(&reader.clinic_url(), step).await.unwrap();
        }
    }
    reader.leave().await.unwrap();
}

#[test]
fn every_step_has_something_to_run() {
    let blocks = page::read(&guide().unwrap()).unwrap();
    for step in 1..=7 {
        let runs =
            |block: &&Block| block.place.step == step && matches!(block.kind, Kind::Console(_));
        assert!(blocks.iter().any(|block| runs(&block)), "step {step}");
    }
    let text = guide().unwrap();
    for words in ["**What you should see now.**", "> **What can go wrong.**"] {
        assert_eq!(text.matches(words).count(), 7, "{words}");
    }
}

fn guide() -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GUIDE);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

async fn follow(block: &Block, workshop: &mut Workshop, reader: &mut Reader) -> Result<()> {
    match &block.kind {
        Kind::File { path, text } => match path.strip_prefix(OF_THE_PLATFORM) {
            Some(name) => reader.configure(name, text)?,
            None => workshop.save(path, text.clone()),
        },
        Kind::Change { path, text } => {
            let changed = edit::apply(workshop.file(path)?, text)
                .with_context(|| format!("the change of `{path}`"))?;
            workshop.save(path, changed);
        }
        Kind::Console(entries) => {
            for entry in entries {
                let done = reader.act(entry, block.place.step, workshop).await;
                done.with_context(|| format!("$ {}", entry.command))?;
            }
        }
    }
    Ok(())
}

/// `tests/browser/guide.mjs` says what must be seen.
async fn browse(url: &str, step: usize) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let mut script = Command::new("node");
    script.arg(folder.join("guide.mjs")).arg(url).arg(step.to_string());
    let output = script.current_dir(&folder).kill_on_drop(true).output();
    let output = tokio::time::timeout(BROWSES_WITHIN, output).await;
    let output = output.context("the browser does not end")??;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said.contains("all passed"),
        "the page after step {step}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
