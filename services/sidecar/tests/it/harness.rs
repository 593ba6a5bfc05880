//! A nats-server, a sidecar in this process, and apps as processes of their own.
//! Everything that is started here ends with its value.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, BusOptions, Durability};
use campana_sidecar::Options;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Repeats until it gives something.
pub async fn wait_for<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let waiting = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("this did not happen within {PATIENCE:?}: {what}"),
    }
}

/// A sidecar and what it needs.
pub struct Sidecar {
    pub url: String,
    pub bus: Bus,
    pub http: reqwest::Client,
    pub lifecycle: Lifecycle,
    listener: Option<TcpListener>,
    task: Option<JoinHandle<()>>,
    _nats: SharedNats,
}

/// A server that several sidecars use, and that a test may kill.
pub type SharedNats = Arc<Mutex<NatsServer>>;

impl Sidecar {
    /// A nats-server and a listener; the sidecar itself waits for [`Sidecar::run`], because it must know
    /// the app's port and the app its address.
    pub async fn prepare() -> Self {
        Self::with_nats().await.0
    }

    /// The same with a handle on the server.
    pub async fn with_nats() -> (Self, SharedNats) {
        let nats = NatsServer::start().unwrap();
        let bus = nats.bus_with_topology("sidecar-test").await.unwrap();
        let nats = Arc::new(Mutex::new(nats));
        (Self::with(Arc::clone(&nats), bus).await, nats)
    }

    /// Another sidecar on a server that has the topology.
    pub async fn beside(nats: SharedNats) -> Self {
        let url = nats.lock().unwrap().url();
        let bus = Bus::connect(BusOptions {
            url,
            name: "sidecar-test".to_owned(),
            durability: Durability::Power,
            credentials_file: None,
        });
        Self::with(nats, bus.await.unwrap()).await
    }

    async fn with(nats: SharedNats, bus: Bus) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            bus,
            http: reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap(),
            lifecycle: Lifecycle::new(),
            listener: Some(listener),
            task: None,
            _nats: nats,
        }
    }

    /// Starts it.
    pub fn run(&mut self, options: Options) {
        let listener = self.listener.take().unwrap();
        let running =
            campana_sidecar::run(listener, options, self.bus.clone(), self.lifecycle.clone());
        self.task = Some(self.lifecycle.spawn("sidecar", async move { running.await.unwrap() }));
    }

    /// Waits until events flow.
    pub async fn ready(&self) {
        wait_for("the sidecar is ready", || async {
            (self.get("/readyz").await.0 == 200).then_some(())
        })
        .await;
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send(self.http.get(self.at(path))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.http.post(self.at(path)).json(body)).await
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Status and JSON body; null if there is none.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Publishes an order under this id.
    pub async fn order(&self, id: &str, extra: &Value) {
        let mut order = serde_json::json!({"order": id, "cents": 100});
        order.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let path = format!("/v1/publish/shop/order_created?id={id}");
        let (status, body) = self.post(&path, &order).await;
        assert_eq!(status, 200, "{body}");
    }

    /// The dead letters of a subscription as reason and attempts, once there are this many.
    pub async fn dead_letters(&self, subscription: &str, at_least: usize) -> Vec<Value> {
        let path = format!("/v1/dead-letters?subscription={subscription}");
        wait_for("dead letters", || async {
            let (status, body) = self.get(&path).await;
            assert_eq!(status, 200, "{body}");
            let letters = body["dead_letters"].as_array().unwrap().clone();
            (letters.len() >= at_least).then_some(letters)
        })
        .await
    }

    /// Stops it, and waits for its end. The nats-server lives on.
    pub async fn stop(&mut self) -> bool {
        let clean = self.lifecycle.stop(PATIENCE).await;
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
        clean
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.lifecycle.hard.cancel();
    }
}

/// An app that runs as a process.
pub struct App {
    child: Child,
    pub port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// The examples are the apps of the tests.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

impl App {
    /// Starts an app; port 0 takes any free one.
    pub async fn start(program: &str, script: &Path, port: u16, sidecar: &str) -> Self {
        let mut child = Command::new(program)
            .arg(script)
            .arg(port.to_string())
            .env("SIDECAR", sidecar)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (output, sink) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
        });
        let mut app = Self { child, port, lines, reader: Some(reader) };
        app.port = wait_for("the app listens", || async {
            app.lines().iter().find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
        })
        .await;
        app
    }

    /// What it printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for a line.
    pub async fn said(&self, line: &str) {
        wait_for(&format!("the app says \"{line}\""), || async {
            self.lines().iter().any(|said| said == line).then_some(())
        })
        .await;
    }

    /// The attempts at a message, in the order in which they came.
    pub fn attempts(&self, id: &str) -> Vec<u32> {
        let start = format!("got {id} attempt ");
        let lines = self.lines();
        let found = lines.iter().filter_map(|line| line.strip_prefix(&start));
        found.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
    }

    /// How often each message was handled.
    pub fn handled(&self) -> HashMap<String, usize> {
        let mut handled = HashMap::new();
        for line in self.lines() {
            if let Some(id) = line.strip_prefix("handled ") {
                *handled.entry(id.to_owned()).or_default() += 1;
            }
        }
        handled
    }

    /// `kill -9`. What it printed before is complete afterwards.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The Python example with a sidecar beside it, ready.
pub async fn python() -> (Sidecar, App) {
    let mut sidecar = Sidecar::prepare().await;
    let app = App::start("python3", &example("python/orders.py"), 0, &sidecar.url).await;
    sidecar.run(Options::new(app.port));
    sidecar.ready().await;
    (sidecar, app)
}
