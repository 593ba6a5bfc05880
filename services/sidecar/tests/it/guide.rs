//! The guide's commands, typed as they stand in docs/guide-sidecar.md.
//!
//! Reads: the blocks of the first chapter. The two commands that start processes are done by the harness;
//! every `curl` runs as it is written, on the ports of the test, and prints what the guide says.

use campana_sidecar::Options;
use serde_json::Value;

use crate::harness::{App, Sidecar, example, wait_for};

/// A `curl` command of the guide, and what the guide shows below it.
struct Typed {
    words: Vec<String>,
    shown: String,
}

/// Words of a shell line with single quotes and line continuations, which is all that the guide uses.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.replace("\\\n", " ").split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

fn typed(guide: &str) -> Vec<Typed> {
    let chapter = guide.split("\n## ").nth(1).unwrap();
    let blocks =
        chapter.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let commands = blocks.flat_map(|block| block.split("$ ").skip(1));
    commands
        .filter(|command| command.starts_with("curl "))
        .map(|command| {
            let mut lines = command.lines();
            let mut text = String::new();
            for line in lines.by_ref() {
                text.push_str(line);
                text.push('\n');
                if !line.ends_with('\\') {
                    break;
                }
            }
            let shown = lines.collect::<Vec<_>>().join("\n");
            Typed { words: words(&text), shown }
        })
        .collect()
}

async fn curl(sidecar: &Sidecar, words: &[String]) -> String {
    let (mut method, mut url, mut data, mut headers) = (None, None, None, Vec::new());
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-s" => {}
            "-X" => method = rest.next().cloned(),
            "-H" => headers.push(rest.next().unwrap().split_once(": ").unwrap()),
            "-d" => data = rest.next().cloned(),
            address => url = Some(address.replace("http://127.0.0.1:3500", &sidecar.url)),
        }
    }
    let method = method.unwrap_or_else(|| if data.is_some() { "POST" } else { "GET" }.to_owned());
    let mut request = sidecar.http.request(method.parse().unwrap(), url.unwrap());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(data.unwrap_or_default()).send().await.unwrap().text().await.unwrap()
}

/// Whether an answer has the members that the guide shows; `…` in the guide stands for anything.
fn agrees(shown: &Value, said: &Value) -> bool {
    match (shown, said) {
        (Value::String(shown), Value::String(said)) => match shown.split_once('…') {
            Some((start, end)) => said.starts_with(start) && said.ends_with(end),
            None => shown == said,
        },
        (Value::Object(shown), Value::Object(said)) => {
            shown.len() == said.len()
                && shown
                    .iter()
                    .all(|(name, value)| said.get(name).is_some_and(|found| agrees(value, found)))
        }
        (Value::Array(shown), Value::Array(said)) => {
            shown.len() == said.len() && shown.iter().zip(said).all(|(a, b)| agrees(a, b))
        }
        // Sequences, ids and times count differently each time.
        (Value::Number(_), Value::Number(_)) => true,
        (shown, said) => shown == said,
    }
}

#[tokio::test]
async fn the_first_chapter_does_what_it_says() {
    let guide = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide-sidecar.md"),
    )
    .unwrap();
    let mut sidecar = Sidecar::prepare().await;
    let app = App::start("python3", &example("python/orders.py"), 0, &sidecar.url).await;
    sidecar.run(Options::new(app.port));
    sidecar.ready().await;
    let typed = typed(&guide);
    assert!(typed.len() >= 5, "{} commands", typed.len());
    for Typed { words, shown } in typed {
        let command = words.join(" ");
        // What is asked for may still be on its way.
        wait_for(&command, || async {
            let said = curl(&sidecar, &words).await;
            let same = match (serde_json::from_str(&shown), serde_json::from_str(&said)) {
                (Ok(shown), Ok(said)) => agrees(&shown, &said),
                _ => shown.trim() == said.trim(),
            };
            same.then_some(())
        })
        .await;
    }
    app.said("handled order-1").await;
    assert!(sidecar.stop().await);
}
