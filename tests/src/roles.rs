//! Every role as a process of its own, against one nats-server and PostgreSQL.
//! Reads: what each process prints when it is ready. Writes: a temporary folder. Never: starts more than
//! was asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::NatsServer;
use campana_bus_sqlx::testing::Postgres;

use crate::api::Api;
use crate::command::{self, campana};
use crate::platform::Home;
use crate::process::{Process, Signal};
use crate::sandbox::Sandbox;
use crate::wait::eventually;

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPS_WITHIN: Duration = Duration::from_secs(20);
const TOKEN_SECRET: &str = "a secret that every role of this test shares";
/// The sandbox's own account, as documented.
const TWILIO: [&str; 2] = ["AC00000000000000000000000000005b0c", "sandbox-twilio-auth-token"];

/// A small production.
pub struct Roles {
    home: Home,
    /// One process for each role.
    pub processes: BTreeMap<String, Process>,
    addresses: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    /// The store.
    pub postgres: Postgres,
    /// The bus.
    pub nats: NatsServer,
    key: String,
}

impl Roles {
    /// Starts these roles in this order, each ready before the next; a sandbox and a gateway must come
    /// before those that are told where they are.
    ///
    /// # Errors
    /// If one of them does not become ready.
    pub async fn start(roles: &[&str]) -> Result<Self> {
        Self::start_with(roles, &[]).await
    }

    /// The same with more options, as `SECTION__KEY` and value.
    ///
    /// # Errors
    /// If one of them does not become ready.
    pub async fn start_with(roles: &[&str], options: &[(&str, &str)]) -> Result<Self> {
        let nats = NatsServer::start().map_err(anyhow::Error::msg)?;
        let postgres = Postgres::start().map_err(anyhow::Error::msg)?;
        let home = Home::new()?;
        let mut environment = vec![
            variable("NATS__URL", &nats.url()),
            variable("DATABASE__URL", &postgres.url()),
            variable("AUTH__TOKEN_SECRET", TOKEN_SECRET),
        ];
        for port in ["GATEWAY", "EDGE", "OPS", "SANDBOX_SMTP", "SANDBOX_WEB"] {
            environment.push(variable(&format!("LISTEN__{port}"), "0"));
        }
        environment.extend(options.iter().map(|(name, value)| variable(name, value)));
        let migrated = command::run(home.path(), &environment, &["migrate"]).await?;
        migrated.text().context("campana migrate")?;
        let create = ["keys", "create", "--name", "test", "--role", "admin", "--json"];
        let key = command::run(home.path(), &environment, &create).await?.json()?;
        let key = key["key"]["api_key"].as_str().context("keys create prints the key")?.to_owned();
        let mut all = Self {
            home,
            processes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            environment,
            postgres,
            nats,
            key,
        };
        for role in roles {
            all.start_role(role).await?;
        }
        Ok(all)
    }

    /// Starts one more role.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn start_role(&mut self, role: &str) -> Result<()> {
        let environment = self.environment.clone();
        let folder = self.home.path().to_owned();
        let mut process = Process::start(role, &campana()?, &folder, |command| {
            command.args(["run", "--role", role]).envs(environment).current_dir(&folder);
        })?;
        let ready = eventually(&format!("role {role}"), READY_WITHIN, async || {
            if let Err(ended) = process.must_run() {
                return Ok(Some(Err(ended)));
            }
            let output = process.output();
            Ok(output
                .lines()
                .find_map(|line| line.strip_prefix("ready: ").map(|rest| Ok(rest.to_owned()))))
        })
        .await??;
        for pair in ready.split(", ") {
            let (name, address) = pair.split_once(' ').context("ready: name address, …")?;
            let name = if name == "ops" { format!("{role}-ops") } else { name.to_owned() };
            self.addresses.insert(name, address.to_owned());
        }
        self.processes.insert(role.to_owned(), process);
        match role {
            "sandbox" => self.point_at_sandbox()?,
            "gateway" => {
                self.environment.push(variable("PUBLIC__GATEWAY_URL", &self.http("gateway")?))
            }
            _ => {}
        }
        Ok(())
    }

    fn point_at_sandbox(&mut self) -> Result<()> {
        let smtp = self.address("sandbox-smtp")?;
        let (host, port) = smtp.rsplit_once(':').context("an address has a port")?;
        let web = self.http("sandbox")?;
        self.environment.extend([
            variable("CHANNELS__EMAIL__HOST", host),
            variable("CHANNELS__EMAIL__PORT", port),
            variable("CHANNELS__EMAIL__TLS", "none"),
            variable("CHANNELS__TWILIO__BASE_URL", &web),
            variable("CHANNELS__TWILIO__ACCOUNT_SID", TWILIO[0]),
            variable("CHANNELS__TWILIO__AUTH_TOKEN", TWILIO[1]),
            variable("CHANNELS__TWILIO__SMS_FROM", "+12025550199"),
            variable("CHANNELS__TWILIO__WHATSAPP_FROM", "+12025550198"),
            variable("CHANNELS__WEBHOOK__ALLOW_NETWORKS", r#"["127.0.0.1/32"]"#),
        ]);
        Ok(())
    }

    /// Where a listener is: `gateway`, `edge`, `sandbox`, `sandbox-smtp`, `{role}-ops`.
    ///
    /// # Errors
    /// If no role of this name was started.
    pub fn address(&self, name: &str) -> Result<String> {
        self.addresses.get(name).cloned().with_context(|| format!("nothing listens as {name}"))
    }

    /// The same as a URL.
    ///
    /// # Errors
    /// If no role of this name was started.
    pub fn http(&self, name: &str) -> Result<String> {
        Ok(format!("http://{}", self.address(name)?))
    }

    /// The edge's WebSocket.
    ///
    /// # Errors
    /// If there is no edge.
    pub fn edge_ws(&self) -> Result<String> {
        Ok(format!("ws://{}/connection/websocket", self.address("edge")?))
    }

    /// A caller with an admin key.
    ///
    /// # Errors
    /// If there is no gateway.
    pub fn api(&self) -> Result<Api> {
        Api::new(&self.http("gateway")?, &self.key)
    }

    /// The sandbox.
    ///
    /// # Errors
    /// If there is none.
    pub fn sandbox(&self) -> Result<Sandbox> {
        Sandbox::new(&self.http("sandbox")?)
    }

    /// Stops every role and checks that each ended cleanly.
    ///
    /// # Errors
    /// If one does not.
    pub async fn stop(mut self) -> Result<()> {
        for process in self.processes.values() {
            process.signal(Signal::TERM)?;
        }
        for (role, process) in &mut self.processes {
            let status = process.ended(STOPS_WITHIN).await?;
            ensure!(status.success(), "{role} ended with {status}: {}", process.log());
        }
        Ok(())
    }
}

fn variable(name: &str, value: &str) -> (String, String) {
    (format!("CAMPANA__{name}"), value.to_owned())
}
