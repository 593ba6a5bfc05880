//! A Twilio-compatible Messages API: what the platform sends to Twilio it can send here unchanged.
//!
//! `request` decides what a form means, `segments` counts, `signature` signs, `story` plans the
//! status changes (all pure); `routes` is the HTTP side and `callbacks` calls back. It writes to
//! the mailbox and calls only hosts that the options allow.

mod callbacks;
mod errors;
mod list;
mod request;
mod resource;
mod routes;
mod segments;
mod signature;
mod story;
#[cfg(test)]
mod tests;

pub use callbacks::Callbacks;
pub use routes::{Twilio, router};
pub use signature::sign;
