//! Finds the platform: a local one by the up.json that `campana up` writes, another one by its
//! address. Reads that file, writes nothing, and never prints the key.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use crate::args::TargetArgs;
use crate::failure::Failure;
use crate::load::post::{self, BodyWriter};
use crate::procs::{self, Process};
use crate::receivers::Protocol;

/// Names under which the platform's processes run.
const PLATFORM_NAMES: [&str; 2] = ["campana", "nats-server"];

/// A platform that can be measured: Campana, a peer, or the echo in this process.
#[derive(Clone)]
pub struct Target {
    /// As reports name it.
    pub name: String,
    pub gateway: Url,
    /// `host:port` of the gateway.
    pub authority: String,
    /// Where notifications are posted.
    pub path: String,
    pub body: BodyWriter,
    /// The status that means "taken".
    pub accepted_status: u16,
    pub tokens: TokenSource,
    /// What receivers speak.
    pub protocol: Protocol,
    pub ws_url: Option<Url>,
    pub nats_monitor: Option<Url>,
    /// The platform's metrics in Prometheus' text form.
    pub metrics: Option<Url>,
    /// The sandbox, where e-mail, SMS, WhatsApp and webhooks arrive.
    pub sandbox: Option<Url>,
    /// Where the data lies, if it is on this machine.
    pub data_dir: Option<PathBuf>,
    /// Where up.json lies.
    pub up_dir: Option<PathBuf>,
    pub api_key: String,
    pub durability: String,
    pub version: Option<String>,
    pub processes: Vec<Process>,
}

/// How receivers come by what they connect with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// `POST /v1/tokens` of the gateway.
    Gateway,
    /// The user's name is the token.
    Name,
    /// A JWT of the user, signed here with this secret (HMAC-SHA256).
    Hs256(&'static str),
}

#[derive(Deserialize)]
struct UpFile {
    pid: u32,
    nats_pid: Option<u32>,
    gateway: Url,
    edge_ws: Option<Url>,
    nats_monitor: Option<Url>,
    metrics: Option<Url>,
    sandbox: Option<Url>,
    data_dir: Option<PathBuf>,
    api_key: String,
    #[serde(default = "unknown")]
    durability: String,
    version: Option<String>,
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Finds the platform named by the arguments.
pub fn find(arguments: &TargetArgs) -> Result<Target, Failure> {
    let mut target = match (&arguments.target, &arguments.api_key) {
        (Some(gateway), Some(key)) => Target {
            ws_url: arguments.ws_url.clone(),
            processes: procs::find(&PLATFORM_NAMES),
            ..Target::campana(gateway.clone(), key.clone())?
        },
        _ => from_up_file(&arguments.data_dir)?,
    };
    if target.ws_url.as_ref().is_some_and(|url| url.scheme() != "ws") {
        return Err(Failure::Usage("the WebSocket address must begin with ws://".to_owned()));
    }
    let watched: Vec<&str> = arguments.watch.iter().map(String::as_str).collect();
    target.processes.extend(procs::find(&watched));
    Ok(target)
}

/// The platform whose up.json lies in this folder.
pub fn from_up_file(data_dir: &Path) -> Result<Target, Failure> {
    let path = data_dir.join("up.json");
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::Connect(format!(
            "no running platform found: {}: {error}; start one with `campana up`, or name one with --data-dir or --target",
            path.display()
        ))
    })?;
    let up: UpFile =
        serde_json::from_str(&text).map_err(|error| Failure::failed(path.display(), error))?;
    let mut processes = vec![Process::alone("campana", up.pid)];
    processes.extend(up.nats_pid.map(|pid| Process::alone("nats-server", pid)));
    Ok(Target {
        ws_url: up.edge_ws,
        nats_monitor: up.nats_monitor,
        metrics: up.metrics.and_then(|url| url.join("metrics").ok()),
        sandbox: up.sandbox,
        data_dir: up.data_dir,
        up_dir: Some(data_dir.to_owned()),
        durability: up.durability,
        version: up.version,
        processes,
        ..Target::campana(up.gateway, up.api_key)?
    })
}

impl Target {
    /// A platform at an address, of which nothing else is known.
    pub fn campana(gateway: Url, api_key: String) -> Result<Self, Failure> {
        Ok(Self {
            name: "campana".to_owned(),
            authority: authority(&gateway)?,
            gateway,
            path: "/v1/notifications".to_owned(),
            body: post::campana_body,
            accepted_status: 202,
            tokens: TokenSource::Gateway,
            protocol: Protocol::Centrifuge,
            ws_url: None,
            nats_monitor: None,
            metrics: None,
            sandbox: None,
            data_dir: None,
            up_dir: None,
            api_key,
            durability: unknown(),
            version: None,
            processes: Vec::new(),
        })
    }

    /// The same, as up.json says now: nats-server has another process id after a restart.
    pub fn current_pid(&self, name: &str) -> Option<u32> {
        let again = self.up_dir.as_deref().and_then(|dir| from_up_file(dir).ok());
        again.as_ref().unwrap_or(self).pid_of(name)
    }

    /// The process of that name, as up.json gave it.
    pub fn pid_of(&self, name: &str) -> Option<u32> {
        self.processes.iter().find(|process| process.name == name).map(|found| found.pid)
    }

    /// The platform's processes on this machine and the harness's own.
    pub fn processes(&self) -> Vec<Process> {
        let own = Process::alone("generator", std::process::id());
        self.processes.iter().cloned().chain([own]).collect()
    }

    /// The process that holds the WebSocket connections, if it runs on this machine.
    pub fn edge_pid(&self) -> Option<u32> {
        self.pid_of("campana")
    }
}

/// `host:port`; the generator speaks plain HTTP so that it measures the platform and not its
/// own cryptography.
fn authority(gateway: &Url) -> Result<String, Failure> {
    let refused = |why: &str| Failure::Usage(format!("{gateway}: {why}"));
    if gateway.scheme() != "http" {
        return Err(refused("only http:// can be measured; run this beside the TLS terminator"));
    }
    let host = gateway.host_str().ok_or_else(|| refused("no host"))?;
    let port = gateway.port_or_known_default().ok_or_else(|| refused("no port"))?;
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_up_file_names_everything() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"schema_version":1,"pid":11,"nats_pid":12,"gateway":"http://127.0.0.1:8080",
            "edge_ws":"ws://127.0.0.1:8000/connection/websocket","api_key":"ck_x","durability":"power","later":true}"#;
        fs::write(dir.path().join("up.json"), text).unwrap();
        let target = from_up_file(dir.path()).unwrap();
        assert_eq!(target.authority, "127.0.0.1:8080");
        assert_eq!(target.edge_pid(), Some(11));
        assert_eq!(target.processes().len(), 3);
        assert_eq!(target.durability, "power");
    }

    #[test]
    fn a_missing_platform_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let Err(failure) = from_up_file(dir.path()) else { panic!("found a platform") };
        assert!(matches!(failure, Failure::Connect(_)));
        assert!(failure.to_string().contains("campana up"), "{failure}");
    }

    #[test]
    fn only_plain_http_is_measured() {
        assert!(authority(&"https://example.com".parse().unwrap()).is_err());
        assert_eq!(authority(&"http://[::1]:81/x".parse().unwrap()).unwrap(), "[::1]:81");
        assert_eq!(authority(&"http://h".parse().unwrap()).unwrap(), "h:80");
    }
}
