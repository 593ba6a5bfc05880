//! Why the harness gives up, and the exit code that says so to a script.

use std::fmt::Display;
use std::process::ExitCode;

/// Exit code of a run whose thresholds were missed.
pub const EXIT_THRESHOLD_MISSED: u8 = 10;
/// Exit code of a run that must not be used.
pub const EXIT_FAILED: u8 = 1;

/// A reason to stop.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command cannot be carried out as given.
    #[error("{0}")]
    Usage(String),
    /// The platform is not there, or refuses to talk.
    #[error("{0}")]
    Connect(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// A failure to reach `what`.
    pub fn connect(what: impl Display, error: impl Display) -> Self {
        Self::Connect(format!("cannot reach {what}: {error}"))
    }

    /// A failure while doing `what`.
    pub fn failed(what: impl Display, error: impl Display) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }

    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Connect(_) => 5,
            Self::Failed(_) => EXIT_FAILED,
        })
    }
}
