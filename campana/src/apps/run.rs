//! Starts the applications, watches whether they answer, and stops them.
//! Reads: their health routes. Writes: their folders and logs under the data directory; the state of each into
//! [`Apps`]. Never: ends the platform because of one of them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, anyhow};
use campana_bus::lifecycle::Lifecycle;
use futures::future::join_all;
use metrics::counter;
use tokio::task::JoinSet;

use super::find::{Found, Wanted, find};
use super::output::{Log, Output};
use super::plan::{App, HOST, Ports, Spec, Surroundings, programs};
use super::{AppState, Apps, Entry, RESTARTS, settings};
use crate::config::Config;
use crate::supervise::{self, Pauses, Program, Supervised};

const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A program that ran this long was healthy: the next failure starts with a short pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// How long each program gets to finish what it has in hand.
const STOP_GRACE: Duration = Duration::from_secs(6);
/// How long a health route may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often those that run are asked, and how often while one does not.
const ASK_EVERY: Duration = Duration::from_secs(2);
const ASK_OFTEN: Duration = Duration::from_millis(200);
/// The platform's own settings, with its secrets: none of an application's business.
const FOREIGN: &str = "CAMPANA__";

/// What will be started: programs and ports are known, nothing runs.
pub struct Plan {
    ports: Ports,
    /// Held until the applications need them.
    held: Vec<TcpListener>,
    /// Where data and logs of the applications lie.
    folder: PathBuf,
    found: Vec<(App, Result<Found, String>)>,
    /// What is known of them.
    pub apps: Apps,
}

impl Plan {
    /// Looks for the programs, chooses the ports, and puts what they need into the configuration.
    pub fn prepare(wanted: &Wanted, config: &mut Config, data_dir: &Path) -> anyhow::Result<Self> {
        let (ports, held) = Ports::choose(wanted.ports)?;
        let folder = data_dir.join("apps");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        settings::apply(config, &ports);
        config.check()?;
        let found: Vec<(App, Result<Found, String>)> =
            App::ALL.into_iter().map(|app| (app, find(app, wanted))).collect();
        let entries = found.iter().map(|(app, found)| {
            if let Err(why) = found {
                tracing::warn!(app = app.name(), "an application is not started: {why}");
            }
            let programs = found.as_ref().map(Found::programs).map_err(Clone::clone);
            Entry::new(*app, ports.url(*app), log_file(&folder, app.name()), programs)
        });
        let apps = Apps::new(entries.collect());
        Ok(Self { ports, held, folder, found, apps })
    }

    /// Starts all that was found, each on a thread of its own, and the watch over their health routes.
    pub fn start(
        mut self,
        around: &Surroundings,
        lifecycle: &Lifecycle,
    ) -> anyhow::Result<Running> {
        self.held.clear();
        self.apps.begin_metrics();
        let (mut running, mut checks) = (Vec::new(), Vec::new());
        for (app, found) in &self.found {
            let Ok(found) = found else { continue };
            let data_dir = self.folder.join(app.name());
            std::fs::create_dir_all(&data_dir)
                .with_context(|| format!("cannot make {}", data_dir.display()))?;
            let specs = programs(*app, found, &data_dir, &self.ports, around);
            checks.push((*app, specs.iter().map(|spec| spec.health.clone()).collect()));
            let started = specs.into_iter().map(|spec| {
                let log = Log::begin(log_file(&self.folder, spec.name));
                let name = spec.name;
                let one = One {
                    spec,
                    folder: data_dir.clone(),
                    log: Arc::new(Mutex::new(log)),
                    apps: self.apps.clone(),
                    output: None,
                    is_live: false,
                };
                let pauses = Pauses::new(BACKOFF_FIRST, BACKOFF_MAX, HEALTHY_AFTER);
                Supervised::start(one, pauses, &format!("app-{name}"), false)
            });
            running.push(started.collect::<anyhow::Result<Vec<_>>>()?);
        }
        watch(self.apps.clone(), checks, lifecycle)?;
        Ok(Running { programs: running.into_iter().map(Arc::new).collect(), apps: self.apps })
    }
}

impl Found {
    /// How many programs the application consists of.
    const fn programs(&self) -> usize {
        match self {
            Self::Program(_) => 1,
            Self::Module { .. } => 2,
        }
    }
}

fn log_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// Applications that were started.
pub struct Running {
    /// By application, in the order of their start.
    programs: Vec<Arc<Vec<Supervised>>>,
    /// What is known of them.
    pub apps: Apps,
}

impl Running {
    /// Asks all to end, the last program of each first, and kills what has not ended after a grace period; at once
    /// when `hurry` ends.
    pub async fn stop(&self, hurry: impl Future) {
        let mut stopping = JoinSet::new();
        for programs in &self.programs {
            let programs = Arc::clone(programs);
            stopping.spawn_blocking(move || {
                programs.iter().rev().for_each(|program| program.stop(STOP_GRACE));
            });
        }
        tokio::pin!(hurry);
        let mut hurried = false;
        loop {
            tokio::select! {
                ended = stopping.join_next() => if ended.is_none() { return },
                _ = &mut hurry, if !hurried => {
                    hurried = true;
                    self.programs.iter().flat_map(|all| all.iter()).for_each(Supervised::kill);
                }
            }
        }
    }
}

/// One program of an application, as its thread sees it.
struct One {
    spec: Spec,
    folder: PathBuf,
    log: Arc<Mutex<Log>>,
    apps: Apps,
    output: Option<Output>,
    is_live: bool,
}

impl Program for One {
    fn start(&mut self) -> anyhow::Result<Child> {
        let spec = &self.spec;
        for port in &spec.ports {
            // A taken port is told by whoever finds it first; here it has a name, and no half-started program.
            TcpListener::bind((HOST, *port)).map_err(|error| {
                anyhow!(
                    "port {port} on {HOST} cannot be used ({error}): free it, or use --port-offset"
                )
            })?;
        }
        let mut command = supervise::command(spec.program.as_os_str())?;
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(FOREIGN) {
                command.env_remove(name);
            }
        }
        command
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder);
        let reader = Output::take(&mut command)?;
        self.output = Some(Output::follow(reader, Arc::clone(&self.log), spec.name)?);
        // The command goes with this function, and with it our end of the pipe.
        command.spawn().with_context(|| format!("cannot start {}", spec.program.display()))
    }

    fn runs(&mut self) {
        self.is_live = true;
        self.apps.change(self.spec.app, Entry::started);
    }

    fn ended(&mut self, why: &str, pause: Option<Duration>) {
        let said = self.output.take().map(|output| output.last_words()).unwrap_or_default();
        let why = if said.is_empty() { why.to_owned() } else { format!("{why}: {said}") };
        let was_live = std::mem::take(&mut self.is_live);
        self.apps.change(self.spec.app, |entry| entry.ended(was_live, &why));
        if let Some(pause) = pause {
            tracing::warn!(
                app = self.spec.name,
                "an application's program ended ({why}), starting it again in {pause:?}"
            );
        }
    }

    fn again(&mut self) {
        counter!(RESTARTS, "app" => self.spec.app.name()).increment(1);
    }
}

/// Asks the health routes until the stop.
fn watch(apps: Apps, checks: Vec<(App, Vec<String>)>, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    let http = reqwest::Client::builder()
        .timeout(HEALTH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .context("the client for health routes cannot be made")?;
    let soft = lifecycle.soft.clone();
    lifecycle.spawn("health of the applications", async move {
        loop {
            let asked = checks.iter().map(|(app, routes)| ask(&apps, *app, routes, &http));
            join_all(asked).await;
            let all_run = apps
                .list()
                .iter()
                .all(|app| matches!(app.state, AppState::Running | AppState::Missing));
            tokio::select! {
                () = soft.cancelled() => return,
                () = tokio::time::sleep(if all_run { ASK_EVERY } else { ASK_OFTEN }) => {}
            }
        }
    });
    Ok(())
}

async fn ask(apps: &Apps, app: App, routes: &[String], http: &reqwest::Client) {
    let epoch = apps.epoch(app);
    let answers = join_all(routes.iter().map(|route| http.get(route).send())).await;
    let well = answers
        .iter()
        .all(|answer| answer.as_ref().is_ok_and(|answer| answer.status().is_success()));
    apps.change(app, |entry| entry.answered(epoch, well));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(program: &str, ports: Vec<u16>) -> One {
        let spec = Spec {
            app: App::Chat,
            name: "chat",
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            ports,
            health: String::new(),
        };
        let entry = Entry::new(App::Chat, String::new(), PathBuf::new(), Ok(1));
        One {
            spec,
            folder: std::env::temp_dir(),
            log: Arc::new(Mutex::new(Log::begin("/dev/null/chat.log".into()))),
            apps: Apps::new(vec![entry]),
            output: None,
            is_live: false,
        }
    }

    #[test]
    fn a_taken_port_is_the_error_of_its_application() {
        let taken = TcpListener::bind((HOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut one = one("/bin/true", vec![port]);
        let error = one.start().unwrap_err().to_string();
        assert!(error.contains(&format!("port {port} on 127.0.0.1")), "{error}");
        assert!(error.contains("--port-offset"), "{error}");
        // What the watching thread makes of it.
        one.ended(&error, Some(BACKOFF_FIRST));
        let [record] = <[_; 1]>::try_from(one.apps.records()).unwrap();
        assert_eq!((record.state, record.reason), (AppState::Restarting, Some(error)));
    }
}
