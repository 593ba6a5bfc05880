//! A client that follows several channels through everything that happens to its connection, as SDKs do: it
//! connects again, subscribes again, recovers, and remembers what it got.
//! Reads: channels whose data are numbers. Writes: nothing but commands.
//! Never: accepts a message twice or out of order, or a recovery that is not whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::centrifuge::{Event, Socket};
use crate::random::Random;

/// Longest silence; a message that is on its way comes sooner.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where a channel stands.
#[derive(Debug, Default)]
struct Standing {
    offset: u64,
    epoch: Option<String>,
    data: Vec<u64>,
    subscribed: bool,
}

/// What all followers of a test share.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Subscriptions that were answered for the first time.
    pub ready: AtomicUsize,
    /// Connections that ended, however.
    pub ends: AtomicUsize,
    /// Ends by which the server sent the client away (3001).
    pub sent_away: AtomicUsize,
}

/// One client.
#[derive(Debug)]
pub struct Follower {
    url: String,
    token: String,
    channels: BTreeMap<String, Standing>,
    crowd: Arc<Crowd>,
    random: Random,
    last_id: u64,
    /// Subscribe commands that wait for their answers.
    asked: BTreeMap<u64, String>,
}

impl Follower {
    /// A client that is not connected yet.
    #[must_use]
    pub fn new(
        url: &str,
        token: String,
        channels: &[String],
        crowd: &Arc<Crowd>,
        random: Random,
    ) -> Self {
        Self {
            url: url.to_owned(),
            token,
            channels: channels.iter().map(|name| (name.clone(), Standing::default())).collect(),
            crowd: Arc::clone(crowd),
            random,
            last_id: 0,
            asked: BTreeMap::new(),
        }
    }

    /// Follows until every channel has as many messages as `total` says, once it says so. Gives what came, by
    /// channel.
    ///
    /// # Errors
    /// If a message came twice, out of order or not at all, or the server will not have this client.
    pub async fn follow(
        mut self,
        mut total: watch::Receiver<Option<usize>>,
    ) -> Result<BTreeMap<String, Vec<u64>>> {
        let mut socket = self.connect().await?;
        loop {
            let wanted = *total.borrow_and_update();
            if let Some(wanted) = wanted
                && self.channels.values().all(|one| one.data.len() >= wanted)
            {
                return Ok(self.channels.into_iter().map(|(name, one)| (name, one.data)).collect());
            }
            let event = tokio::select! {
                event = socket.next(PATIENCE) => event,
                _ = total.changed(), if wanted.is_none() => continue,
            };
            match event {
                Ok(Event::Line(line)) => self.on_line(&line, &mut socket).await?,
                Ok(Event::Closed(code, reason)) => {
                    self.crowd.ends.fetch_add(1, Ordering::Relaxed);
                    if code == 3001 {
                        self.crowd.sent_away.fetch_add(1, Ordering::Relaxed);
                    }
                    ensure!(!(3500..4000).contains(&code), "sent away for good: {code} {reason}");
                    socket = self.connect().await?;
                }
                Err(error) => bail!("{error:#}; {}", self.report()),
            }
        }
    }

    fn report(&self) -> String {
        let one = |(name, one): (&String, &Standing)| format!("{name}: {}", one.data.len());
        self.channels.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Connects, with longer and longer pauses, and subscribes all channels.
    async fn connect(&mut self) -> Result<Socket> {
        let mut pause = 50;
        loop {
            if let Some(mut socket) = self.greet().await? {
                self.asked.clear();
                let names: Vec<String> = self.channels.keys().cloned().collect();
                for name in names {
                    if self.subscribe(&name, &mut socket).await.is_err() {
                        break;
                    }
                }
                return Ok(socket);
            }
            let jitter = self.random.between(0, pause);
            tokio::time::sleep(Duration::from_millis(pause / 2 + jitter)).await;
            pause = (pause * 2).min(1_000);
            ensure!(self.last_id < 100_000, "it never ends");
        }
    }

    /// One try to connect; nothing if it is worth another.
    async fn greet(&mut self) -> Result<Option<Socket>> {
        let Ok(mut socket) = Socket::open(&self.url).await else { return Ok(None) };
        let id = self.id();
        if socket.send(&json!({"id": id, "connect": {"token": self.token}})).await.is_err() {
            return Ok(None);
        }
        match socket.reply(id).await {
            Ok(Event::Line(line)) if line["connect"].is_object() => Ok(Some(socket)),
            Ok(Event::Line(line)) => {
                ensure!(line["error"]["temporary"] == true, "not let in: {line}");
                Ok(None)
            }
            Ok(Event::Closed(code, reason)) => {
                ensure!(!(3500..4000).contains(&code), "not let in: {code} {reason}");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    async fn subscribe(&mut self, name: &str, socket: &mut Socket) -> Result<()> {
        let id = self.id();
        let mut request = json!({"channel": name});
        if let Some(standing) = self.channels.get_mut(name) {
            standing.subscribed = false;
            if let Some(epoch) = &standing.epoch {
                request["recover"] = true.into();
                request["epoch"] = epoch.as_str().into();
                request["offset"] = standing.offset.into();
            }
        }
        self.asked.insert(id, name.to_owned());
        // A socket that is broken says so when it is read.
        socket.send(&json!({"id": id, "subscribe": request})).await
    }

    async fn on_line(&mut self, line: &Value, socket: &mut Socket) -> Result<()> {
        if let Some(name) = line["id"].as_u64().and_then(|id| self.asked.remove(&id)) {
            return self.on_subscribed(&name, line, socket).await;
        }
        let push = &line["push"];
        let name = push["channel"].as_str().unwrap_or_default().to_owned();
        if push["pub"].is_object() {
            if let Some(standing) = self.channels.get_mut(&name) {
                ensure!(standing.subscribed, "{name}: a publication before the answer");
                standing.take(&name, &push["pub"])?;
            }
        } else if let Some(code) = push["unsubscribe"]["code"].as_u64() {
            ensure!(code >= 2500, "{name}: unsubscribed for good: {code}");
            let _ = self.subscribe(&name, socket).await;
        }
        Ok(())
    }

    async fn on_subscribed(&mut self, name: &str, line: &Value, socket: &mut Socket) -> Result<()> {
        if let Some(code) = line["error"]["code"].as_u64() {
            ensure!(line["error"]["temporary"] == true, "{name}: refused: {code}");
            tokio::time::sleep(Duration::from_millis(self.random.between(20, 200))).await;
            let _ = self.subscribe(name, socket).await;
            return Ok(());
        }
        let result = &line["subscribe"];
        let Some(standing) = self.channels.get_mut(name) else { return Ok(()) };
        standing.subscribed = true;
        let first = standing.epoch.is_none();
        if first {
            standing.offset = result["offset"].as_u64().unwrap_or(0);
            self.crowd.ready.fetch_add(1, Ordering::Relaxed);
        } else {
            ensure!(result["recovered"] == true, "{name}: not recovered: {result}");
        }
        standing.epoch = Some(result["epoch"].as_str().unwrap_or_default().to_owned());
        for publication in result["publications"].as_array().into_iter().flatten() {
            standing.take(name, publication)?;
        }
        Ok(())
    }

    fn id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl Standing {
    fn take(&mut self, name: &str, publication: &Value) -> Result<()> {
        let offset = publication["offset"].as_u64().unwrap_or(0);
        ensure!(offset > self.offset, "{name}: offset {offset} after {}", self.offset);
        self.offset = offset;
        let number = publication["data"].as_u64().unwrap_or(u64::MAX);
        let before = self.data.last().copied();
        let expected = before.map_or(0, |number| number + 1);
        ensure!(number == expected, "{name}: {number} instead of {expected}");
        self.data.push(number);
        Ok(())
    }
}
