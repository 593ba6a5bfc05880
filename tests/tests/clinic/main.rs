//! The clinic beside a whole platform, in a browser: from the form to the bell, the mail and the SMS.
//! Reads: the programs beside the test, `CHROMIUM_BIN`, `tests/browser/node_modules`. Writes: temporary folders, and
//! with `CAMPANA_SHOTS` pictures into that folder. Never: installs anything.

use std::time::Duration;

use anyhow::{Result, ensure};
use campana_bus::testing::free_port;
use campana_tests::api::http;
use campana_tests::centrifuge::{Event, Socket};
use campana_tests::process::{Process, Signal};
use campana_tests::wait::eventually;
use campana_tests::{Platform, browser};
use serde_json::{Value, json};

const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// All checks together take about twenty seconds; a machine under load gets much more.
const CHECKS_WITHIN: Duration = Duration::from_secs(280);

#[tokio::test(flavor = "multi_thread")]
async fn the_clinic_works_in_chromium() {
    let port = free_port().unwrap();
    let settings = [
        format!("edge.allowed_origins=[\"http://127.0.0.1:{port}\"]"),
        "edge.namespaces=[{name=\"clinic\",subscribe=[\"own_user\"]}]".to_owned(),
    ];
    let arguments: Vec<&str> =
        settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let platform = Platform::up(&arguments).await.unwrap();
    let mut clinic = start(&platform, port).unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let client = http().unwrap();
    eventually("the clinic is ready", STARTS_WITHIN, async || {
        clinic.must_run()?;
        let ready = client.get(format!("{url}/readyz")).send().await?.status().is_success();
        Ok(ready.then_some(()))
    })
    .await
    .unwrap();
    checks(&url).await.unwrap();
    live_updates_are_ones_own(&platform, &url).await.unwrap();

    // What was told went through the platform to real receivers: the dentist's mailbox, the patient's phone.
    let sandbox = platform.sandbox().unwrap();
    let mail = sandbox.message("email", "elena.ruiz@appdental.example").await.unwrap();
    assert!(mail.to_string().contains("Nueva cita: "), "{mail}");
    let sms = sandbox.message("sms", "+34600111222").await.unwrap();
    assert!(sms.to_string().contains("Te proponen otra hora: "), "{sms}");
    assert!(sandbox.messages("whatsapp", "+34600111222").await.unwrap().is_empty(), "not wanted");

    clinic.signal(Signal::TERM).unwrap();
    let ended = clinic.ended(STARTS_WITHIN).await.unwrap();
    assert!(ended.success(), "{ended}: {}", clinic.log());
    for word in ["ana@example.com", "Ana García", "600111222"] {
        assert!(!clinic.log().contains(word), "personal data in the log: {word}");
    }
    platform.stop(Signal::TERM).await.unwrap();
}

/// Somebody's channel is heard by nobody else, also by a client that is not the page.
async fn live_updates_are_ones_own(platform: &Platform, url: &str) -> Result<()> {
    let client = http()?;
    let as_ben = client.post(format!("{url}/api/demo-session"));
    let answer = as_ben.json(&json!({"account": "pat_demo_ben"})).send().await?;
    let cookie = answer.headers()["set-cookie"].to_str()?.split(';').next().unwrap_or_default();
    let token = client.post(format!("{url}/api/edge-token")).header("cookie", cookie);
    let token: Value = token.send().await?.json().await?;
    let mut socket = Socket::open(&platform.url("edge_ws")).await?;
    socket.send(&json!({"id": 1, "connect": {"token": token["token"]}})).await?;
    answered(&mut socket, 1).await?;
    for (id, account, own) in [(2, "pat_demo_ana", false), (3, "pat_demo_ben", true)] {
        let channel = format!("clinic:#{account}");
        socket.send(&json!({"id": id, "subscribe": {"channel": channel}})).await?;
        let answer = answered(&mut socket, id).await?;
        ensure!(answer["subscribe"].is_object() == own, "{answer}");
    }
    Ok(())
}

async fn answered(socket: &mut Socket, id: u32) -> Result<Value> {
    loop {
        match socket.next(STARTS_WITHIN).await? {
            Event::Line(line) if line["id"] == id => return Ok(line),
            Event::Line(_) => {}
            Event::Closed(code, reason) => anyhow::bail!("closed with {code} {reason}"),
        }
    }
}

fn start(platform: &Platform, port: u16) -> Result<Process> {
    let program = campana_tests::command::campana()?.with_file_name("campana-clinic");
    ensure!(program.is_file(), "{} is not built: run `cargo build`", program.display());
    let folder = platform.home.path();
    Process::start("campana-clinic", &program, folder, |command| {
        command
            .arg("--demo")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--nats-url", &platform.url("nats"), "--api-url", &platform.url("gateway")])
            .args(["--edge-url", &platform.url("edge_ws")])
            .arg("--data-dir")
            .arg(folder.join("clinic"))
            .env("CAMPANA_API_KEY", platform.url("api_key"))
            .current_dir(folder);
    })
}

async fn checks(url: &str) -> Result<()> {
    browser::checks("clinic.mjs", url, "all passed", CHECKS_WITHIN).await
}
