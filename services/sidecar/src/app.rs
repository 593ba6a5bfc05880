//! The app beside the sidecar: the client that speaks to it, and whether it is there.
//! Reads: the app's answers and its port. Writes: requests to the app. Never: follows a redirect, uses a
//! proxy, or reads more of an answer than allowed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::options::AppOptions;
use crate::telemetry;

/// Name of the header by which the app knows its sidecar.
pub const APP_TOKEN: &str = "campana-app-token";
/// Pause before the first probe of an app that is away; it doubles up to [`PROBE_MAX`].
const PROBE_MIN: Duration = Duration::from_millis(100);
const PROBE_MAX: Duration = Duration::from_secs(2);
/// Failed health checks in a row after which the app counts as away.
const FAILED_CHECKS_MAX: u32 = 3;
/// Idle connections to the app that are kept.
const IDLE_MAX: usize = 64;

/// What an app answered.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Said {
    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE)
    }

    pub fn retry_after(&self) -> Option<&str> {
        self.header(RETRY_AFTER)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// No connection: the app has not seen the request.
    Away,
    /// The connection broke: the app may have worked on it.
    Broken,
    /// The answer was longer than allowed.
    TooLong,
}

/// Whether the app is there, and how often it came: who was busy while it restarted still learns of it.
#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    up: bool,
    arrivals: u64,
}

/// A handle on the app; cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    client: reqwest::Client,
    base: String,
    options: AppOptions,
    presence: watch::Sender<Presence>,
}

impl App {
    pub fn new(options: &AppOptions) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .connect_timeout(options.connect_timeout)
            .pool_max_idle_per_host(IDLE_MAX)
            // Shorter than what servers commonly allow, so that we close first and no request meets a
            // connection that the app is just closing.
            .pool_idle_timeout(Duration::from_secs(3))
            .build()?;
        let host = if options.host.contains(':') {
            format!("[{}]", options.host)
        } else {
            options.host.clone()
        };
        telemetry::app_up(false);
        Ok(Self {
            client,
            base: format!("http://{host}:{}", options.port),
            options: options.clone(),
            presence: watch::Sender::default(),
        })
    }

    /// How long a message in hand waits for an app that went away.
    pub fn hold(&self) -> Duration {
        self.options.hold
    }

    pub fn is_up(&self) -> bool {
        self.presence.borrow().up
    }

    /// Ready when the app is reachable.
    pub async fn wait_up(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.presence.subscribe().wait_for(|now| now.up).await;
    }

    /// Ready when the app is away.
    pub async fn wait_down(&self) {
        let _ = self.presence.subscribe().wait_for(|now| !now.up).await;
    }

    /// Ready when the app is reachable and came after the arrival `seen` (0 for none): the number of its
    /// last arrival.
    pub async fn arrived(&self, seen: u64) -> u64 {
        let mut presence = self.presence.subscribe();
        let came = presence.wait_for(|now| now.up && now.arrivals != seen).await;
        came.map_or(seen, |now| now.arrivals)
    }

    /// Somebody could not connect.
    pub fn lost(&self) {
        self.set(false);
    }

    fn set(&self, up: bool) {
        let changed = self.presence.send_if_modified(|known| {
            let changed = known.up != up;
            known.up = up;
            known.arrivals += u64::from(changed && up);
            changed
        });
        if !changed {
            return;
        }
        telemetry::app_up(up);
        if up {
            tracing::info!(app = %self.base, "the app is reachable");
        } else {
            telemetry::app_lost();
            tracing::warn!(app = %self.base, "the app is not reachable: deliveries wait for it");
        }
    }

    fn token(&self) -> Option<HeaderValue> {
        let token = self.options.token.as_ref().map(SecretString::expose_secret)?;
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Posts to the app; at most `limit` bytes of the answer are read. The caller sets the time limit.
    pub async fn post(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        limit: usize,
    ) -> Result<Said, Silence> {
        self.send(self.client.post(self.url(path)).headers(headers).body(body), limit).await
    }

    /// Asks the app.
    pub async fn get(&self, path: &str, limit: usize) -> Result<Said, Silence> {
        self.send(self.client.get(self.url(path)), limit).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: reqwest::RequestBuilder, limit: usize) -> Result<Said, Silence> {
        let request = match self.token() {
            Some(token) => request.header(APP_TOKEN, token),
            None => request,
        };
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() {
                self.lost();
                Silence::Away
            } else {
                Silence::Broken
            }
        })?;
        let mut body = BytesMut::new();
        while let Some(part) = response.chunk().await.map_err(|_| Silence::Broken)? {
            if body.len() + part.len() > limit {
                return Err(Silence::TooLong);
            }
            body.extend_from_slice(&part);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Said { status: response.status(), headers, body: body.freeze() })
    }

    /// Watches whether the app is there, until the stop.
    pub async fn watch(&self, stop: CancellationToken) {
        let (mut pause, mut failed) = (PROBE_MIN, 0);
        loop {
            let wait = if self.is_up() { self.options.health_every } else { pause };
            let lost = async {
                if self.is_up() {
                    self.wait_down().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = lost => pause = PROBE_MIN,
                () = tokio::time::sleep(wait) => {}
            }
            if self.answers().await {
                (pause, failed) = (PROBE_MIN, 0);
                self.set(true);
                continue;
            }
            failed += 1;
            pause = (pause * 2).min(PROBE_MAX);
            // A closed port is no slow answer.
            if failed >= FAILED_CHECKS_MAX || self.options.health_path.is_none() {
                self.set(false);
            }
        }
    }

    async fn answers(&self) -> bool {
        let asked = async {
            match &self.options.health_path {
                Some(path) => {
                    self.get(path, 64 * 1024).await.is_ok_and(|said| said.status.is_success())
                }
                None => {
                    let address = (self.options.host.as_str(), self.options.port);
                    tokio::net::TcpStream::connect(address).await.is_ok()
                }
            }
        };
        tokio::time::timeout(self.options.connect_timeout, asked).await.unwrap_or(false)
    }
}
