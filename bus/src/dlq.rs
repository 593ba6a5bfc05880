//! Dead letters: what was given up, for operators to look at, redrive or discard.
//! Reads: the `DLQ` stream. Writes: it, and the subjects to which messages go back. Never: removes an entry
//! before what replaces it is stored, never changes a body unless an operator gives another one.
//!
//! A consumer parks what it gives up itself ([`crate::consume`]). Three workers, run by [`keeper::run`], look
//! after the rest: the [`backstop`] files what consumers of others give up, the [`reconcile`]r finds what
//! nobody will take, and [`jobs`] redrives many letters at a bounded rate.

pub mod backstop;
mod claims;
mod filter;
pub mod jobs;
pub mod keeper;
mod letter;
mod park;
pub mod reconcile;
mod redrive;
mod stats;
mod store;

use crate::connect::Bus;
use crate::fetch::{FetchError, StoredMessage};
use crate::ids::RedriveId;
use crate::publish::PublishError;
use crate::topology::DLQ;

pub use filter::{Filter, LetterPage};
pub use letter::DeadLetter;
pub(crate) use letter::Failed;
pub(crate) use park::Parking;
pub use redrive::{Edit, redrive_edited, redrive_one};

/// Why an operation on dead letters failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DlqError {
    /// Reading failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Publishing failed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The entry could not be removed.
    #[error("dead letter {id} could not be removed: {reason}")]
    Remove {
        /// Which.
        id: u64,
        /// What the server said.
        reason: String,
    },
    /// No such entry.
    #[error("there is no dead letter {0}")]
    NotFound(u64),
    /// Somebody else redrives it.
    #[error("dead letter {id} is being redriven by {owner}: wait until that has ended")]
    Claimed {
        /// Which.
        id: u64,
        /// The job or command.
        owner: String,
    },
    /// The stream does not take the message again.
    #[error("dead letter {id} was refused and stays parked: {reason}")]
    Refused {
        /// Which.
        id: u64,
        /// What the server said.
        reason: String,
    },
    /// A corrected body does not fit.
    #[error(
        "dead letter {id}: the new body and its headers exceed the server's limit of {limit} bytes"
    )]
    TooLarge {
        /// Which.
        id: u64,
        /// `max_payload` of the server.
        limit: usize,
    },
    /// An envelope of several requests cannot be corrected as one.
    #[error("dead letter {0} is not an envelope of one request: its body cannot be replaced")]
    NotEditable(u64),
    /// No such job.
    #[error("there is no redrive job {0}")]
    NoJob(RedriveId),
    /// A request for a job makes no sense.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which field of the request.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Enough jobs are open.
    #[error("{0} redrive jobs are open, which is the limit: wait, or cancel one")]
    TooManyJobs(usize),
    /// Somebody else changes the same job all the time.
    #[error("the job {0} is being changed by others: try again")]
    Contended(RedriveId),
}

/// Dead letters, oldest first.
///
/// # Errors
/// If the stream does not answer.
pub async fn list(bus: &Bus, filter: &Filter, limit: usize) -> Result<Vec<DeadLetter>, DlqError> {
    Ok(stored(bus, filter, limit).await?.iter().map(letter::view).collect())
}

/// One page of dead letters, oldest first, after the letter `after` (0 for the first page).
///
/// # Errors
/// If the stream does not answer.
pub async fn page(
    bus: &Bus,
    filter: &Filter,
    after: u64,
    limit: usize,
) -> Result<LetterPage, DlqError> {
    let found = filter::scan(bus, filter, after, limit).await?;
    Ok(LetterPage {
        letters: found.messages.iter().map(letter::view).collect(),
        next: (!found.at_end).then_some(found.after),
    })
}

/// One dead letter with headers and body.
///
/// # Errors
/// If there is none with this id, or the stream does not answer.
pub async fn show(bus: &Bus, id: u64) -> Result<(DeadLetter, StoredMessage), DlqError> {
    let stored = bus.message(DLQ, id).await?.ok_or(DlqError::NotFound(id))?;
    Ok((letter::view(&stored), stored))
}

async fn stored(bus: &Bus, filter: &Filter, limit: usize) -> Result<Vec<StoredMessage>, DlqError> {
    let mut messages = Vec::new();
    let mut after = 0;
    while messages.len() < limit {
        let found = filter::scan(bus, filter, after, limit - messages.len()).await?;
        after = found.after;
        messages.extend(found.messages);
        if found.at_end {
            break;
        }
    }
    Ok(messages)
}

/// Removes dead letters for good. Returns how many.
///
/// # Errors
/// At the first entry that cannot be removed.
pub async fn discard(bus: &Bus, filter: &Filter, limit: usize) -> Result<usize, DlqError> {
    let letters = stored(bus, filter, limit).await?;
    for entry in &letters {
        remove(bus, entry.sequence).await?;
    }
    Ok(letters.len())
}

async fn remove(bus: &Bus, id: u64) -> Result<(), DlqError> {
    let failed = |reason: String| DlqError::Remove { id, reason };
    let stream =
        bus.jetstream().get_stream_no_info(DLQ).await.map_err(|error| failed(error.to_string()))?;
    match stream.delete_message(id).await {
        Ok(_) => Ok(()),
        // Somebody else removed it meanwhile: that is what we wanted.
        Err(_) if bus.message(DLQ, id).await?.is_none() => Ok(()),
        Err(error) => Err(failed(error.to_string())),
    }
}
