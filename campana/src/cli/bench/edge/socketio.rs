//! Socket.IO with its Redis adapter: one Node.js process of ours, one private redis-server.
//! Reads: the libraries in `node_modules`, `PATH`. Writes: a temporary folder. Never: installs anything: it says
//! what is missing.
//!
//! Messages are published as another node of the cluster would: in the adapter's own form, to its Redis channel.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use campana_bus::testing::free_port;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::process::{Folder, Process};
use crate::errors::usage;

const SERVER: &str = include_str!("../../../../../loadtest/peers/socketio/server.mjs");
/// Where the libraries are looked for if nothing is said.
const LIBRARIES: &str = "loadtest/peers/socketio";
/// Says where they are.
pub const LIBRARIES_ENV: &str = "SOCKETIO_PEER";
/// The adapter's channel for all messages of the main namespace.
const ADAPTER: &str = "socket.io#/#";

/// The server, its Redis, and a publisher's connection to that.
pub struct SocketIo {
    publisher: Mutex<TcpStream>,
    node: Process,
    redis: Process,
    address: SocketAddr,
    _folder: Folder,
}

/// Where everything is, or what to install.
pub fn find() -> anyhow::Result<(PathBuf, PathBuf, PathBuf)> {
    let libraries =
        std::env::var_os(LIBRARIES_ENV).map_or_else(|| PathBuf::from(LIBRARIES), PathBuf::from);
    let (node, redis) = (on_path("node"), on_path("redis-server"));
    let installed = libraries.join("node_modules/jsonwebtoken").is_dir();
    let (Some(node), Some(redis), true) = (node.clone(), redis.clone(), installed) else {
        let mut missing = Vec::new();
        if node.is_none() {
            missing.push("node on PATH (`apt install nodejs npm`, 20 or newer)".to_owned());
        }
        if redis.is_none() {
            missing.push("redis-server on PATH (`apt install redis-server`)".to_owned());
        }
        if !installed {
            missing.push(format!(
                "its libraries (`npm ci` in {LIBRARIES}; another folder: {LIBRARIES_ENV})"
            ));
        }
        return Err(usage(format!(
            "Socket.IO cannot be measured, missing: {}",
            missing.join(", ")
        )));
    };
    Ok((node, redis, libraries.canonicalize()?))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

impl SocketIo {
    /// Starts Redis without persistence, then the server.
    pub async fn start() -> anyhow::Result<Self> {
        let (node, redis, libraries) = find()?;
        let folder = Folder::new()?;
        let port = free_port().map_err(anyhow::Error::msg)?;
        let redis = start_redis(&redis, folder.path(), port).await?;
        let script = folder.path().join("server.mjs");
        std::fs::write(&script, SERVER)?;
        // Modules are found beside the script.
        std::os::unix::fs::symlink(
            libraries.join("node_modules"),
            folder.path().join("node_modules"),
        )?;
        let arguments = [script.display().to_string(), port.to_string()];
        let mut node = Process::start("socketio", folder.path(), &node, &arguments)?;
        let listening: u16 = node.line("ready ").await?.parse()?;
        let publisher = Mutex::new(TcpStream::connect(("127.0.0.1", port)).await?);
        let address = SocketAddr::from(([127, 0, 0, 1], listening));
        Ok(Self { publisher, node, redis, address, _folder: folder })
    }

    /// The Node.js process.
    pub fn pid(&self) -> u32 {
        self.node.pid()
    }

    /// The redis-server.
    pub fn broker_pid(&self) -> u32 {
        self.redis.pid()
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes all at once and waits for Redis to say how many processes it told.
    pub async fn publish(
        &self,
        room: &str,
        bodies: impl Iterator<Item = Bytes>,
    ) -> anyhow::Result<()> {
        let (mut out, mut wanted) = (Vec::new(), 0);
        let channel = format!("{ADAPTER}{room}#");
        for body in bodies {
            redis_command(&mut out, &[b"PUBLISH", channel.as_bytes(), &broadcast(room, &body)?]);
            wanted += 1;
        }
        let mut connection = self.publisher.lock().await;
        connection.write_all(&out).await?;
        let mut answers = Vec::new();
        while answers.iter().filter(|byte| **byte == b'\n').count() < wanted {
            let read = connection.read_buf(&mut answers).await?;
            anyhow::ensure!(read > 0, "redis-server closed the connection");
        }
        let answers = String::from_utf8_lossy(&answers);
        let told = answers.lines().all(|line| line.starts_with(":1"));
        anyhow::ensure!(told, "the Socket.IO server does not listen to Redis: {answers}");
        Ok(())
    }
}

async fn start_redis(program: &Path, folder: &Path, port: u16) -> anyhow::Result<Process> {
    let port_text = port.to_string();
    let arguments =
        ["--bind", "127.0.0.1", "--port", &port_text, "--save", "", "--appendonly", "no"];
    let mut redis = Process::start("redis", folder, program, &arguments.map(str::to_owned))?;
    redis.listening(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    Ok(redis)
}

fn redis_command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the adapter's nodes tell each other, in MessagePack: who, the packet, where to.
fn broadcast(room: &str, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let body: serde_json::Value = serde_json::from_slice(body)?;
    let packet = serde_json::json!({"type": 2, "data": ["m", body], "nsp": "/"});
    let options = serde_json::json!({"rooms": [room], "flags": {}, "except": []});
    let mut out = Vec::new();
    pack(&mut out, &serde_json::json!(["emitter", packet, options]));
    Ok(out)
}

/// MessagePack of what is needed here: small numbers, text below 64 KiB, lists and maps below 16.
fn pack(out: &mut Vec<u8>, value: &serde_json::Value) {
    use serde_json::Value;
    let text = |out: &mut Vec<u8>, text: &str| {
        match text.len() {
            short @ 0..=31 => out.push(0xa0 | short as u8),
            long => {
                out.push(0xda);
                out.extend_from_slice(&(long as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(text.as_bytes());
    };
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(is) => out.push(0xc2 + u8::from(*is)),
        Value::Number(number) => out.push(number.as_u64().unwrap_or(0) as u8 & 0x7f),
        Value::String(one) => text(out, one),
        Value::Array(all) => {
            out.push(0x90 | all.len() as u8 & 0x0f);
            all.iter().for_each(|one| pack(out, one));
        }
        Value::Object(all) => {
            out.push(0x80 | all.len() as u8 & 0x0f);
            for (key, one) in all {
                text(out, key);
                pack(out, one);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adapter_s_form() {
        let packed = broadcast("r", br#"{"n":1}"#).unwrap();
        // fixarray of 3, "emitter", a map of 3.
        assert_eq!(packed[..9], *b"\x93\xa7emitter");
        assert_eq!(packed[9], 0x83);
        let mut long = Vec::new();
        pack(&mut long, &"x".repeat(300).into());
        assert_eq!((long.len(), &long[..3]), (303, &b"\xda\x01\x2c"[..]));
    }

    #[test]
    fn redis_reads_lengths() {
        let mut out = Vec::new();
        redis_command(&mut out, &[b"PUBLISH", b"a", b""]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$0\r\n\r\n");
    }
}
