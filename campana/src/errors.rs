//! How a failed command ends: one clear line and an exit code that scripts can tell apart.
//! Reads: the error. Writes: standard error. Never: prints a secret or a backtrace.

use std::process::ExitCode;

/// An error with an exit code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// 1 failed, 2 usage, 4 bad configuration, 5 cannot connect, 10 a threshold was missed.
    pub code: u8,
    /// What, why, and what to do.
    pub message: String,
}

/// Bad configuration: fix it and start again.
pub fn bad_config(message: impl Into<String>) -> anyhow::Error {
    Failure { code: 4, message: message.into() }.into()
}

/// Something that we need does not answer.
pub fn cannot_connect(message: impl Into<String>) -> anyhow::Error {
    Failure { code: 5, message: message.into() }.into()
}

/// The command itself was wrong.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure { code: 2, message: message.into() }.into()
}

/// Prints the error and gives its exit code.
#[expect(clippy::print_stderr, reason = "the one line a person reads when a command fails")]
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("campana: {error:#}");
    let code = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>())
        .map_or(1, |failure| failure.code);
    ExitCode::from(code)
}
