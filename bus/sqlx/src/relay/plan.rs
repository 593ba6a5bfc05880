//! Pure decisions of the relay: what may go out side by side, what follows from an answer, how long to wait.
//! Reads: its arguments. Writes: nothing. Never: reads a clock.

use std::collections::HashMap;
use std::time::Duration;

use campana_bus::publish::{Outgoing, PublishError, StoredAt};

/// Pauses after a failed publish double from here …
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// … up to here.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest reason that is kept with a row, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// A row that is due.
#[derive(Debug)]
pub struct Pending {
    /// Its place.
    pub id: i64,
    /// Hash of its ordering key; 0 for none.
    pub ordering: i64,
    /// Publishes of it that failed.
    pub failures: i64,
    /// Whether it may have been published before.
    pub repeat: bool,
    /// The message; `None` if the row cannot be read.
    pub message: Option<Outgoing>,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stream has it: remove the row.
    Published {
        /// Whether the stream had it before.
        duplicate: bool,
    },
    /// Try again later; rows behind it with the same key wait.
    Later {
        /// What went wrong.
        reason: String,
    },
    /// The stream will never take it: set it aside, and go on with the rows behind it.
    Never {
        /// Bounded class, for metrics.
        class: &'static str,
        /// What the stream said.
        reason: String,
    },
}

/// Rows that must go out one after the other, each chain in the order of its ids; chains may go out side by side.
pub fn chains(rows: Vec<Pending>) -> Vec<Vec<Pending>> {
    let mut chains: Vec<Vec<Pending>> = Vec::new();
    let mut by_key: HashMap<i64, usize> = HashMap::new();
    for row in rows {
        let at = if row.ordering == 0 {
            chains.len()
        } else {
            *by_key.entry(row.ordering).or_insert(chains.len())
        };
        match chains.get_mut(at) {
            Some(chain) => chain.push(row),
            None => chains.push(vec![row]),
        }
    }
    chains
}

/// What follows from the stream's answer. An answer that is no refusal is unknown, so the row stays: JetStream
/// says the same for a subject that no stream has and for a server that is just starting.
pub fn verdict(answer: Result<StoredAt, PublishError>) -> Verdict {
    match answer {
        Ok(stored) => Verdict::Published { duplicate: stored.duplicate },
        Err(error) if error.is_temporary() => Verdict::Later { reason: bounded(&error) },
        Err(error @ PublishError::TooLarge) => {
            Verdict::Never { class: "too_large", reason: bounded(&error) }
        }
        Err(error) => Verdict::Never { class: "refused", reason: bounded(&error) },
    }
}

fn bounded(error: &PublishError) -> String {
    let mut text: String =
        error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while text.len() > REASON_BYTES_MAX {
        text.pop();
    }
    text
}

/// How long a row waits after its n-th failure.
pub fn pause(failures: i64) -> Duration {
    let doublings = u32::try_from(failures.clamp(1, 16) - 1).unwrap_or(0);
    (PAUSE_FIRST * (1 << doublings)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, ordering: i64) -> Pending {
        Pending { id, ordering, failures: 0, repeat: false, message: None }
    }

    #[test]
    fn rows_of_one_key_are_one_chain_in_order_and_others_are_alone() {
        let rows = vec![row(1, 7), row(2, 0), row(3, 8), row(4, 7), row(5, 0), row(6, 7)];
        let ids: Vec<Vec<i64>> = chains(rows)
            .into_iter()
            .map(|chain| chain.into_iter().map(|row| row.id).collect())
            .collect();
        assert_eq!(ids, [vec![1, 4, 6], vec![2], vec![3], vec![5]]);
    }

    #[test]
    fn only_a_refusal_is_final() {
        let refused = |code| Err(PublishError::Refused { code, detail: "x".to_owned() });
        assert!(matches!(verdict(refused(10_054)), Verdict::Never { class: "refused", .. }));
        assert!(matches!(verdict(refused(10_077)), Verdict::Later { .. }));
        assert!(matches!(verdict(Err(PublishError::TooLarge)), Verdict::Never { .. }));
        let unknown = Err(PublishError::Unavailable("é".repeat(1_000)));
        assert!(matches!(verdict(unknown), Verdict::Later { reason } if reason.len() <= 500));
        let again = Ok(StoredAt { sequence: 1, duplicate: true });
        assert_eq!(verdict(again), Verdict::Published { duplicate: true });
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(0), PAUSE_FIRST);
        assert_eq!(pause(2), PAUSE_FIRST * 2);
        assert_eq!(pause(i64::MAX), PAUSE_MAX);
    }
}
