//! The committed dashboards, and a Prometheus that their queries are run against.
//! Reads: `dashboards/`, `PROMETHEUS_BIN`. Writes: a temporary folder. Never: draws anything; what is judged
//! is whether a query gives something that can be drawn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use campana_bus::clock;
use campana_bus::testing::free_port;
use serde_json::Value;

use crate::api::http;
use crate::process::Process;
use crate::wait::eventually;

/// How often a test's Prometheus scrapes.
const SCRAPE: &str = "1s";
/// What Grafana makes of that: four times the scrape interval.
const RATE_INTERVAL: &str = "4s";
/// More lines than this nobody can read.
const SERIES_MAX: usize = 50;
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in a folder")
}

/// Every committed dashboard's file.
///
/// # Errors
/// If there is none.
pub fn files() -> Result<Vec<PathBuf>> {
    let folder = root().join("dashboards/grafana/dashboards/Campana");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    ensure!(!files.is_empty(), "no dashboards in {}", folder.display());
    Ok(files)
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub struct Target {
    /// PromQL with Grafana's variables in it.
    pub expr: String,
    /// Asked for one moment, not for a range.
    pub instant: bool,
}

/// One panel that asks for data.
#[derive(Clone, Debug)]
pub struct Panel {
    /// File name of its dashboard, without the ending.
    pub board: String,
    /// Its heading.
    pub title: String,
    /// What it asks.
    pub targets: Vec<Target>,
}

impl Panel {
    /// `dashboard / title`, as `dashboards/may-be-empty.txt` names it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} / {}", self.board, self.title)
    }
}

/// Every panel with queries of a dashboard.
///
/// # Errors
/// If the file is no dashboard.
pub fn panels(file: &Path) -> Result<Vec<Panel>> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let board = file.file_stem().and_then(|stem| stem.to_str()).context("a file has a name")?;
    let target = |json: &Value| {
        let expr = json["expr"].as_str().context("a target has an expression")?.to_owned();
        anyhow::Ok(Target { expr, instant: json["instant"] == true })
    };
    let panel = |json: &Value| {
        let title = json["title"].as_str().context("a panel has a title")?.to_owned();
        let targets = json["targets"].as_array().into_iter().flatten().map(target);
        anyhow::Ok(Panel {
            board: board.to_owned(),
            title,
            targets: targets.collect::<Result<_>>()?,
        })
    };
    let all = json["panels"].as_array().context("a dashboard has panels")?;
    let all: Vec<Panel> = all.iter().map(panel).collect::<Result<_>>()?;
    Ok(all.into_iter().filter(|panel| !panel.targets.is_empty()).collect())
}

/// The panels that may be empty, and why.
///
/// # Errors
/// If a line has no reason.
pub fn may_be_empty() -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(root().join("dashboards/may-be-empty.txt"))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, reason) =
                line.rsplit_once(" -- ").with_context(|| format!("no reason: {line}"))?;
            Ok((name.to_owned(), reason.to_owned()))
        })
        .collect()
}

/// What Grafana puts in place of variables.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Seconds of the time range.
    pub range_seconds: u64,
    /// The run of the load test's dashboard.
    pub run: String,
}

impl Chosen {
    /// The query as Grafana would send it with everything chosen that there is.
    #[must_use]
    pub fn substitute(&self, expr: &str) -> String {
        let range = format!("{}s", self.range_seconds.max(1));
        // Longer names first: `$__range` is the beginning of none, `$__rate_interval` of none.
        [
            ("$__rate_interval", RATE_INTERVAL),
            ("$__range", range.as_str()),
            ("$quantile", "0.99"),
            ("$instance", ".+"),
            ("$compare", self.run.as_str()),
            ("$job", ".+"),
            ("$run", self.run.as_str()),
        ]
        .iter()
        .fold(expr.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}

/// A running Prometheus of a test; it ends with its owner.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    /// Where it answers.
    pub url: String,
    started: f64,
}

/// Unix seconds.
fn seconds_now() -> f64 {
    clock::now().0 as f64 / 1e6
}

/// A program of Debian's package `prometheus`.
///
/// # Errors
/// If it is not there; says how to get it.
pub fn program(name: &str) -> Result<PathBuf> {
    let beside = std::env::var_os("PROMETHEUS_BIN").map(PathBuf::from);
    let beside = beside.and_then(|file| Some(file.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(std::env::split_paths(&path));
    let mut files = folders.map(|folder| folder.join(name));
    files
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is missing: run `cargo xtask tools prometheus`"))
}

impl Prometheus {
    /// A port for one, known before it starts: who is scraped may want to know where the answers are.
    ///
    /// # Errors
    /// If the loopback interface has none.
    pub fn port() -> Result<u16> {
        free_port().map_err(anyhow::Error::msg)
    }

    /// Starts one that scrapes these addresses (job, `host:port`) every second.
    ///
    /// # Errors
    /// If it does not become ready.
    pub async fn start(folder: &Path, port: u16, targets: &[(&str, String)]) -> Result<Self> {
        let mut config = format!(
            "global: {{ scrape_interval: {SCRAPE}, scrape_timeout: {SCRAPE} }}\nscrape_configs:\n"
        );
        for (job, address) in targets {
            config += &format!(
                "  - {{ job_name: {job}, static_configs: [ {{ targets: [ \"{address}\" ] }} ] }}\n"
            );
        }
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config)?;
        let address = format!("127.0.0.1:{port}");
        let started = seconds_now();
        let mut process =
            Process::start("prometheus", &program("prometheus")?, folder, |command| {
                command
                    .arg(format!("--config.file={}", file.display()))
                    .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
                    .arg(format!("--web.listen-address={address}"));
            })?;
        let url = format!("http://{address}");
        let http = http()?;
        eventually("Prometheus", STARTS_WITHIN, async || {
            process.must_run()?;
            let ready = http.get(format!("{url}/-/ready")).send().await?.status().is_success();
            Ok(ready.then_some(()))
        })
        .await?;
        Ok(Self { process, url, started })
    }

    /// What is chosen on a dashboard that shows everything since this Prometheus started.
    #[must_use]
    pub fn everything(&self, run: &str) -> Chosen {
        let range_seconds = (seconds_now() - self.started).ceil().max(1.0) as u64;
        Chosen { range_seconds, run: run.to_owned() }
    }

    /// The result of a query over everything that was scraped: series with `values`.
    ///
    /// # Errors
    /// If Prometheus refuses the query.
    pub async fn ask(&self, target: &Target, chosen: &Chosen) -> Result<Vec<Value>> {
        let query = chosen.substitute(&target.expr);
        let now = seconds_now();
        let request = if target.instant {
            let query = [("query", query.clone()), ("time", now.to_string())];
            http()?.get(format!("{}/api/v1/query", self.url)).query(&query)
        } else {
            let range = [
                ("query", query.clone()),
                ("start", (now - chosen.range_seconds as f64).to_string()),
                ("end", now.to_string()),
                ("step", "1".to_owned()),
            ];
            http()?.get(format!("{}/api/v1/query_range", self.url)).query(&range)
        };
        let answer: Value = request.send().await?.json().await?;
        if answer["status"] != "success" {
            bail!("{query}: {}", answer["error"]);
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// What a panel would show.
    ///
    /// # Errors
    /// If Prometheus refuses a query.
    pub async fn look_at(&self, panel: &Panel, chosen: &Chosen) -> Result<Look> {
        let (mut series, mut numbers) = (0, false);
        for target in &panel.targets {
            let found = self.ask(target, chosen).await.with_context(|| panel.name())?;
            // The columns of a table are rows of one another; lines lie beside each other.
            series = if target.instant { series.max(found.len()) } else { series + found.len() };
            numbers |= found.iter().any(has_number);
        }
        Ok(match (series, numbers) {
            (0, _) => Look::Empty,
            (_, false) => Look::OnlyNan,
            (many, true) if many > SERIES_MAX => Look::TooMany(many),
            (some, true) => Look::Filled(some),
        })
    }

    /// An error if it has ended.
    ///
    /// # Errors
    /// If it has ended.
    pub fn must_run(&mut self) -> Result<()> {
        self.process.must_run()
    }
}

/// Whether any of the values of a series is a number.
fn has_number(series: &Value) -> bool {
    let of_range = series["values"].as_array().into_iter().flatten();
    let mut values = of_range.chain(std::iter::once(&series["value"]));
    values.any(|pair| {
        let text = pair[1].as_str().unwrap_or("NaN");
        text.parse::<f64>().is_ok_and(f64::is_finite)
    })
}

/// What a panel would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// So many series.
    Filled(usize),
    /// No series.
    Empty,
    /// Series without a number.
    OnlyNan,
    /// More than a person can read.
    TooMany(usize),
}
