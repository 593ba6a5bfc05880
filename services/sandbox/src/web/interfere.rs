//! What a fault decision means for an HTTP handler.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio_util::sync::CancellationToken;

use super::listener::ConnectionHandle;
use crate::faults::{Action, Decision, When};

/// What the handler does.
#[derive(Debug)]
pub enum Fate {
    Answer,
    Refuse {
        status: u16,
        code: Option<u32>,
        message: Option<String>,
        retry_after: Option<u64>,
    },
    /// Do nothing, then [`Vanish::take`].
    Vanish(Vanish),
    /// Do the work, drop the answer, then [`Vanish::take`].
    AnswerThenVanish(Vanish),
}

/// A silence of some length and then a cut connection.
#[derive(Debug)]
pub struct Vanish {
    hang: Duration,
    connection: ConnectionHandle,
    stop: CancellationToken,
}

impl Vanish {
    /// Waits and cuts. The response is never written.
    pub async fn take(self) -> Response {
        pause(self.hang, &self.stop).await;
        self.connection.cut();
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// Waits out the scripted delay and says what to do then.
pub async fn interfere(
    decision: &Decision,
    connection: &ConnectionHandle,
    stop: &CancellationToken,
) -> Fate {
    pause(decision.delay, stop).await;
    let vanish = |hang| Vanish { hang, connection: connection.clone(), stop: stop.clone() };
    match &decision.action {
        None | Some(Action::Reply { .. }) => Fate::Answer,
        Some(Action::Http { status, code, message, retry_after }) => Fate::Refuse {
            status: *status,
            code: *code,
            message: message.clone(),
            retry_after: *retry_after,
        },
        Some(Action::Hang { when: When::Before, limit }) => Fate::Vanish(vanish(*limit)),
        Some(Action::Hang { when: When::After, limit }) => Fate::AnswerThenVanish(vanish(*limit)),
        Some(Action::Close { when: When::Before }) => Fate::Vanish(vanish(Duration::ZERO)),
        Some(Action::Close { when: When::After }) => Fate::AnswerThenVanish(vanish(Duration::ZERO)),
    }
}

/// Waits, but never beyond the soft stop.
async fn pause(delay: Duration, stop: &CancellationToken) {
    if delay.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        () = stop.cancelled() => {}
    }
}
