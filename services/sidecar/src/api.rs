//! The HTTP API by topic; each handler stands beside the shapes that it takes and gives.

pub(crate) mod calls;
pub(crate) mod dead_letters;
pub(crate) mod deliveries;
pub(crate) mod health;
pub(crate) mod kv;
pub(crate) mod publish;
pub(crate) mod schedules;
pub(crate) mod subscriptions;

use campana_bus::publish::PublishError;

use crate::problem::{Code, Problem};

/// What a failed publish means to the app. What the server said is not for its eyes alone, so it is shown.
fn not_stored(error: &PublishError) -> Problem {
    match error {
        PublishError::TooLarge => {
            Problem::new(Code::PayloadTooLarge, "the event is larger than NATS accepts")
        }
        error if error.is_temporary() => Problem::new(Code::Unavailable, error.to_string()),
        error => Problem::new(Code::Internal, error.to_string()),
    }
}
