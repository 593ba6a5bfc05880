//! A chat that runs in this process, with a nats-server of its own.

use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use campana_bus::subjects::{self, ChannelName};
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, Durability};
use campana_chat::Options;
use campana_chat::store::timeline::channel;
use futures::StreamExt as _;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(30);

pub struct World {
    nats: NatsServer,
    bus: Bus,
    folder: tempfile::TempDir,
    database: String,
    lifecycle: Lifecycle,
    pub url: String,
}

fn options(nats: &NatsServer, folder: &std::path::Path, database: &str) -> Options {
    Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        nats_url: nats.url(),
        replicas: 1,
        api_url: String::new(),
        api_key: String::new(),
        public_api_url: String::new(),
        edge_url: "ws://127.0.0.1:9/connection/websocket".to_owned(),
        edge_secret: "a secret of at least 32 bytes, for tests".to_owned(),
        edge_api_url: String::new(),
        edge_api_key: String::new(),
        database_url: database.to_owned(),
        data_dir: folder.to_owned(),
        public_url: String::new(),
        demo: false,
        registration: true,
        messages_per_second: 0.5,
        messages_burst: 40,
    }
}

impl World {
    pub async fn start(database: &str) -> Self {
        let nats = NatsServer::start_with(Durability::Process).unwrap();
        let bus = nats.bus_with_topology("chat test").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self::launch(nats, bus, folder, database.to_owned()).await
    }

    async fn launch(
        nats: NatsServer,
        bus: Bus,
        folder: tempfile::TempDir,
        database: String,
    ) -> Self {
        let lifecycle = Lifecycle::new();
        let options = options(&nats, folder.path(), &database);
        let running = campana_chat::start(options, &lifecycle).await.unwrap();
        let url = format!("http://{}", running.address);
        Self { nats, bus, folder, database, lifecycle, url }
    }

    pub async fn restarted(self) -> Self {
        let Self { nats, bus, folder, database, lifecycle, .. } = self;
        lifecycle.stop(STOPS_WITHIN).await;
        Self::launch(nats, bus, folder, database).await
    }

    pub async fn stop(self) {
        assert!(self.lifecycle.stop(STOPS_WITHIN).await, "a clean stop");
        assert_eq!(self.lifecycle.failure(), None);
    }

    /// What was told in a room, as the edge reads it.
    pub async fn told(&self, room: &str) -> Vec<Value> {
        let subject = subjects::channel("default", &ChannelName::parse(&channel(room)).unwrap());
        let stream = self.bus.jetstream().get_stream("CHANNELS").await.unwrap();
        let config = async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: subject,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let pending = consumer.cached_info().num_pending;
        let messages = consumer.messages().await.unwrap().take(usize::try_from(pending).unwrap());
        let bodies =
            messages.map(|message| serde_json::from_slice(&message.unwrap().payload).unwrap());
        bodies.collect().await
    }
}

/// Asks again and again; a minute is enough for any machine.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A picture.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut made = std::io::Cursor::new(Vec::new());
    let picture = image::DynamicImage::new_rgb8(width, height);
    picture.write_to(&mut made, image::ImageFormat::Png).unwrap();
    made.into_inner()
}
