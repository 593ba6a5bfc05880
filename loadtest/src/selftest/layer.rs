//! The layer between harness and target: two proxies on loopback, one for requests, one for
//! receivers' WebSockets, which do what a trial says and note what they really did. Everything the
//! harness sends and receives passes here; a clean trial passes here as well, so that the layer's
//! own cost is in the control. Reads and writes sockets; stores nothing.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::lane::{Came, Out, Plan, What};
use super::log::Log;
use super::stall::{self, Span};
use super::wire;
use crate::clock::now_ns;
use crate::engine::null_target::listen_on_loopback;
use crate::failure::Failure;
use crate::target::Target;
use crate::tokens;

const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The running layer.
pub struct Layer {
    /// The target as the harness shall see it: behind this layer.
    pub target: Target,
    pub shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What all connections share.
pub struct Shared {
    /// `host:port` of the target behind.
    pub authority: String,
    pub ws_url: Url,
    plan: Mutex<Plan>,
    log: Mutex<Log>,
    requests: AtomicU64,
    newest_slot: AtomicU64,
    /// Whether anything passes.
    open: watch::Sender<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock holds a value that is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Layer {
    /// Puts itself in front of a target, on two free ports.
    pub async fn open(behind: &Target) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::failed("the layer of the selftest", error);
        let posts = listen_on_loopback().map_err(failed)?;
        let sockets = listen_on_loopback().map_err(failed)?;
        let address = sockets.local_addr().map_err(failed)?;
        let mut target = behind.clone();
        target.authority = posts.local_addr().map_err(failed)?.to_string();
        target.body = stall::body;
        let ws_url = ws_url(behind).await?;
        let mut front = ws_url.clone();
        let set =
            front.set_ip_host(address.ip()).is_ok() && front.set_port(Some(address.port())).is_ok();
        if !set || front.scheme() != "ws" {
            return Err(Failure::Usage(format!("{ws_url}: only ws:// can be measured")));
        }
        target.ws_url = Some(front);
        let layer = Self {
            target,
            shared: Arc::new(Shared {
                authority: behind.authority.clone(),
                ws_url,
                plan: Mutex::default(),
                log: Mutex::default(),
                requests: AtomicU64::new(0),
                newest_slot: AtomicU64::new(0),
                open: watch::Sender::new(true),
            }),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        layer.listen(posts, wire::relay_posts);
        layer.listen(sockets, wire::relay_socket);
        Ok(layer)
    }

    fn listen<F: Future<Output = Option<()>> + Send + 'static>(
        &self,
        listener: TcpListener,
        serve: fn(TcpStream, Arc<Shared>) -> F,
    ) {
        let (tasks, stop, shared) =
            (self.tasks.clone(), self.stop.clone(), Arc::clone(&self.shared));
        self.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = stop.cancelled() => return,
                };
                // Out of descriptors or a connection that is gone already: the next may be fine.
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                };
                let serving = serve(stream, Arc::clone(&shared));
                let stop = stop.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        _ = serving => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
        });
    }

    /// Ends every connection.
    pub async fn close(self) {
        self.shared.open.send_replace(true);
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Where the target's receivers connect; a gateway names it with each token.
async fn ws_url(behind: &Target) -> Result<Url, Failure> {
    if let Some(url) = &behind.ws_url {
        return Ok(url.clone());
    }
    let minted = tokens::mint(behind, &["lt-selftest".to_owned()], || {}).await?;
    minted.into_iter().find_map(|token| token.ws_url).ok_or_else(|| {
        Failure::Usage("the gateway names no WebSocket address; give --ws-url".to_owned())
    })
}

impl Shared {
    /// From now on this is done, and noted anew.
    pub fn begin(&self, plan: Plan) {
        *locked(&self.plan) = plan;
        *locked(&self.log) = Log::default();
        self.requests.store(0, Ordering::Release);
    }

    /// What was done since; nothing is done any more.
    pub fn end(&self) -> Log {
        *locked(&self.plan) = Plan::default();
        self.open.send_replace(true);
        stall::forget();
        std::mem::take(&mut *locked(&self.log))
    }

    /// What is to be done.
    pub fn plan(&self) -> Plan {
        *locked(&self.plan)
    }

    /// A request came, before it has to wait.
    pub fn request(&self, slot: Option<u64>) {
        locked(&self.log).request(slot, now_ns());
        self.requests.fetch_add(1, Ordering::AcqRel);
    }

    /// A frame came from the target.
    pub fn came(&self, came: Came) {
        match came {
            Came::Other => {}
            Came::Dropped { .. } => {
                let mut log = locked(&self.log);
                log.publications += 1;
                log.dropped += 1;
            }
            Came::Publication { slot } => {
                locked(&self.log).publications += 1;
                self.newest_slot.fetch_max(slot, Ordering::AcqRel);
            }
        }
    }

    /// A frame is about to be written to its receiver.
    pub fn left(&self, out: &Out) {
        if out.what != What::Other {
            locked(&self.log).left(out.slot, out.what, out.came_ns, now_ns());
        }
    }

    /// A receiver has answered what came behind this publication.
    pub fn read(&self, slot: u64) {
        locked(&self.log).read(slot, now_ns());
    }

    /// The newest notification that has passed.
    pub fn newest_slot(&self) -> u64 {
        self.newest_slot.load(Ordering::Acquire)
    }

    /// Returns when so many requests of the trial have passed.
    pub async fn until_requests(&self, count: u64) {
        while self.requests.load(Ordering::Acquire) < count {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns at once, or when the target goes on.
    pub async fn pass(&self) {
        if *self.open.borrow() {
            return;
        }
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// Lets nothing pass until `over` returns, like a target that is stopped: connections are
    /// still taken. The span lies within what really was, so that a latency cannot be below it.
    pub async fn stand(&self, over: impl Future<Output = ()>) -> Span {
        self.open.send_replace(false);
        let from_ns = now_ns();
        over.await;
        let to_ns = now_ns();
        self.open.send_replace(true);
        Span { from_ns, to_ns }
    }
}
