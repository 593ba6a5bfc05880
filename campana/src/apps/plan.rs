//! Which applications there are, where each listens, and what each of its programs is started with.
//! Reads: values. Writes: nothing. Never: puts a secret anywhere but into a program's environment.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use super::find::Found;

/// Applications listen on this machine alone, whatever the platform does: their demo accounts are everybody's.
pub const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Seconds that the sidecar of the support desk gets to finish what it has in hand.
const SIDECAR_DRAIN_SECONDS: &str = "3";

/// An application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    /// Appointments.
    Clinic,
    /// Rooms.
    Chat,
    /// Orders.
    Shop,
    /// Tickets, in Python behind a sidecar.
    Support,
}

impl App {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Clinic, Self::Chat, Self::Shop, Self::Support];

    /// Its name in paths, metrics and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clinic => "clinic",
            Self::Chat => "chat",
            Self::Shop => "shop",
            Self::Support => "support",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Clinic => "Clinic",
            Self::Chat => "Chat",
            Self::Shop => "Shop",
            Self::Support => "Support desk",
        }
    }

    /// Who to be in the demo; `None` if there is nothing to sign in to.
    pub const fn account(self) -> Option<&'static str> {
        match self {
            Self::Clinic => Some("be Ana García, and Dra. Elena Ruiz in a private window"),
            Self::Chat => Some("ana, bruno, clara or dan, password campana-demo"),
            Self::Shop => None,
            Self::Support => Some("agents at /agents: lucia, password demo-lucia"),
        }
    }

    /// Where its page is unless chosen otherwise; its README says the same.
    const fn port(self) -> u16 {
        match self {
            Self::Clinic => 8091,
            Self::Chat => 8082,
            Self::Shop => 8090,
            Self::Support => 8092,
        }
    }

    /// Its program beside `campana`; `None` for the one in Python.
    pub const fn program(self) -> Option<&'static str> {
        match self {
            Self::Clinic => Some("campana-clinic"),
            Self::Chat => Some("campana-chat"),
            Self::Shop => Some("campana-shop"),
            Self::Support => None,
        }
    }
}

/// Where the module of the support desk listens for its sidecar.
const DESK_PORT: u16 = 3092;
/// Where the sidecar listens for the module.
const SIDECAR_PORT: u16 = 3500;

/// How ports are chosen.
#[derive(Clone, Copy, Debug)]
pub enum PortChoice {
    /// The usual ones, moved by so much.
    Offset(u16),
    /// Any free ones.
    Free,
}

/// Every port of the applications, the same over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pages: [u16; App::ALL.len()],
    desk: u16,
    sidecar: u16,
}

impl Ports {
    /// Chooses them once. Free ones are held, so that nobody else of this process gets them before the applications do.
    pub fn choose(choice: PortChoice) -> anyhow::Result<(Self, Vec<TcpListener>)> {
        match choice {
            PortChoice::Offset(offset) => Ok((Self::moved(offset), Vec::new())),
            PortChoice::Free => Self::free(),
        }
    }

    /// The usual ones, moved by so much.
    pub fn moved(offset: u16) -> Self {
        Self {
            pages: App::ALL.map(|app| app.port().saturating_add(offset)),
            desk: DESK_PORT.saturating_add(offset),
            sidecar: SIDECAR_PORT.saturating_add(offset),
        }
    }

    fn free() -> anyhow::Result<(Self, Vec<TcpListener>)> {
        let held: Vec<TcpListener> = (0..App::ALL.len() + 2)
            .map(|_| TcpListener::bind((HOST, 0)))
            .collect::<Result<_, _>>()
            .context("no free port for the applications")?;
        let mut ports = Self::moved(0);
        let places = ports.pages.iter_mut().chain([&mut ports.desk, &mut ports.sidecar]);
        for (place, listener) in places.zip(&held) {
            *place = listener.local_addr()?.port();
        }
        Ok((ports, held))
    }

    /// Where the page of an application is.
    pub fn page(&self, app: App) -> u16 {
        self.pages[app as usize]
    }

    /// The address of its page.
    pub fn url(&self, app: App) -> String {
        format!("http://{HOST}:{}", self.page(app))
    }

    /// What browsers call the page of an application, by either name of this machine.
    pub fn origins(&self, app: App) -> [String; 2] {
        [self.url(app), format!("http://localhost:{}", self.page(app))]
    }
}

/// What the applications are told of the platform.
pub struct Surroundings {
    /// The bus.
    pub nats_url: String,
    /// Credentials for it.
    pub nats_credentials: Option<PathBuf>,
    /// The notification gateway on this machine.
    pub gateway: String,
    /// The same, as browsers reach it.
    pub public_gateway: String,
    /// Where browsers connect.
    pub edge_ws: String,
    /// The edge's server API.
    pub edge: String,
    /// What the edge verifies tokens with.
    pub edge_secret: SecretString,
    /// The key of the edge's server API.
    pub edge_key: SecretString,
    /// What the support desk and its sidecar show each other, and the file that holds it.
    pub sidecar_token: SecretString,
    /// The file, because a sidecar takes tokens from files alone.
    pub sidecar_token_file: PathBuf,
    /// Each application's own key of the gateway.
    pub api_keys: [SecretString; App::ALL.len()],
}

/// One program, ready to start.
pub struct Spec {
    /// What it belongs to.
    pub app: App,
    /// Its name in the log, and of its log file.
    pub name: &'static str,
    /// The file to run.
    pub program: PathBuf,
    /// Seen by everybody on this machine.
    pub arguments: Vec<OsString>,
    /// Seen by nobody else.
    pub environment: Vec<(&'static str, OsString)>,
    /// Ports on [`HOST`] that it needs.
    pub ports: Vec<u16>,
    /// Answers 2xx while it is well.
    pub health: String,
}

/// What an application consists of, in the order in which it starts; it stops in the opposite one.
pub fn programs(
    app: App,
    found: &Found,
    data_dir: &Path,
    ports: &Ports,
    around: &Surroundings,
) -> Vec<Spec> {
    match found {
        Found::Program(program) => vec![own(app, program, data_dir, ports, around)],
        Found::Module { python, folder, campana } => {
            vec![desk(python, folder, data_dir, ports, around), sidecar(campana, ports, around)]
        }
    }
}

/// The environment that an application and its page are told the platform with.
fn common(app: App, around: &Surroundings) -> Vec<(&'static str, OsString)> {
    let mut all: Vec<(&'static str, OsString)> = vec![
        // Its output goes to a file.
        ("NO_COLOR", "1".into()),
        ("CAMPANA_API_URL", around.gateway.as_str().into()),
        ("CAMPANA_API_KEY", around.api_keys[app as usize].expose_secret().into()),
        ("CAMPANA_EDGE_URL", around.edge_ws.as_str().into()),
    ];
    // The clinic takes its tokens from the gateway.
    if app != App::Clinic {
        all.push(("CAMPANA_EDGE_SECRET", around.edge_secret.expose_secret().into()));
    }
    if matches!(app, App::Chat | App::Support) {
        all.push(("CAMPANA_EDGE_API_URL", around.edge.as_str().into()));
        all.push(("CAMPANA_EDGE_API_KEY", around.edge_key.expose_secret().into()));
    }
    all
}

/// A program of this workspace.
fn own(app: App, program: &Path, data_dir: &Path, ports: &Ports, around: &Surroundings) -> Spec {
    let address = format!("{HOST}:{}", ports.page(app));
    let mut environment = common(app, around);
    environment.push(("CAMPANA_NATS_URL", around.nats_url.as_str().into()));
    let (listen, data) = match app {
        App::Clinic => ("CAMPANA_CLINIC_LISTEN", "CAMPANA_CLINIC_DATA_DIR"),
        App::Chat => ("CAMPANA_CHAT_LISTEN", "CAMPANA_CHAT_DATA_DIR"),
        App::Shop | App::Support => ("CAMPANA_SHOP_LISTEN", "CAMPANA_DATA_DIR"),
    };
    environment.push((listen, address.into()));
    environment.push((data, data_dir.into()));
    if app == App::Chat {
        environment.push(("CAMPANA_PUBLIC_API_URL", around.public_gateway.as_str().into()));
    }
    if let Some(file) = &around.nats_credentials {
        let name = if app == App::Clinic { "CAMPANA_NATS_CREDS" } else { "NATS_CREDS" };
        environment.push((name, file.into()));
    }
    Spec {
        app,
        name: app.name(),
        program: program.to_owned(),
        arguments: vec!["--demo".into()],
        environment,
        ports: vec![ports.page(app)],
        health: format!("{}/readyz", ports.url(app)),
    }
}

/// The module of the support desk.
fn desk(
    python: &Path,
    folder: &Path,
    data_dir: &Path,
    ports: &Ports,
    around: &Surroundings,
) -> Spec {
    let app = App::Support;
    let mut environment = common(app, around);
    environment.extend([
        ("PYTHONPATH", folder.into()),
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ("PYTHONUNBUFFERED", "1".into()),
        ("CAMPANA_SUPPORT_LISTEN", format!("{HOST}:{}", ports.page(app)).into()),
        ("CAMPANA_SUPPORT_APP_PORT", ports.desk.to_string().into()),
        ("CAMPANA_SUPPORT_URL", ports.url(app).into()),
        ("CAMPANA_SIDECAR_URL", format!("http://{HOST}:{}", ports.sidecar).into()),
        ("CAMPANA_DATA_DIR", data_dir.into()),
        ("CAMPANA_SIDECAR_TOKEN", around.sidecar_token.expose_secret().into()),
        ("CAMPANA_SUPPORT_APP_TOKEN", around.sidecar_token.expose_secret().into()),
    ]);
    Spec {
        app,
        name: app.name(),
        program: python.to_owned(),
        arguments: vec!["-m".into(), "campana_support".into(), "--demo".into()],
        environment,
        ports: vec![ports.page(app), ports.desk],
        health: format!("{}/readyz", ports.url(app)),
    }
}

/// The sidecar beside that module.
fn sidecar(campana: &Path, ports: &Ports, around: &Surroundings) -> Spec {
    let mut environment: Vec<(&'static str, OsString)> =
        vec![("NO_COLOR", "1".into()), ("CAMPANA__NATS__URL", around.nats_url.as_str().into())];
    if let Some(file) = &around.nats_credentials {
        environment.push(("CAMPANA__NATS__CREDENTIALS_FILE", file.into()));
    }
    let (app_port, port) = (ports.desk.to_string(), ports.sidecar.to_string());
    let arguments = ["sidecar", "--name", App::Support.name(), "--app-port", &app_port];
    let more = ["--port", &port, "--drain-seconds", SIDECAR_DRAIN_SECONDS];
    let mut arguments: Vec<OsString> =
        arguments.into_iter().chain(more).map(OsString::from).collect();
    for option in ["--api-token-file", "--app-token-file"] {
        arguments.extend([option.into(), around.sidecar_token_file.clone().into()]);
    }
    Spec {
        app: App::Support,
        name: "support-sidecar",
        program: campana.to_owned(),
        arguments,
        environment,
        ports: vec![ports.sidecar],
        health: format!("http://{HOST}:{}/readyz", ports.sidecar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings {
        Surroundings {
            nats_url: "nats://127.0.0.1:4222".to_owned(),
            nats_credentials: None,
            gateway: "http://127.0.0.1:8080".to_owned(),
            public_gateway: "https://bell.example.com".to_owned(),
            edge_ws: "ws://127.0.0.1:8000/connection/websocket".to_owned(),
            edge: "http://127.0.0.1:8000".to_owned(),
            edge_secret: "SECRET-of-the-edge".to_owned().into(),
            edge_key: "SECRET-of-the-api".to_owned().into(),
            sidecar_token: "SECRET-of-the-sidecar".to_owned().into(),
            sidecar_token_file: "/data/apps/sidecar-token".into(),
            api_keys: App::ALL.map(|app| format!("SECRET-key-{}", app.name()).into()),
        }
    }

    fn found(app: App) -> Found {
        match app.program() {
            Some(program) => Found::Program(Path::new("/bin").join(program)),
            None => Found::Module {
                python: "/usr/bin/python3".into(),
                folder: "/services/support".into(),
                campana: "/bin/campana".into(),
            },
        }
    }

    fn specs(around: &Surroundings) -> Vec<Spec> {
        let all = App::ALL.into_iter();
        all.flat_map(|app| {
            programs(app, &found(app), Path::new("/data/x"), &Ports::moved(0), around)
        })
        .collect()
    }

    fn value<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
        spec.environment.iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.to_str())
    }

    #[test]
    fn ports_move_together_and_free_ones_differ() {
        let ports = Ports::moved(100);
        assert_eq!(App::ALL.map(|app| ports.page(app)), [8191, 8182, 8190, 8192]);
        assert_eq!((ports.desk, ports.sidecar), (3192, 3600));
        assert_eq!(ports.origins(App::Chat), ["http://127.0.0.1:8182", "http://localhost:8182"]);
        let (free, held) = Ports::choose(PortChoice::Free).unwrap();
        assert!(TcpListener::bind((HOST, free.sidecar)).is_err(), "held");
        drop(held);
        let mut all = [&free.pages[..], &[free.desk, free.sidecar]].concat();
        all.sort_unstable();
        all.dedup();
        assert!(all.len() == 6 && all.iter().all(|port| *port > 0), "{all:?}");
    }

    #[test]
    fn each_program_is_told_what_it_needs_and_no_other_secret() {
        let (around, moved) = (around(), Ports::moved(0));
        let [clinic, chat, shop, desk, sidecar] =
            <[Spec; 5]>::try_from(specs(&around)).ok().unwrap();
        for (spec, key) in [
            (&clinic, "SECRET-key-clinic"),
            (&chat, "SECRET-key-chat"),
            (&shop, "SECRET-key-shop"),
            (&desk, "SECRET-key-support"),
        ] {
            assert_eq!(value(spec, "CAMPANA_API_KEY"), Some(key));
            assert_eq!(spec.health, format!("{}/readyz", moved.url(spec.app)));
            assert!(spec.arguments.contains(&"--demo".into()));
            assert!(spec.environment.iter().any(|(_, value)| value == "/data/x"));
        }
        assert_eq!(value(&clinic, "CAMPANA_EDGE_SECRET"), None);
        assert_eq!(value(&shop, "CAMPANA_EDGE_SECRET"), Some("SECRET-of-the-edge"));
        assert_eq!(value(&shop, "CAMPANA_EDGE_API_KEY"), None);
        for spec in [&chat, &desk] {
            assert_eq!(value(spec, "CAMPANA_EDGE_API_KEY"), Some("SECRET-of-the-api"));
        }
        assert_eq!(value(&chat, "CAMPANA_PUBLIC_API_URL"), Some("https://bell.example.com"));
        assert_eq!(value(&desk, "CAMPANA_SIDECAR_URL"), Some("http://127.0.0.1:3500"));
        assert!(sidecar.environment.iter().all(|(_, value)| !has_secret(value)));
    }

    fn has_secret(text: &OsString) -> bool {
        text.to_string_lossy().contains("SECRET")
    }

    #[test]
    fn no_secret_is_an_argument() {
        let all = specs(&around());
        assert!(all.iter().flat_map(|spec| &spec.arguments).all(|argument| !has_secret(argument)));
    }

    #[test]
    fn credentials_of_the_bus_are_passed_on() {
        let file = Some(PathBuf::from("/run/bus.creds"));
        let all = specs(&Surroundings { nats_credentials: file, ..around() });
        let named = |name: &str| all.iter().filter(|spec| value(spec, name).is_some()).count();
        assert_eq!(named("CAMPANA_NATS_CREDS"), 1);
        assert_eq!(named("CAMPANA__NATS__CREDENTIALS_FILE"), 1);
    }
}
