//! Slash commands as background jobs: asked for over the bus, told of in the room.
//! Reads: messages, attachments. Writes: the job's steps, the file that it made. Never: does a job's effect twice: its end
//! is one transaction that only a job which has not ended can take.
//!
//! A process that dies in the middle leaves the event unacknowledged; another one begins the job anew. What the first
//! one stored is referred to by nothing, and goes with the next tidying.

mod export;
mod thumbnail;

use bytes::Bytes;
use campana_bus::clock;
use campana_bus::consume::Failure;

use crate::events::JobRequested;
use crate::files::{FILE_BYTES_MAX, FileError, media_type};
use crate::http::App;
use crate::listeners::failure;
use crate::secrets;
use crate::store::jobs::Step;
use crate::store::timeline::{FileCard, Message};

/// How a job ends without a file.
enum Stopped {
    /// It cannot be done, and will not be later: a code for the page.
    Cannot(&'static str),
    /// Something is away: again later.
    Later(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Later(failure)
    }
}

impl From<FileError> for Stopped {
    fn from(error: FileError) -> Self {
        Self::Later(Failure::retry(error))
    }
}

/// What a job made, before it has an id.
struct Made {
    name: String,
    bytes: Bytes,
}

/// One job, from the event to its end. On the last attempt a trouble is told in the room before it is given up.
pub(crate) async fn run(app: &App, event: JobRequested, is_last: bool) -> Result<(), Failure> {
    let Some((room, message)) = app.store.message(&event.message).await.map_err(failure)? else {
        return Ok(());
    };
    let Some(job) = message.job.as_ref() else { return Ok(()) };
    if matches!(job.state.as_str(), "done" | "failed") {
        return Ok(());
    }
    let made = match job.command.as_str() {
        "export" => export::run(app, &room, &message).await,
        "thumbnail" => thumbnail::run(app, &room, &message, &event.argument).await,
        _ => Err(Stopped::Cannot("unknown_command")),
    };
    let step = match made {
        Ok(made) => {
            let file = keep(app, (&room, &message.author.id), made).await?;
            let step = Step::Done(file.clone());
            // The message was deleted meanwhile: nobody wants what it made.
            if !tell(app, &room, &message, &step).await? {
                app.files.forget(&app.store, &file.id).await.map_err(Failure::retry)?;
            }
            return Ok(());
        }
        Err(Stopped::Cannot(code)) => Step::Failed(code),
        Err(Stopped::Later(trouble)) if is_last => {
            tell(app, &room, &message, &Step::Failed("unavailable")).await?;
            return Err(trouble);
        }
        Err(Stopped::Later(trouble)) => return Err(trouble),
    };
    tell(app, &room, &message, &step).await?;
    Ok(())
}

/// Stores what was made, its row first, so that bytes are never nobody's.
async fn keep(app: &App, (room, person): (&str, &str), made: Made) -> Result<FileCard, Failure> {
    let id = secrets::fresh_id("file").map_err(Failure::retry)?;
    let size = i64::try_from(made.bytes.len()).unwrap_or(i64::MAX);
    let media_type = media_type(&made.bytes).to_owned();
    let file = FileCard { id, name: made.name, media_type, size };
    app.store.add_file(&file, room, person, clock::now()).await.map_err(failure)?;
    let _place = app.files.place().await.map_err(Failure::retry)?;
    app.files.put(&file.id, &made.bytes).await.map_err(Failure::retry)?;
    Ok(file)
}

/// False if the job ended meanwhile, for example because its message was deleted.
async fn tell(app: &App, room: &str, job: &Message, step: &Step) -> Result<bool, Failure> {
    app.store.job_step(room, job, step, clock::now()).await.map_err(failure)
}

/// Bytes that an export may have.
const MADE_BYTES_MAX: usize = 4 * FILE_BYTES_MAX;
