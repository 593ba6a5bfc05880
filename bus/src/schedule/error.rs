//! Why a schedule was not set, in words that say what to do.
//! Reads: what the server answered. Writes: nothing. Never: hands on a bare error number.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};

use super::WhenError;
use crate::connect::Bus;
use crate::fetch::FetchError;
use crate::publish::PublishError;
use crate::subjects::{self, NameError};

/// Why a schedule was not set, removed or listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The key is empty, too long or has control characters.
    #[error("schedule key: {0}")]
    Key(NameError),
    /// The time makes no sense.
    #[error(transparent)]
    When(#[from] WhenError),
    /// There is no such stream.
    #[error("there is no stream {0}")]
    NoStream(String),
    /// The stream was created without schedules, or before they had their subject.
    #[error(
        "stream {0} carries no schedules: `campana topology apply` (or topology::apply) brings it up to date"
    )]
    NotEnabled(String),
    /// The stream does not store the message's subject.
    #[error("a schedule publishes to subjects of its own stream only, and {0} is none of them")]
    Target(String),
    /// nats-server has no time zone database with this zone.
    #[error("nats-server does not know the time zone {0}: install tzdata where it runs")]
    ServerTimeZone(String),
    /// The event cannot be written as JSON.
    #[error("the event cannot be written as JSON: {0}")]
    Encode(String),
    /// The stream refused, or did not say in time whether it stored the schedule.
    #[error(transparent)]
    Publish(PublishError),
    /// No answer in time.
    #[error("the stream does not answer: {0}")]
    Unavailable(String),
}

impl ScheduleError {
    /// The stable name of what is wrong.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Key(_) => "invalid_schedule_key",
            Self::When(error) => error.code(),
            Self::NoStream(_) => "unknown_stream",
            Self::NotEnabled(_) => "schedules_not_enabled",
            Self::Target(_) => "invalid_schedule_target",
            Self::ServerTimeZone(_) => "invalid_time_zone",
            Self::Encode(_) => "unencodable",
            Self::Publish(PublishError::WrongLastSequence) => "conflict",
            Self::Publish(PublishError::TooLarge) => "payload_too_large",
            Self::Publish(PublishError::Refused { .. }) => "refused",
            Self::Publish(PublishError::Unavailable(_)) | Self::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Publish(error) => error.is_temporary(),
            Self::Unavailable(_) => true,
            _ => false,
        }
    }

    /// Puts the server's answer into words; the codes are those of its `errors.json`.
    pub(super) fn of(error: PublishError, stream: &str, target: &str, zone: Option<&str>) -> Self {
        match &error {
            PublishError::Refused { code: 10_188 | 10_166, .. } => {
                Self::NotEnabled(stream.to_owned())
            }
            PublishError::Refused { code: 10_190, .. } => Self::Target(target.to_owned()),
            PublishError::Refused { code: 10_223, .. } => {
                Self::ServerTimeZone(zone.unwrap_or_default().to_owned())
            }
            _ => Self::Publish(error),
        }
    }
}

impl From<FetchError> for ScheduleError {
    fn from(error: FetchError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Names that come from outside.
pub(super) fn check_names(stream: &str, key: &str) -> Result<(), ScheduleError> {
    check_stream_name(stream)?;
    subjects::check_name(key).map_err(ScheduleError::Key)
}

/// A text that cannot be a stream's name is the name of none.
pub(super) fn check_stream_name(name: &str) -> Result<(), ScheduleError> {
    if subjects::is_stream_name(name) {
        Ok(())
    } else {
        Err(ScheduleError::NoStream(name.chars().take(64).collect()))
    }
}

/// What a failed question for a stream means.
pub(super) fn stream(name: &str, error: &GetStreamError) -> ScheduleError {
    match error.kind() {
        GetStreamErrorKind::JetStream(inner)
            if inner.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            ScheduleError::NoStream(name.to_owned())
        }
        GetStreamErrorKind::InvalidStreamName | GetStreamErrorKind::EmptyName => {
            ScheduleError::NoStream(name.to_owned())
        }
        _ => ScheduleError::Unavailable(error.to_string()),
    }
}

/// Whether a stream takes schedules: asked only after one was not acknowledged.
pub(super) async fn check_stream(bus: &Bus, name: &str) -> Result<(), ScheduleError> {
    let found = match bus.jetstream().get_stream(name).await {
        Ok(found) => found,
        Err(error) => match stream(name, &error) {
            // Nobody answers: the publish goes on trying until its own deadline.
            ScheduleError::Unavailable(_) => return Ok(()),
            other => return Err(other),
        },
    };
    let config = &found.cached_info().config;
    let prefix = format!("{}.", subjects::schedule_prefix(name));
    let listens = config.subjects.iter().any(|subject| subject.starts_with(&prefix));
    if listens && config.allow_message_schedules {
        Ok(())
    } else {
        Err(ScheduleError::NotEnabled(name.to_owned()))
    }
}
