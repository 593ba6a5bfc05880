//! A visitor of an application's pages: requests with a cookie, and the edge as the page's browser reaches it.

use anyhow::{Context, Result, bail, ensure};
use campana_tests::api::{Answer, http, send};
use futures::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::world::WITHIN;

/// One browser on one application.
pub struct Site {
    pub url: String,
    http: reqwest::Client,
    cookie: String,
}

impl Site {
    /// Opens the page, which must be one.
    pub async fn open(url: &str) -> Result<Self> {
        let site = Self { url: url.to_owned(), http: http()?, cookie: String::new() };
        let page = site.get("/").await?;
        ensure!(page.status == 200 && page.text.contains("<html"), "{} {}", page.status, page.text);
        Ok(site)
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        let request = self.http.get(format!("{}{path}", self.url));
        send(request.header("cookie", &self.cookie)).await
    }

    /// As the page itself would send it; a new session is kept.
    pub async fn post(&mut self, path: &str, body: &Value, status: u16) -> Result<Value> {
        let request = self.http.request(Method::POST, format!("{}{path}", self.url));
        let request = request.header("cookie", &self.cookie).header("origin", &self.url);
        let answer = send(request.json(body)).await?;
        if let Some(cookie) = answer.header("set-cookie").split(';').next()
            && !cookie.is_empty()
        {
            self.cookie = cookie.to_owned();
        }
        answer.expect(status).with_context(|| format!("{path} of {}", self.url))
    }

    /// Connects to the edge from this page and subscribes to a channel, with a token if it needs one.
    pub async fn follow(
        &self,
        edge: &str,
        token: &str,
        channel: &str,
        channel_token: &str,
    ) -> Result<Following> {
        let mut request = edge.into_client_request()?;
        request.headers_mut().insert("origin", self.url.parse()?);
        let (stream, _) = connect_async(request).await.context("this page may not connect")?;
        let mut following = Following { stream, lines: Vec::new() };
        following.ask(&json!({"id": 1, "connect": {"token": token}})).await?;
        following
            .ask(&json!({"id": 2, "subscribe": {"channel": channel, "token": channel_token}}))
            .await?;
        Ok(following)
    }
}

/// A WebSocket of a page.
pub struct Following {
    stream: tokio_tungstenite::WebSocketStream<
        tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>,
    >,
    lines: Vec<Value>,
}

impl Following {
    async fn ask(&mut self, command: &Value) -> Result<()> {
        self.stream.send(Message::text(command.to_string())).await?;
        let reply = self.until(|line| line["id"] == command["id"]).await?;
        ensure!(reply["error"].is_null(), "{command} was answered with {reply}");
        Ok(())
    }

    /// A publication whose data is as wanted, in any channel.
    pub async fn publication(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        self.until(|line| wanted(&line["push"]["pub"]["data"])).await.map(drop)
    }

    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let found = tokio::time::timeout(WITHIN, async {
            loop {
                if let Some(at) = self.lines.iter().position(&wanted) {
                    return Ok(self.lines.remove(at));
                }
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        for line in text.as_str().lines().filter(|line| !line.is_empty()) {
                            self.lines.push(serde_json::from_str(line)?);
                        }
                    }
                    Some(Ok(_)) => {}
                    end => bail!("the edge ended the connection: {end:?}"),
                }
            }
        });
        found.await.with_context(|| format!("nothing such came, only {:?}", self.lines))?
    }
}

/// A page that the platform does not know may not connect.
pub async fn stranger_is_refused(edge: &str) -> Result<()> {
    let mut request = edge.into_client_request()?;
    request.headers_mut().insert("origin", "http://127.0.0.1:1".parse()?);
    ensure!(connect_async(request).await.is_err(), "any page may connect");
    Ok(())
}
