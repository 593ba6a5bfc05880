//! How each peer is started, and what the generator must know of it.
//! Reads: programs and their libraries. Writes: a temporary folder for each. Every server listens on a free port of
//! the loopback interface; a peer that is given up half-way takes its servers with it.

use std::path::Path;

use tempfile::TempDir;
use url::Url;

use super::child::{Child, free_port};
use super::install;
use super::postgres;
use super::programs::{self, Program, text};
use super::wire;
use super::{Durability, Kind, Peer};
use crate::args::TargetArgs;
use crate::failure::Failure;
use crate::receivers::Protocol;
use crate::target::{self, Target, TokenSource};

/// Only this machine can reach the servers, and they live for minutes.
const KEY: &str = "peers-of-the-load-test";
/// More clients than a run may have.
const CLIENTS_MAX: &str = "65000";

/// Starts a peer and returns when it answers.
pub async fn start(kind: Kind, peers: &Path, durability: Durability) -> Result<Peer, Failure> {
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::failed("cannot make a temporary folder", error))?;
    match kind {
        Kind::Platform => platform(folder, durability).await,
        Kind::Floor => floor(folder, durability).await,
        Kind::Django => django(folder, peers).await,
        Kind::DjangoDocumented => django_documented(folder, peers).await,
        Kind::Socketio => socketio(folder, peers).await,
        Kind::Nats => nats(folder).await,
        Kind::Centrifugo => centrifugo(folder).await,
    }
}

/// Whether a peer can be started, or what is missing.
pub fn available(kind: Kind) -> Result<(), Failure> {
    let needed: &[Program] = match kind {
        Kind::Platform => &[Program::Campana, Program::NatsServer],
        Kind::Floor | Kind::Nats => &[Program::Floor, Program::NatsServer],
        Kind::Django => &[Program::Python, Program::Redis],
        Kind::DjangoDocumented => &[Program::Python, Program::Redis, Program::Postgres],
        Kind::Socketio => &[Program::Node, Program::Npm, Program::Redis],
        Kind::Centrifugo => &[Program::Centrifugo],
    };
    needed.iter().try_for_each(|program| program.find().map(|_| ()))
}

/// What `up.json` in a folder says; nothing of the processes in it is kept.
fn from_up_file(folder: &Path) -> Result<Target, Failure> {
    let arguments = TargetArgs {
        data_dir: folder.to_owned(),
        target: None,
        api_key: None,
        ws_url: None,
        watch: Vec::new(),
    };
    let mut target = target::find(&arguments)?;
    target.processes.clear();
    Ok(target)
}

fn peer(
    kind: Kind,
    target: Target,
    beside: &[Program],
    children: Vec<Child>,
    folder: TempDir,
) -> Peer {
    let mut target = Target { name: kind.name().to_owned(), ..target };
    let versions = target
        .version
        .take()
        .into_iter()
        .chain(beside.iter().copied().filter_map(programs::version));
    target.version = Some(versions.collect::<Vec<_>>().join(", "));
    target.processes.extend(children.iter().flat_map(Child::processes));
    Peer { kind, target, children, _folder: folder }
}

async fn platform(folder: TempDir, durability: Durability) -> Result<Peer, Failure> {
    let nats = Program::NatsServer.find()?;
    let data = folder.path().join("data");
    let arguments = [
        "up",
        "--free-ports",
        "--nats-server",
        text(&nats)?,
        "--data-dir",
        text(&data)?,
        "--durability",
        durability.name(),
    ];
    let program = Program::Campana.find()?;
    let mut child = Child::start("campana", folder.path(), &program, &arguments)?;
    child.file(&data.join("up.json")).await?;
    let mut target = from_up_file(&data)?;
    let mut all = child.processes();
    // The platform starts its own nats-server, which has a row of its own, as with the other peers.
    for process in &mut all {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", process.pid));
        if comm.is_ok_and(|comm| comm.trim() == Program::NatsServer.name()) {
            Program::NatsServer.name().clone_into(&mut process.name);
        }
    }
    target.processes = all;
    let name = Kind::Platform.name().to_owned();
    Ok(Peer {
        kind: Kind::Platform,
        target: Target { name, ..target },
        children: vec![child],
        _folder: folder,
    })
}

async fn floor(folder: TempDir, durability: Durability) -> Result<Peer, Failure> {
    // As the platform's own: nats/embedded.conf and nats/embedded-lazy.conf.
    let sync = match durability {
        Durability::Power => "always",
        Durability::Process => "2m",
    };
    let store = folder.path().join("jetstream");
    let jetstream = format!(
        "max_pending: 64MB\njetstream {{ store_dir: {store:?}, max_mem: 256MB, max_file: 4GB, sync_interval: \"{sync}\" }}\n"
    );
    let (server, port) = nats_server(folder.path(), &jetstream).await?;
    let url = format!("nats://127.0.0.1:{port}");
    let arguments = [
        "--nats-url",
        &url,
        "--durability",
        durability.name(),
        "--api-key",
        KEY,
        "--data-dir",
        text(folder.path())?,
    ];
    let program = Program::Floor.find()?;
    let mut floor = Child::start("floor", folder.path(), &program, &arguments)?;
    floor.line().await?;
    let target = from_up_file(folder.path())?;
    Ok(peer(Kind::Floor, target, &[Program::NatsServer], vec![floor, server], folder))
}

async fn nats_server(folder: &Path, more: &str) -> Result<(Child, u16), Failure> {
    let port = free_port()?;
    let config = format!(
        "host: 127.0.0.1\nport: {port}\nmax_connections: {CLIENTS_MAX}\nping_interval: \"1h\"\n{more}"
    );
    let path = folder.join("nats.conf");
    std::fs::write(&path, config).map_err(|error| Failure::failed(path.display(), error))?;
    let program = Program::NatsServer.find()?;
    let mut child = Child::start("nats-server", folder, &program, &["--config", text(&path)?])?;
    child.listening(port).await?;
    Ok((child, port))
}

async fn redis(folder: &Path) -> Result<(Child, u16), Failure> {
    let port = free_port()?;
    let number = port.to_string();
    let arguments = [
        "--bind",
        "127.0.0.1",
        "--port",
        &number,
        "--save",
        "",
        "--appendonly",
        "no",
        "--maxclients",
        CLIENTS_MAX,
    ];
    let mut child = Child::start("redis-server", folder, &Program::Redis.find()?, &arguments)?;
    child.listening(port).await?;
    Ok((child, port))
}

async fn django(folder: TempDir, peers: &Path) -> Result<Peer, Failure> {
    let python = install::python(peers)?;
    let (redis, port) = redis(folder.path()).await?;
    let script = programs::folder(peers, "django")?.join("serve.py");
    let url = format!("redis://127.0.0.1:{port}/0");
    let arguments =
        [text(&script)?, "--redis", &url, "--api-key", KEY, "--data-dir", text(folder.path())?];
    let mut server = Child::start("django", folder.path(), &python, &arguments)?;
    server.line().await?;
    let target = from_up_file(folder.path())?;
    Ok(peer(Kind::Django, target, &[Program::Redis], vec![server, redis], folder))
}

/// One process, as the documentation starts it; its shape chooses settings, view and layer.
async fn django_documented(folder: TempDir, peers: &Path) -> Result<Peer, Failure> {
    let python = install::python(peers)?;
    let (redis, port) = redis(folder.path()).await?;
    let url = format!("redis://127.0.0.1:{port}/0");
    let (postgres, port) = postgres::start(folder.path()).await?;
    let script = programs::folder(peers, "django")?.join("serve.py");
    let port = port.to_string();
    let arguments = [
        text(&script)?,
        "--shape",
        "documented",
        "--redis",
        &url,
        "--postgres-port",
        &port,
        "--api-key",
        KEY,
        "--data-dir",
        text(folder.path())?,
    ];
    let mut server = Child::start("django", folder.path(), &python, &arguments)?;
    server.line().await?;
    let target = from_up_file(folder.path())?;
    let beside = [Program::Postgres, Program::Redis];
    Ok(peer(Kind::DjangoDocumented, target, &beside, vec![server, postgres, redis], folder))
}

async fn socketio(folder: TempDir, peers: &Path) -> Result<Peer, Failure> {
    let script = install::node_modules(peers)?.join("server.mjs");
    let (redis, port) = redis(folder.path()).await?;
    let (port, workers) = (port.to_string(), cores().to_string());
    let arguments = [
        text(&script)?,
        &port,
        "--api-key",
        KEY,
        "--data-dir",
        text(folder.path())?,
        "--workers",
        &workers,
    ];
    let mut server = Child::start("socketio", folder.path(), &Program::Node.find()?, &arguments)?;
    server.line().await?;
    let target = Target { protocol: Protocol::Socketio, ..from_up_file(folder.path())? };
    Ok(peer(Kind::Socketio, target, &[Program::Redis], vec![server, redis], folder))
}

/// One process per core, as both interpreters' documentation advises.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn at(port: u16, scheme: &str, path: &str) -> Result<Url, Failure> {
    let address = format!("{scheme}://127.0.0.1:{port}{path}");
    Url::parse(&address).map_err(|error| Failure::failed(address, error))
}

async fn nats(folder: TempDir) -> Result<Peer, Failure> {
    let ws = free_port()?;
    let websocket =
        format!("websocket {{ host: 127.0.0.1, port: {ws}, no_tls: true, compression: false }}\n");
    let (mut server, port) = nats_server(folder.path(), &websocket).await?;
    server.listening(ws).await?;
    let (url, gateway) = (format!("nats://127.0.0.1:{port}"), format!("ws://127.0.0.1:{ws}/"));
    let arguments = [
        "--nats-url",
        &url,
        "--core",
        &gateway,
        "--api-key",
        KEY,
        "--data-dir",
        text(folder.path())?,
    ];
    let program = Program::Floor.find()?;
    let mut front = Child::start("http front", folder.path(), &program, &arguments)?;
    front.line().await?;
    let target = Target { protocol: Protocol::Nats, ..from_up_file(folder.path())? };
    Ok(peer(Kind::Nats, target, &[Program::NatsServer], vec![front, server], folder))
}

async fn centrifugo(folder: TempDir) -> Result<Peer, Failure> {
    let port = free_port()?;
    let config = folder.path().join("config.json");
    std::fs::write(&config, wire::centrifugo_config(port, KEY))
        .map_err(|error| Failure::failed(config.display(), error))?;
    let program = Program::Centrifugo.find()?;
    let arguments = ["--config", text(&config)?];
    let mut server = Child::start("centrifugo", folder.path(), &program, &arguments)?;
    server.listening(port).await?;
    let target = Target {
        path: format!("/api/publish?api_key={KEY}"),
        body: wire::centrifugo_body,
        accepted_status: 200,
        tokens: TokenSource::Hs256(KEY),
        ws_url: Some(at(port, "ws", "/connection/websocket")?),
        durability: "none".to_owned(),
        ..Target::campana(at(port, "http", "/")?, String::new())?
    };
    Ok(peer(Kind::Centrifugo, target, &[], vec![server], folder))
}
