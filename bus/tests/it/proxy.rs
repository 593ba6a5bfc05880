//! A TCP proxy before a nats-server that can go deaf: it swallows what the server says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use campana_bus::{Bus, BusOptions, Durability};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub struct Proxy {
    url: String,
    swallow: Arc<AtomicBool>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub async fn start(server: &str) -> Self {
        let server = server.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let swallow = Arc::new(AtomicBool::new(false));
        let mut accepting = JoinSet::new();
        accepting.spawn({
            let swallow = Arc::clone(&swallow);
            async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    let Ok(server) = TcpStream::connect(&server).await else { continue };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let never = Arc::new(AtomicBool::new(false));
                    connections.spawn(copy(from_client, to_server, never));
                    connections.spawn(copy(from_server, to_client, Arc::clone(&swallow)));
                }
            }
        });
        Self { url, swallow, _accepting: accepting }
    }

    pub fn swallow(&self, yes: bool) {
        self.swallow.store(yes, Ordering::SeqCst);
    }

    pub async fn bus(&self, name: &str) -> Bus {
        Bus::connect(BusOptions {
            url: self.url.clone(),
            name: name.to_owned(),
            durability: Durability::Process,
            credentials_file: None,
        })
        .await
        .unwrap()
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    swallow: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    // A message that is cut in two at the switch makes the client reconnect, which tests must bear.
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !swallow.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
