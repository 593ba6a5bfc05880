//! A platform with the namespaces that the chat needs, and a chat that can be killed and started again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::free_port;
use campana_tests::Platform;
use campana_tests::api::{Answer, http, send};
use campana_tests::command::campana;
use campana_tests::process::{Process, Signal};
use campana_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};

const SECRET: &str = "a secret of the chat's test, 32 bytes or more";
const API_KEY: &str = "key-of-the-edge-s-server-api";
const STARTS_WITHIN: Duration = Duration::from_secs(60);
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the README tells an operator to configure.
const NAMESPACES: &str = r#"edge.namespaces=[
  {name="chat", history=[], presence=["subscriber"], track_presence=true, join_leave=true, leave_debounce_ms=500},
  {name="chattyping", publish=["token"], history=[], history_size=0},
]"#;

pub struct World {
    pub platform: Platform,
    pub chat: Process,
    pub port: u16,
}

impl World {
    pub async fn start(more: &[&str]) -> Result<Self> {
        let port = free_port().map_err(anyhow::Error::msg)?;
        let settings = [
            format!("auth.token_secret=\"{SECRET}\""),
            format!("edge.allowed_origins=[\"http://127.0.0.1:{port}\"]"),
            format!("gateway.cors_origins=[\"http://127.0.0.1:{port}\"]"),
            format!("edge.api.key=\"{API_KEY}\""),
            "edge.presence.user_events=true".to_owned(),
            "edge.presence.offline_after_ms=500".to_owned(),
            NAMESPACES.replace('\n', " "),
        ];
        let arguments: Vec<&str> =
            settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
        let platform = Platform::up(&arguments).await?;
        let chat = launch(&platform, port, more)?;
        let mut world = Self { platform, chat, port };
        world.is_ready().await?;
        Ok(world)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn is_ready(&mut self) -> Result<()> {
        let (client, url) = (http()?, format!("{}/readyz", self.url()));
        let chat = &mut self.chat;
        eventually("the chat is ready", STARTS_WITHIN, async || {
            chat.must_run()?;
            Ok(client.get(&url).send().await?.status().is_success().then_some(()))
        })
        .await
    }

    /// `kill -9`, and a new life at the same address.
    pub async fn restart_chat(&mut self, more: &[&str]) -> Result<()> {
        self.chat.kill();
        self.chat = launch(&self.platform, self.port, more)?;
        self.is_ready().await
    }

    pub async fn stop(mut self) -> Result<()> {
        self.chat.signal(Signal::TERM)?;
        let ended = self.chat.ended(STARTS_WITHIN).await?;
        ensure!(ended.success(), "{ended}: {}", self.chat.log());
        self.platform.stop(Signal::TERM).await?;
        Ok(())
    }
}

/// The program of the chat.
pub fn program() -> Result<std::path::PathBuf> {
    let program = campana()?.with_file_name("campana-chat");
    ensure!(program.is_file(), "{} is not built: run `cargo build`", program.display());
    Ok(program)
}

fn launch(platform: &Platform, port: u16, more: &[&str]) -> Result<Process> {
    let folder = platform.home.path();
    let edge = platform.url("edge_ws");
    let edge_api = edge.replacen("ws:", "http:", 1).replace("/connection/websocket", "");
    Process::start("campana-chat", &program()?, folder, |command| {
        command
            .args(["--listen", &format!("127.0.0.1:{port}"), "--nats-url", &platform.url("nats")])
            .args(["--api-url", &platform.url("gateway"), "--edge-url", &edge])
            .args(["--edge-api-url", &edge_api, "--away-after-ms", "2000"])
            .arg("--data-dir")
            .arg(folder.join("chat"))
            .args(more)
            .env("CAMPANA_API_KEY", platform.url("api_key"))
            .env("CAMPANA_EDGE_SECRET", SECRET)
            .env("CAMPANA_EDGE_API_KEY", API_KEY)
            .current_dir(folder);
    })
}

/// The secret with which tokens are signed.
pub fn secret() -> &'static str {
    SECRET
}

/// Somebody with an account.
pub struct Person {
    http: reqwest::Client,
    url: String,
    pub cookie: String,
}

impl Person {
    pub async fn register(world: &World, handle: &str) -> Result<Self> {
        let account = json!({"handle": handle, "name": format!("Name of {handle}"), "password": "a long password"});
        let mut person = Self { http: http()?, url: world.url(), cookie: String::new() };
        let answer = person.call(Method::POST, "/api/accounts", &account).await?;
        let cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        answer.expect(201)?;
        person.cookie = cookie;
        Ok(person)
    }

    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        send(request.header("cookie", &self.cookie).json(body)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.call(Method::POST, path, body).await?;
        ensure!(answer.status < 300, "{path}: {} {}", answer.status, answer.text);
        Ok(answer.body)
    }

    pub async fn room(&self, name: &str) -> Result<String> {
        let room = self.post("/api/rooms", &json!({"name": name})).await?;
        Ok(room["id"].as_str().context("a room has an id")?.to_owned())
    }

    pub async fn say(&self, room: &str, text: &str) -> Result<Value> {
        let body = json!({"client_id": text.replace(|c: char| !c.is_ascii(), ""), "text": text});
        self.post(&format!("/api/rooms/{room}/messages"), &body).await
    }
}

/// The folder of a script's packages.
pub fn scripts(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
