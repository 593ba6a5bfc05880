//! A platform, sidecars and desks, each a process of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::free_port;
use campana_tests::Platform;
use campana_tests::api::http;
use campana_tests::process::{Process, Signal};
use campana_tests::wait::eventually;
use serde_json::Value;

use crate::desk_folder;

const SECRET: &str = "a secret of the desk's test, 32 b+";
const EDGE_KEY: &str = "edge-key-of-the-desks-test";
pub const WITHIN: Duration = Duration::from_secs(60);

/// A platform that knows the desk.
pub struct World {
    pub platform: Platform,
    pub http: reqwest::Client,
    web_port: u16,
}

/// A desk and the sidecar beside it.
pub struct Desk {
    pub url: String,
    name: String,
    app_port: u16,
    web_port: u16,
    sidecar_url: String,
    process: Option<Process>,
    sidecar: Option<Process>,
}

impl World {
    pub async fn start() -> Result<Self> {
        let web_port = free_port().map_err(anyhow::Error::msg)?;
        let settings = [
            format!("auth.token_secret=\"{SECRET}\""),
            format!("edge.api.key=\"{EDGE_KEY}\""),
            format!("edge.allowed_origins=[\"http://127.0.0.1:{web_port}\"]"),
            "edge.namespaces=[{name=\"support\"}]".to_owned(),
        ];
        let arguments: Vec<&str> =
            settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
        Ok(Self { platform: Platform::up(&arguments).await?, http: http()?, web_port })
    }

    /// The first desk; its pages are the ones that the edge lets in.
    pub async fn desk(&self) -> Result<Desk> {
        self.start_desk("desk-1", self.web_port).await
    }

    /// One more, with a sidecar of its own and the same tables.
    pub async fn another_desk(&self) -> Result<Desk> {
        self.start_desk("desk-2", free_port().map_err(anyhow::Error::msg)?).await
    }

    async fn start_desk(&self, name: &str, web_port: u16) -> Result<Desk> {
        let [app_port, port] =
            [free_port(), free_port()].map(|port| port.map_err(anyhow::Error::msg));
        let (app_port, port) = (app_port?, port?);
        let program = campana_tests::command::campana()?;
        let home = &self.platform.home;
        let sidecar =
            Process::start(&format!("{name}-sidecar"), &program, home.path(), |command| {
                command
                    .args(["sidecar", "--name", "support", "--app-port", &app_port.to_string()])
                    .args(["--port", &port.to_string(), "--data-dir"])
                    .arg(home.data())
                    .current_dir(home.path());
            })?;
        let mut desk = Desk {
            url: format!("http://127.0.0.1:{web_port}"),
            name: name.to_owned(),
            app_port,
            web_port,
            sidecar_url: format!("http://127.0.0.1:{port}"),
            process: None,
            sidecar: Some(sidecar),
        };
        self.open(&mut desk).await?;
        eventually("the sidecar is ready", WITHIN, async || {
            let ready = self.http.get(format!("{}/readyz", desk.sidecar_url)).send().await?;
            Ok(ready.status().is_success().then_some(()))
        })
        .await?;
        Ok(desk)
    }

    /// Starts the desk itself; its sidecar runs all the time.
    pub async fn open(&self, desk: &mut Desk) -> Result<()> {
        let python = which("python3")?;
        let folder = self.platform.home.path();
        let mut process = Process::start(&desk.name, &python, folder, |command| {
            command
                .args(["-m", "campana_support", "--demo", "--requests-per-second", "1000"])
                .args(["--unread-seconds", "1"])
                .args(["--listen", &format!("127.0.0.1:{}", desk.web_port)])
                .args(["--app-port", &desk.app_port.to_string()])
                .args(["--sidecar-url", &desk.sidecar_url])
                .args(["--api-url", &self.platform.url("gateway")])
                .args(["--edge-url", &self.platform.url("edge_ws")])
                .args(["--edge-api-url", &edge_http(&self.platform.url("edge_ws"))])
                .arg("--data-dir")
                .arg(folder.join("desk"))
                .env("CAMPANA_API_KEY", self.platform.url("api_key"))
                .env("CAMPANA_EDGE_SECRET", SECRET)
                .env("CAMPANA_EDGE_API_KEY", EDGE_KEY)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .current_dir(desk_folder());
        })?;
        eventually("the desk is open", WITHIN, async || {
            process.must_run()?;
            let ready = self.http.get(format!("{}/readyz", desk.url)).send().await?;
            Ok(ready.status().is_success().then_some(()))
        })
        .await?;
        desk.process = Some(process);
        Ok(())
    }

    /// What a query of the desk's tables gives, as JSON.
    pub async fn query(&self, sql: &str) -> Result<Value> {
        const SCRIPT: &str = "import json, sqlite3, sys; \
            print(json.dumps(sqlite3.connect(sys.argv[1], timeout=30).execute(sys.argv[2]).fetchall()))";
        let tables = self.platform.home.path().join("desk/support.db");
        let asked = tokio::process::Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(tables)
            .arg(sql)
            .output();
        let output = asked.await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// What the desk answers, and the cookie that it set or that was sent.
    pub async fn post(
        &self,
        url: &str,
        path: &str,
        cookie: &str,
        body: &Value,
    ) -> Result<(Value, String)> {
        let request = self.http.post(format!("{url}{path}")).header("cookie", cookie).json(body);
        let answer = request.send().await?;
        let status = answer.status();
        let set = answer.headers().get("set-cookie").and_then(|set| set.to_str().ok());
        let cookie = set.and_then(|set| set.split(';').next()).unwrap_or(cookie).to_owned();
        let body: Value = answer.json().await?;
        ensure!(status.is_success(), "{path}: {status} {body}");
        Ok((body, cookie))
    }

    pub async fn stop(self) -> Result<()> {
        self.platform.stop(Signal::TERM).await.map(drop)
    }
}

impl Desk {
    /// As an upgrade stops it.
    pub async fn close(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the desk is open")?;
        process.signal(Signal::TERM)?;
        let ended = process.ended(WITHIN).await?;
        ensure!(ended.success(), "the end was {ended}: {}", process.log());
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the sidecar first, then the desk.
    pub async fn stop(mut self) -> Result<()> {
        let mut sidecar = self.sidecar.take().context("the sidecar runs")?;
        sidecar.signal(Signal::TERM)?;
        sidecar.ended(WITHIN).await?;
        self.close().await
    }

    /// Its sidecar.
    pub fn sidecar_url(&self) -> &str {
        &self.sidecar_url
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }
}

fn edge_http(ws: &str) -> String {
    let address = ws.replace("ws://", "http://");
    address.split("/connection").next().unwrap_or_default().to_owned()
}

fn which(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("PATH is set")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.into_iter().find(|file| file.is_file()).with_context(|| format!("{name} is not on PATH"))
}
