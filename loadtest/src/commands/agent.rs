//! `campana loadtest agent`: makes load for a coordinator elsewhere, or for the process that
//! started it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::agent::secret::Token;
use crate::agent::serve;
use crate::failure::Failure;

/// Options of `agent`.
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// Where coordinators connect; not encrypted, so loopback unless the network is trusted
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9120")]
    pub listen: SocketAddr,
    /// File whose first line is the token that coordinators must have (16 characters or more)
    #[arg(long, value_name = "FILE", required_unless_present = "stdio")]
    pub token_file: Option<PathBuf>,
    /// Work for the process that started this one, over its pipes
    #[arg(long, hide = true, conflicts_with = "token_file")]
    pub stdio: bool,
}

/// Serves until it is stopped.
pub async fn agent(arguments: AgentArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    match &arguments.token_file {
        Some(file) if !arguments.stdio => {
            let token = Token::read(file)?;
            let told = |text: String| eprintln!("{text}");
            serve::listen(arguments.listen, token, stop, told).await?;
        }
        _ => serve::child(stop).await?,
    }
    Ok(ExitCode::SUCCESS)
}
