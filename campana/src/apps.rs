//! The applications beside the platform: what is known of them while `campana up --apps` runs.
//! Reads: what those who start and watch them say (`apps/`). Writes: two metrics. Never: is needed by a role: without
//! `--apps` the list is empty and everything else is as it was.

mod find;
mod output;
mod plan;
mod run;
mod settings;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use campana_bus::clock;
use metrics::{counter, gauge};
use serde::{Deserialize, Serialize};

pub use find::Wanted;
pub use plan::{App, PortChoice, Surroundings};
pub use run::{Plan, Running};

/// Starts of an application's programs after the first.
pub const RESTARTS: &str = "campana_app_restarts_total";
/// 1 while the health route of an application beside the platform answers.
pub const RUNNING: &str = "campana_app_running";

/// Unanswered questions in a row after which an application counts as not running any more; a busy machine may leave
/// one or two.
const MISSES_MAX: u8 = 3;
/// How often [`Apps::settled`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How an application is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppState {
    /// Its programs run, its health route does not answer yet.
    Starting,
    /// Its health route answers.
    Running,
    /// One of its programs ended and is started again.
    Restarting,
    /// It cannot be started at all: its program, or what that needs, is not there.
    Missing,
}

/// One application as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppStatus {
    /// Its name in paths, metrics and options: `clinic`, `chat`, `shop`, `support`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Where its page is, without a slash at the end; the same over restarts.
    pub url: String,
    /// How it is.
    pub state: AppState,
}

/// What `up.json` says of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Its name in paths, metrics and options.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Where its page is.
    pub url: String,
    /// How to sign in to the demo, if one has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How it is.
    pub state: AppState,
    /// Why it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it writes.
    pub log: PathBuf,
}

/// What is known of the applications. Clones share one list; reading it costs a lock and a few copies.
#[derive(Clone, Default)]
pub struct Apps(Arc<RwLock<Vec<Entry>>>);

/// One application, as its programs and its health route tell.
struct Entry {
    app: App,
    url: String,
    log: PathBuf,
    /// Programs that belong to it, and those of them that run.
    programs: usize,
    live: usize,
    /// Grows with every start and end, so that an answer of an earlier life is not believed.
    epoch: u64,
    answers: bool,
    misses: u8,
    /// Whether a program ended since the application last ran.
    has_ended: bool,
    missing: bool,
    reason: Option<String>,
}

impl Entry {
    fn new(app: App, url: String, log: PathBuf, programs: Result<usize, String>) -> Self {
        let missing = programs.is_err();
        let (programs, reason) = match programs {
            Ok(programs) => (programs, None),
            Err(why) => (0, Some(why)),
        };
        Self {
            app,
            url,
            log,
            programs,
            live: 0,
            epoch: 0,
            answers: false,
            misses: 0,
            has_ended: false,
            missing,
            reason,
        }
    }

    fn state(&self) -> AppState {
        match self {
            Self { missing: true, .. } => AppState::Missing,
            Self { answers: true, .. } => AppState::Running,
            Self { has_ended: true, .. } => AppState::Restarting,
            _ => AppState::Starting,
        }
    }

    fn started(&mut self) {
        self.live += 1;
        self.epoch += 1;
    }

    /// `was_live` is false if the program could not even be started.
    fn ended(&mut self, was_live: bool, why: &str) {
        self.live = self.live.saturating_sub(usize::from(was_live));
        self.epoch += 1;
        (self.answers, self.misses, self.has_ended) = (false, 0, true);
        self.reason = Some(why.to_owned());
    }

    /// What the health routes of all its programs said when it was `epoch`.
    fn answered(&mut self, epoch: u64, well: bool) {
        if epoch != self.epoch || self.live < self.programs {
            return;
        }
        if well {
            (self.answers, self.misses, self.has_ended) = (true, 0, false);
            self.reason = None;
        } else if self.answers {
            self.misses += 1;
            self.answers = self.misses < MISSES_MAX;
            if !self.answers {
                self.reason = Some("its health route does not answer".to_owned());
            }
        }
    }

    fn record(&self) -> AppRecord {
        AppRecord {
            name: self.app.name().to_owned(),
            title: self.app.title().to_owned(),
            url: self.url.clone(),
            account: self.app.account().map(str::to_owned),
            state: self.state(),
            reason: self.reason.clone(),
            log: self.log.clone(),
        }
    }
}

impl Apps {
    /// A platform without applications.
    pub fn none() -> Self {
        Self::default()
    }

    fn new(entries: Vec<Entry>) -> Self {
        Self(Arc::new(RwLock::new(entries)))
    }

    /// Every value of a label stands there from the start. Only once the recorder of metrics is installed.
    fn begin_metrics(&self) {
        for app in self.list() {
            counter!(RESTARTS, "app" => app.name).absolute(0);
            gauge!(RUNNING, "app" => app.name).set(0.0);
        }
    }

    /// Every application and how it is now, always in the same order.
    pub fn list(&self) -> Vec<AppStatus> {
        let status = |entry: &Entry| AppStatus {
            name: entry.app.name(),
            title: entry.app.title(),
            url: entry.url.clone(),
            state: entry.state(),
        };
        self.read(|entries| entries.iter().map(status).collect())
    }

    /// The same with everything that `up.json` says.
    pub fn records(&self) -> Vec<AppRecord> {
        self.read(|entries| entries.iter().map(Entry::record).collect())
    }

    /// Until each of them runs, or has failed once, or the time is over.
    pub async fn settled(&self, within: Duration) {
        let started = clock::monotonic();
        while started.elapsed() < within
            && self.list().iter().any(|app| app.state == AppState::Starting)
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn read<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, app: App, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.iter_mut().find(|entry| entry.app == app) {
            change(entry);
            let runs = entry.state() == AppState::Running;
            gauge!(RUNNING, "app" => app.name()).set(f64::from(u8::from(runs)));
        }
    }

    fn epoch(&self, app: App) -> u64 {
        let of = |entries: &[Entry]| entries.iter().find(|entry| entry.app == app).map(|e| e.epoch);
        self.read(of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(programs: usize) -> Entry {
        Entry::new(App::Chat, "http://127.0.0.1:1".to_owned(), PathBuf::new(), Ok(programs))
    }

    #[test]
    fn an_application_runs_when_all_its_programs_answer() {
        let mut entry = entry(2);
        assert_eq!(entry.state(), AppState::Starting);
        entry.started();
        entry.answered(entry.epoch, true);
        assert_eq!(entry.state(), AppState::Starting, "one of two");
        entry.started();
        entry.answered(entry.epoch, false);
        assert_eq!(entry.state(), AppState::Starting);
        entry.answered(entry.epoch, true);
        assert_eq!(entry.state(), AppState::Running);
    }

    #[test]
    fn an_answer_of_an_earlier_life_is_not_believed() {
        let mut entry = entry(1);
        entry.started();
        let asked = entry.epoch;
        entry.ended(true, "exit status: 1");
        assert_eq!(entry.state(), AppState::Restarting);
        assert_eq!(entry.record().reason.as_deref(), Some("exit status: 1"));
        entry.answered(asked, true);
        entry.started();
        entry.answered(asked, true);
        assert_eq!(entry.state(), AppState::Restarting);
        entry.answered(entry.epoch, true);
        assert_eq!((entry.state(), entry.record().reason), (AppState::Running, None));
    }

    #[test]
    fn one_missed_answer_is_no_fall() {
        let mut entry = entry(1);
        entry.started();
        entry.answered(entry.epoch, true);
        for _ in 1..MISSES_MAX {
            entry.answered(entry.epoch, false);
            assert_eq!(entry.state(), AppState::Running);
        }
        entry.answered(entry.epoch, false);
        assert_eq!(entry.state(), AppState::Starting);
        assert!(entry.record().reason.is_some());
    }

    #[test]
    fn what_is_missing_stays_so_and_says_why() {
        let why = "python3 is not on PATH".to_owned();
        let entry = Entry::new(App::Support, String::new(), PathBuf::new(), Err(why.clone()));
        assert_eq!(entry.state(), AppState::Missing);
        assert_eq!(entry.record().reason, Some(why));
        assert!(Apps::none().list().is_empty());
    }
}
