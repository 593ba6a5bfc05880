//! campana-sandbox: local stand-ins for the providers that notifications go out by.
//!
//! A real SMTP receiver, a Twilio-compatible Messages API that calls back with signed status
//! updates, and a webhook receiver, all with scripted faults, and a page that shows live what
//! arrived. No account is needed to try, test or load the platform.
//!
//! It reads what clients send it and writes to memory only. It never forwards a message, never
//! touches the bus or a database, and calls no host but loopback and those that were named.

mod faults;
mod mail;
mod mailbox;
mod metrics;
mod options;
mod receipts;
mod smtp;
mod stamp;
mod state;
#[cfg(test)]
mod testing;
mod twilio;
mod web;
mod webhook;

use std::sync::Arc;

use anyhow::Context;
use campana_bus::lifecycle::Lifecycle;

pub use options::{
    CallbackOptions, DEFAULT_TWILIO_ACCOUNT_SID, DEFAULT_TWILIO_AUTH_TOKEN, SandboxListeners,
    SandboxOptions, SmtpLimits, WebLimits,
};
pub use twilio::sign as sign_twilio;

use state::Shared;

/// Serves both listeners until the soft stop and returns after a clean drain, or at the hard
/// stop.
pub async fn run(
    listeners: SandboxListeners,
    options: SandboxOptions,
    lifecycle: Lifecycle,
) -> anyhow::Result<()> {
    let smtp = listeners.smtp.local_addr().context("the SMTP listener has no address")?;
    let web = listeners.web.local_addr().context("the web listener has no address")?;
    let shared = Arc::new(Shared::new(options));
    tracing::info!(smtp.address = %smtp, web.address = %web, "sandbox is listening");
    let receiver = smtp::serve(listeners.smtp, Arc::clone(&shared), lifecycle.clone());
    let pages = web::serve(listeners.web, shared, smtp, lifecycle);
    // If one side fails the other is dropped: half a sandbox would mislead.
    let receiver = async {
        receiver.await;
        Ok(())
    };
    tokio::try_join!(receiver, pages).context("the web side of the sandbox failed")?;
    Ok(())
}
