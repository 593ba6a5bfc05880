//! Logs: text for people, JSON for machines, always on standard error.
//! Reads: the log section of the configuration. Writes: standard error. Never: personal data; the call
//! sites see to that.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::UtcTime;

use crate::config::LogOptions;
use crate::errors::bad_config;

/// Installs the subscriber once for the process.
pub fn init(options: &LogOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.level)
        .map_err(|error| bad_config(format!("log.level \"{}\": {error}", options.level)))?;
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(UtcTime::rfc_3339())
        .with_ansi(colour);
    let installed = match options.format.as_str() {
        "text" => base.with_target(false).try_init(),
        "json" => base.json().flatten_event(true).try_init(),
        other => {
            return Err(bad_config(format!("log.format is \"text\" or \"json\", not \"{other}\"")));
        }
    };
    installed.map_err(|error| anyhow::anyhow!("the log subscriber cannot be installed: {error}"))
}
