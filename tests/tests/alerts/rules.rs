//! The rules of `dashboards/prometheus/rules` in a hurry, and a Prometheus that evaluates them.
//! Reads: the rules, `PROMETHEUS_BIN`. Writes: a temporary folder. Never: changes anything of a rule but its
//! times: every minute is a second, and no range is shorter than [`RANGE_SECONDS_MIN`], which holds enough
//! scrapes of a second each for a rate on a busy machine.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::testing::free_port;
use campana_tests::api::http;
use campana_tests::dashboards::program;
use campana_tests::{Process, eventually};
use serde_json::Value;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// So much shorter is every time in a rule.
const FASTER: u64 = 60;
const RANGE_SECONDS_MIN: u64 = 6;

/// The text of a rule file with its `for:` and its ranges shortened.
fn hurried(rules: &str) -> String {
    let lines = rules.lines().map(|line| match line.split_once("for: ") {
        Some((indent, time)) if indent.trim().is_empty() => {
            format!("{indent}for: {}s", seconds(time) / FASTER)
        }
        _ if line.trim_start().starts_with('#') => line.to_owned(),
        _ => ranges(line),
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// `[5m]` becomes `[6s]`.
fn ranges(line: &str) -> String {
    let mut parts = line.split('[');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']').filter(|(time, _)| seconds(time) > 0) {
            Some((time, rest)) => {
                let shorter = (seconds(time) / FASTER).max(RANGE_SECONDS_MIN);
                // Writing to a string cannot fail.
                let _ = write!(all, "[{shorter}s]{rest}");
            }
            None => all = format!("{all}[{part}"),
        }
    }
    all
}

/// `5m` in seconds; 0 if it is no time.
fn seconds(time: &str) -> u64 {
    let (number, unit) = time.trim().split_at(time.trim().len().saturating_sub(1));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    number.parse::<u64>().map_or(0, |number| number * factor)
}

/// A Prometheus with the hurried rules; it ends with its owner.
pub struct Watch {
    process: Process,
    url: String,
}

impl Watch {
    /// Starts one that scrapes these addresses (job, `host:port`).
    pub async fn start(folder: &Path, targets: &[(&str, &str)]) -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/prometheus/rules");
        let folder = folder.join("watch");
        std::fs::create_dir_all(folder.join("rules"))?;
        for entry in std::fs::read_dir(root)? {
            let path = entry?.path();
            let name = path.file_name().context("a file has a name")?;
            std::fs::write(
                folder.join("rules").join(name),
                hurried(&std::fs::read_to_string(&path)?),
            )?;
        }
        let mut config =
            "global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }\n\
                          rule_files: [ \"rules/*.yml\" ]\nscrape_configs:\n"
                .to_owned();
        for (job, address) in targets {
            config += &format!(
                "  - {{ job_name: {job}, static_configs: [ {{ targets: [ \"{address}\" ] }} ] }}\n"
            );
        }
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config)?;
        let address = format!("127.0.0.1:{}", free_port().map_err(anyhow::Error::msg)?);
        let process = Process::start("watch", &program("prometheus")?, &folder, |command| {
            command
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address={address}"));
        })?;
        let mut watch = Self { process, url: format!("http://{address}") };
        eventually("Prometheus", READY_WITHIN, async || {
            watch.process.must_run()?;
            let ready = http()?.get(format!("{}/-/ready", watch.url)).send().await?;
            Ok(ready.status().is_success().then_some(()))
        })
        .await?;
        Ok(watch)
    }

    /// Alerts that fire now: name, and the values of all labels together.
    pub async fn firing(&self) -> Result<Vec<(String, String)>> {
        let answer: Value =
            http()?.get(format!("{}/api/v1/alerts", self.url)).send().await?.json().await?;
        ensure!(answer["status"] == "success", "{answer}");
        let alerts = answer["data"]["alerts"].as_array().context("a list of alerts")?;
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        Ok(firing
            .map(|alert| {
                let labels = alert["labels"].as_object().into_iter().flatten();
                let values: Vec<&str> = labels.filter_map(|(_, value)| value.as_str()).collect();
                let name = alert["labels"]["alertname"].as_str().unwrap_or_default();
                (name.to_owned(), values.join(" "))
            })
            .collect())
    }

    /// The names of the alerts that fire now.
    pub async fn names(&self) -> Result<BTreeSet<String>> {
        Ok(self.firing().await?.into_iter().map(|(name, _)| name).collect())
    }
}

#[test]
fn only_times_are_shortened() {
    let rule = "  # [5m] stays\n  expr: rate(a{b=~\"[ab]\"}[5m]) > 14.4 * x[1h:]\n  for: 15m\n";
    let short = "  # [5m] stays\n  expr: rate(a{b=~\"[ab]\"}[6s]) > 14.4 * x[1h:]\n  for: 15s\n";
    assert_eq!(hurried(rule), short);
    assert_eq!(ranges("increase(a[6h])"), "increase(a[360s])");
}
