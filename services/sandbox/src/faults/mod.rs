//! Scripted faults: what a person or a test asks the sandbox to do wrong.
//!
//! `rule` is the JSON language, `decide` the pure decision, `book` the shared state with its
//! counters and seeded draws, `magic` the recipients that misbehave without any script, `api`
//! the HTTP side. Nothing here does I/O towards a client: the receivers act on a [`Decision`].

pub mod api;
mod book;
mod decide;
mod magic;
mod presets;
mod rule;
#[cfg(test)]
mod tests;

pub use book::FaultBook;
pub use decide::{Action, CallbackFault, Decision, Facts};
pub use magic::{GreylistMemory, MAGIC, smtp as magic_smtp, twilio as magic_twilio};
pub use magic::{twilio_sender as magic_twilio_sender, webhook as magic_webhook};
pub use presets::presets;
pub use rule::{FaultChannel, Rule, Stage, When};
