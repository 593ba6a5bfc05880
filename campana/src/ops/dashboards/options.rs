//! The options of the listener for metrics, health and dashboards.
//! Reads: the configuration. Writes: nothing. Never: connects.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

/// `[ops]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsOptions {
    /// Where the Prometheus is that scrapes this platform, for the page `/dashboards`; empty for none.
    pub prometheus_url: String,
    /// Milliseconds that one of its answers may take, 100 to 60,000.
    pub prometheus_timeout_ms: u64,
}

impl Default for OpsOptions {
    fn default() -> Self {
        Self { prometheus_url: String::new(), prometheus_timeout_ms: 10_000 }
    }
}

impl OpsOptions {
    /// What the types cannot say.
    ///
    /// # Errors
    /// The option, what it must be, and an example.
    pub fn check(&self) -> Result<(), String> {
        self.base()?;
        if !(100..=60_000).contains(&self.prometheus_timeout_ms) {
            return Err("prometheus_timeout_ms must be between 100 and 60000".to_owned());
        }
        Ok(())
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.prometheus_timeout_ms)
    }

    /// The URL that `api/v1/…` is put behind; none if there is no Prometheus.
    ///
    /// # Errors
    /// If it is no plain URL.
    pub fn base(&self) -> Result<Option<Url>, String> {
        if self.prometheus_url.is_empty() {
            return Ok(None);
        }
        let wrong = "prometheus_url must be an http or https URL without user, password, query and fragment, for \
                     example http://127.0.0.1:9090";
        let mut url = Url::parse(&self.prometheus_url).map_err(|_| wrong.to_owned())?;
        // A password would be shown wherever the configuration is.
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(wrong.to_owned());
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Some(url))
    }
}
