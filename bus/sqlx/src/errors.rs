//! What a database error means for the message in hand.
//! Reads: errors. Writes: nothing. Never: lets a value from a row into a text, since dead letters keep it.

use std::time::Duration;

use campana_bus::consume::Failure;

/// How long a message waits while the database is away; the wait costs no attempt.
pub const OUTAGE_PAUSE: Duration = Duration::from_secs(5);

/// What kind of error this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Two transactions met: serialization failure, deadlock, lock time-out, SQLite busy. Again at once.
    Conflict,
    /// The database is away, starting, full or out of connections.
    Outage,
    /// The statement itself: a constraint, a type, a missing table.
    Statement,
}

/// Sorts a database error.
#[must_use]
pub fn trouble(error: &sqlx::Error) -> Trouble {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            // SQLSTATE has five characters; SQLite's extended codes are decimal and below 10,000.
            match code.parse::<u32>() {
                Ok(number) if code.len() < 5 => of_sqlite(number),
                _ => of_postgres(&code),
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Trouble::Outage,
        _ => Trouble::Statement,
    }
}

/// The low byte is the primary result code (sqlite.org/rescode.html).
const fn of_sqlite(code: u32) -> Trouble {
    match code & 0xff {
        // Busy, locked.
        5 | 6 => Trouble::Conflict,
        // No memory, read-only, I/O, full, cannot open.
        7 | 8 | 10 | 13 | 14 => Trouble::Outage,
        _ => Trouble::Statement,
    }
}

/// By class, the first two characters (PostgreSQL documentation, appendix A).
fn of_postgres(code: &str) -> Trouble {
    match code {
        // Lock not available.
        "55P03" => Trouble::Conflict,
        // Read-only, as a server is that lost its leadership; ended by the idle-in-transaction limit.
        "25006" | "25P03" => Trouble::Outage,
        _ => match code.get(..2) {
            Some("40") => Trouble::Conflict,
            // Connection, resources, operator intervention, system.
            Some("08" | "53" | "57" | "58") => Trouble::Outage,
            _ => Trouble::Statement,
        },
    }
}

/// What a consumer should do with a message whose transaction failed this way.
///
/// A conflict or a failed statement is retried after the consumer's backoff and counts as an attempt; while the
/// database is away the message is deferred, which does not. The text names the error's code and constraint,
/// never the values: PostgreSQL quotes values in some messages, and a dead letter keeps the text.
#[must_use]
pub fn failure(error: &sqlx::Error) -> Failure {
    let text = describe(error);
    match trouble(error) {
        Trouble::Outage => Failure::defer(OUTAGE_PAUSE, text),
        Trouble::Conflict | Trouble::Statement => Failure::retry(text),
    }
}

/// The error without values of rows.
#[must_use]
pub fn describe(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match (error.constraint(), error.table()) {
                (Some(constraint), _) => format!("database: error {code}, constraint {constraint}"),
                (None, Some(table)) => format!("database: error {code}, table {table}"),
                (None, None) => format!("database: error {code}"),
            }
        }
        sqlx::Error::ColumnDecode { index, .. } => {
            format!("database: column {index} has another type")
        }
        sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::InvalidArgument(_) => {
            "database: a value does not fit its type".to_owned()
        }
        other => format!("database: {other}"),
    }
}

/// What stops an effect: an error of the database, or the author's own decision about the message.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    /// The database refused; see [`failure`] for what follows.
    #[error("{}", describe(.0))]
    Database(#[from] sqlx::Error),
    /// An event could not be put into the outbox.
    #[error(transparent)]
    Outbox(#[from] crate::outbox::OutboxError),
    /// The author says what happens to the message.
    #[error("{0:?}")]
    Failure(Failure),
}

impl From<Failure> for EffectError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<EffectError> for Failure {
    fn from(error: EffectError) -> Self {
        match error {
            EffectError::Database(error) => failure(&error),
            EffectError::Outbox(error) => error.into(),
            EffectError::Failure(failure) => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_told_from_outages_and_from_bad_statements() {
        for (code, expected) in [
            ("40001", Trouble::Conflict),
            ("40P01", Trouble::Conflict),
            ("55P03", Trouble::Conflict),
            ("57P01", Trouble::Outage),
            ("08006", Trouble::Outage),
            ("53300", Trouble::Outage),
            ("25006", Trouble::Outage),
            ("25P02", Trouble::Statement),
            ("23505", Trouble::Statement),
            ("42P01", Trouble::Statement),
        ] {
            assert_eq!(of_postgres(code), expected, "{code}");
        }
        for (code, expected) in [
            (5, Trouble::Conflict),
            (517, Trouble::Conflict),
            (262, Trouble::Conflict),
            (13, Trouble::Outage),
            (2067, Trouble::Statement),
        ] {
            assert_eq!(of_sqlite(code), expected, "{code}");
        }
    }

    #[test]
    fn an_outage_costs_no_attempt() {
        assert!(matches!(failure(&sqlx::Error::PoolTimedOut), Failure::Defer { .. }));
        assert!(matches!(failure(&sqlx::Error::RowNotFound), Failure::Retry { .. }));
    }
}
