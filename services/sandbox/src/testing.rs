//! A whole sandbox on free ports for the tests of this crate. It stops when it is dropped.

use std::net::SocketAddr;
use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::{SandboxListeners, SandboxOptions};

/// Longer than anything here takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestSandbox {
    pub smtp: SocketAddr,
    pub web: String,
    pub lifecycle: Lifecycle,
    pub client: reqwest::Client,
    task: Option<JoinHandle<()>>,
}

impl Drop for TestSandbox {
    fn drop(&mut self) {
        self.lifecycle.hard.cancel();
    }
}

impl TestSandbox {
    pub async fn start(options: SandboxOptions) -> Self {
        let smtp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = (smtp.local_addr().unwrap(), web.local_addr().unwrap());
        let lifecycle = Lifecycle::new();
        let running = crate::run(SandboxListeners { smtp, web }, options, lifecycle.clone());
        let task = lifecycle.spawn("sandbox", async move { running.await.unwrap() });
        Self {
            smtp: addresses.0,
            web: format!("http://{}", addresses.1),
            lifecycle,
            client: reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap(),
            task: Some(task),
        }
    }

    pub async fn default() -> Self {
        Self::start(SandboxOptions::default()).await
    }

    /// The soft stop, and then the end of `run` itself.
    pub async fn stop(mut self) {
        self.lifecycle.soft.cancel();
        let task = self.task.take().unwrap();
        tokio::time::timeout(PATIENCE, task).await.expect("run did not drain").unwrap();
    }

    pub async fn get(&self, path: &str) -> Value {
        let response = self.client.get(format!("{}{path}", self.web)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response.json().await.unwrap()
    }

    pub async fn messages(&self, query: &str) -> Vec<Value> {
        let list = self.get(&format!("/api/messages{query}")).await;
        list["data"].as_array().unwrap().clone()
    }

    /// Puts these fault rules in force.
    pub async fn faults(&self, rules: Value) {
        let url = format!("{}/api/faults", self.web);
        let body = serde_json::json!({"rules": rules});
        let response = self.client.put(url).json(&body).send().await.unwrap();
        let status = response.status();
        assert!(status.is_success(), "{}", response.text().await.unwrap());
    }
}

/// A bare SMTP client that says exactly what it is told.
pub struct Talk {
    stream: TcpStream,
}

impl Talk {
    pub async fn open(smtp: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(smtp).await.unwrap() }
    }

    /// Connected and past the greeting and EHLO.
    pub async fn greeted(smtp: SocketAddr) -> Self {
        let mut talk = Self::open(smtp).await;
        assert_eq!(talk.reply().await, "220 campana-sandbox ESMTP\r\n");
        talk.ask("EHLO test").await;
        talk
    }

    pub async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// Sends as much as the server takes; a reset is a fine answer to a flood.
    pub async fn try_send(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets).await;
    }

    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// One answer, all its lines; empty at the end of the connection.
    pub async fn reply(&mut self) -> String {
        let mut text = String::new();
        let mut octet = [0_u8; 1];
        loop {
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut octet)).await;
            match read.expect("no answer") {
                Ok(n) if n > 0 => text.push(char::from(octet[0])),
                _ => return text,
            }
            let last = text.trim_end_matches("\r\n").rsplit("\r\n").next().unwrap_or_default();
            if text.ends_with("\r\n") && last.as_bytes().get(3) == Some(&b' ') {
                return text;
            }
        }
    }

    pub async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// The code of the answer, as text.
    pub async fn code(&mut self, line: &str) -> String {
        let mut reply = self.ask(line).await;
        reply.truncate(3);
        reply
    }

    /// MAIL, RCPT, DATA and a short message: the answer after the dot.
    pub async fn mail(&mut self, to: &str) -> String {
        assert_eq!(self.code("MAIL FROM:<app@example.test>").await, "250");
        assert_eq!(self.code(&format!("RCPT TO:<{to}>")).await, "250");
        assert_eq!(self.code("DATA").await, "354");
        self.ask("Subject: hello\r\n\r\nbody\r\n.").await
    }
}
