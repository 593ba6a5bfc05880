//! One reading of a `/metrics` endpoint.
//! Reads: the text format. Writes: nothing. Never: guesses; a line that it does not understand is an error.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use campana_tests::api::http;

/// Labels of a series.
pub type Labels = BTreeMap<String, String>;

/// The whole text.
pub struct Scrape {
    /// As it came.
    pub text: String,
}

/// Asks an endpoint.
pub async fn scrape(metrics: &str) -> Result<Scrape> {
    let response = http()?.get(format!("{metrics}/metrics")).send().await?;
    ensure!(response.status().is_success(), "{}", response.status());
    Ok(Scrape { text: response.text().await? })
}

impl Scrape {
    /// Every series of a metric.
    pub fn series(&self, name: &str) -> Result<Vec<(Labels, f64)>> {
        let lines = self.text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with(['{', ' ']).then_some(rest)
        });
        lines
            .map(|line| {
                let (labels, value) = line.rsplit_once(' ').context("a series has a value")?;
                Ok((parse(labels)?, value.parse()?))
            })
            .collect()
    }

    /// The value of the only series with these labels among its own.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let found: Vec<f64> = self
            .series(name)?
            .into_iter()
            .filter(|(own, _)| {
                labels.iter().all(|(label, value)| own.get(*label).is_some_and(|own| own == value))
            })
            .map(|(_, value)| value)
            .collect();
        ensure!(found.len() == 1, "{} series of {name}{labels:?}", found.len());
        Ok(found[0])
    }
}

/// `{a="b",c="d"}`; the values of these tests hold no quotation marks.
fn parse(labels: &str) -> Result<Labels> {
    let inner = labels.trim_start_matches('{').trim_end_matches('}');
    let pairs = inner.split("\",").filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once("=\"").with_context(|| format!("label {pair}"))?;
            Ok((name.to_owned(), value.trim_end_matches('"').to_owned()))
        })
        .collect()
}
