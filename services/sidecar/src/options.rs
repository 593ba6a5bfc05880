//! What a sidecar is started with, and every limit of it.
//! Reads and writes: nothing. Never: lets a sidecar without a token be reached from another machine.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

/// Where the app's subscriptions and endpoints are declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The app says them: `GET` of this path, asked again each time the app comes up.
    App(String),
    /// A TOML file.
    File(PathBuf),
}

/// Path at which an app declares what it wants, unless configured otherwise.
pub const DECLARATION_PATH: &str = "/campana/subscriptions";

/// The app beside the sidecar.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// Host name or address; `127.0.0.1` unless the app runs in another container of the same pod.
    pub host: String,
    /// Its HTTP port.
    pub port: u16,
    /// Sent to the app as `campana-app-token`, so that it can refuse everybody else.
    pub token: Option<SecretString>,
    /// A path that answers 2xx while the app is well. Without it, an open port counts as well.
    pub health_path: Option<String>,
    /// How often an app that is there is looked at: by its health path, or by its port.
    pub health_every: Duration,
    /// How long a connection to the app may take to open, and a health check to be answered.
    pub connect_timeout: Duration,
    /// How long a message in hand waits for an app that went away before it is put off. A message of an
    /// ordered subscription waits for ever, because its successors must not overtake it.
    pub hold: Duration,
}

/// Sizes, numbers and times beyond which the sidecar says no.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body. NATS takes 1 MiB with headers unless configured otherwise.
    pub body_bytes_max: usize,
    /// Bytes of a called service's or the app's answer.
    pub answer_bytes_max: usize,
    /// Bytes of a request's path and query.
    pub target_bytes_max: usize,
    /// Headers of a request.
    pub headers_max: usize,
    /// Open connections from the app.
    pub connections_max: usize,
    /// Requests at work at the same time, without health and answers to deliveries.
    pub requests_max: usize,
    /// How long the head of a request may take, then its body, and how long an answer may lie unread.
    pub read_timeout: Duration,
    /// Events of one batch.
    pub batch_max: usize,
    /// Key-value buckets that this sidecar opens.
    pub buckets_max: usize,
    /// How far ahead an event may be scheduled.
    pub schedule_max: Duration,
    /// The longest time that a call may be given.
    pub call_timeout_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 512 * 1024,
            answer_bytes_max: 512 * 1024,
            target_bytes_max: 4 * 1024,
            headers_max: 100,
            connections_max: 1_024,
            requests_max: 256,
            read_timeout: Duration::from_secs(15),
            batch_max: 100,
            buckets_max: 32,
            schedule_max: Duration::from_secs(366 * 24 * 3600),
            call_timeout_max: Duration::from_secs(120),
        }
    }
}

/// Gives the metrics of the process as text.
#[derive(Clone)]
pub struct RenderMetrics(pub Arc<dyn Fn() -> String + Send + Sync>);

impl fmt::Debug for RenderMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RenderMetrics")
    }
}

/// What a sidecar is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The app's name: keeps its schedules and buckets apart from those of other apps, and is the source of
    /// its events when it does not say.
    pub name: String,
    /// Whose events these are when the app does not say.
    pub tenant: String,
    /// The app.
    pub app: AppOptions,
    /// What the app must send as `Authorization: Bearer …` or `campana-api-token`.
    pub api_token: Option<SecretString>,
    /// Where subscriptions and endpoints come from.
    pub source: Source,
    /// Limits.
    pub limits: Limits,
    /// How long a soft stop waits for deliveries in hand.
    pub drain: Duration,
    /// Serves `/metrics`, if there is a recorder in this process.
    pub metrics: Option<RenderMetrics>,
}

impl Options {
    /// The default numbers for an app on this port.
    #[must_use]
    pub fn new(app_port: u16) -> Self {
        Self {
            name: "app".to_owned(),
            tenant: "default".to_owned(),
            app: AppOptions {
                host: "127.0.0.1".to_owned(),
                port: app_port,
                token: None,
                health_path: None,
                health_every: Duration::from_secs(5),
                connect_timeout: Duration::from_secs(2),
                hold: Duration::from_secs(10),
            },
            api_token: None,
            source: Source::App(DECLARATION_PATH.to_owned()),
            limits: Limits::default(),
            drain: Duration::from_secs(20),
            metrics: None,
        }
    }

    /// Whether these options may be used on this address.
    ///
    /// # Errors
    /// Says what to change.
    pub fn check(&self, address: SocketAddr) -> Result<(), OptionsError> {
        if !address.ip().is_loopback() && self.api_token.is_none() {
            return Err(OptionsError::OpenToAll { address });
        }
        if !is_plain_name(&self.name) {
            return Err(OptionsError::Name);
        }
        if campana_bus::subjects::check_name(&self.tenant).is_err() {
            return Err(OptionsError::Tenant);
        }
        let paths = [self.app.health_path.as_deref(), self.source.path()];
        if let Some(path) = paths.into_iter().flatten().find(|path| !is_path(path)) {
            return Err(OptionsError::Path { path: path.to_owned() });
        }
        Ok(())
    }
}

impl Source {
    fn path(&self) -> Option<&str> {
        match self {
            Self::App(path) => Some(path),
            Self::File(_) => None,
        }
    }
}

/// Letters, digits, `-` and `_`, at most 64: what JetStream takes as the name of a consumer or bucket.
#[must_use]
pub fn is_plain_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A path on the app: absolute, printable, without parts that a URL library would fold or cut off.
#[must_use]
pub fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= 512
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\'))
        && !path.split(['/', '?']).any(|part| {
            let part = part.replace("%2e", ".").replace("%2E", ".");
            part == "." || part == ".."
        })
}

/// Why a sidecar does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Anybody could publish and read.
    #[error(
        "refusing to listen on {address} without a token: others could reach the bus through it. \
         Listen on 127.0.0.1, or set a token (--api-token-file)"
    )]
    OpenToAll {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The name becomes part of subjects and buckets.
    #[error("the app's name is 1 to 64 letters, digits, \"-\" and \"_\"")]
    Name,
    /// The tenant becomes part of subjects.
    #[error("the tenant is 1 to 255 bytes without control characters")]
    Tenant,
    /// A path of the app cannot be used.
    #[error(
        "\"{path}\" is no path on the app: it begins with \"/\" and has no \"..\", \"#\" or spaces"
    )]
    Path {
        /// Which.
        path: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_only_this_machine_is_served() {
        let mut options = Options::new(3000);
        let local: SocketAddr = "127.0.0.1:3500".parse().unwrap();
        let six: SocketAddr = "[::1]:3500".parse().unwrap();
        let all: SocketAddr = "0.0.0.0:3500".parse().unwrap();
        assert_eq!(options.check(local), Ok(()));
        assert_eq!(options.check(six), Ok(()));
        assert!(matches!(options.check(all), Err(OptionsError::OpenToAll { .. })));
        options.api_token = Some("t".into());
        assert_eq!(options.check(all), Ok(()));
    }

    #[test]
    fn paths_stay_paths() {
        for path in ["/", "/orders", "/a/b?x=1", "/a.b/..c"] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "",
            "orders",
            "http://x/",
            "/a/../b",
            "/%2e%2E/b",
            "/a b",
            "/a#b",
            "/a\r\nx: y",
            "/\\x",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }
}
