//! The chat's SQL store, on SQLite (one file, the default) or PostgreSQL (a schema of its own, `chat`).
//! Reads and writes: the tables of `migrations/`, and the outbox of `campana-bus-sqlx` in the same transactions.
//! Never: tells anybody anything; what must be told goes into the outbox, and the relay tells it.
//!
//! One portable dialect runs on both engines: `$1` parameters, TEXT ids, BIGINT microseconds. SQLite has one
//! writer, so one connection writes and others read; on PostgreSQL all share a pool.

pub mod edits;
pub mod files;
pub mod jobs;
pub mod members;
pub mod messages;
pub mod moderation;
pub mod people;
pub mod presence;
pub mod rooms;
pub mod search;
pub mod timeline;

use std::path::{Path, PathBuf};
use std::time::Duration;

use campana_bus_sqlx::{Outbox, OutboxError};
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyPool, Executor, Transaction};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Connections for reading on SQLite, and for everything on PostgreSQL.
const CONNECTIONS_MAX: u32 = 8;
/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A transaction of either engine.
pub type Tx = Transaction<'static, Any>;

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, slow or refuses.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// An event could not be put beside its change.
    #[error("outbox: {0}")]
    Outbox(#[from] OutboxError),
    /// The folder of the SQLite file cannot be made.
    #[error("cannot make the database folder {path}: {error}")]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Neither `sqlite:` nor `postgres:`.
    #[error("the database URL must begin with sqlite: or postgres:")]
    UnknownEngine,
}

impl StoreError {
    /// Whether a rule of uniqueness refused the row.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

/// The store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    reads: AnyPool,
    writes: AnyPool,
    outbox: Outbox,
}

impl Store {
    /// Opens the database and brings its schema up to date; SQLite's file and folder are made if missing.
    ///
    /// # Errors
    /// If the URL is of another engine, or the database does not answer or refuses.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (reads, writes) = if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = options(CONNECTIONS_MAX, POSTGRES_SETUP).connect(url).await?;
            (pool.clone(), pool)
        } else {
            let path = sqlite_path(url).ok_or(StoreError::UnknownEngine)?;
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)
                    .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
            }
            let url = sqlite_url(&path);
            let writes = options(1, SQLITE_SETUP).min_connections(1).connect(&url).await?;
            (options(CONNECTIONS_MAX, SQLITE_SETUP).connect_lazy(&url)?, writes)
        };
        MIGRATIONS.run(&writes).await?;
        campana_bus_sqlx::migrate(&writes).await?;
        Ok(Self { reads, writes, outbox: Outbox::new() })
    }

    /// The outbox, for the relay.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The pool that writes, for the relay and the inbox.
    #[must_use]
    pub fn pool(&self) -> &AnyPool {
        &self.writes
    }

    /// Asks the database for nothing, to see whether it answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.reads).await?;
        Ok(())
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }

    async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(self.writes.begin().await?)
    }

    /// Commits and wakes the relay of this process.
    async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        Ok(self.outbox.commit(tx).await?)
    }
}

const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; \
                            PRAGMA foreign_keys = ON;";
/// A schema of its own, so that several services can share a database without sharing a table. Of several that make it
/// at once one is too late, and finds it.
const POSTGRES_SETUP: &str = "SET client_min_messages = warning; \
                              DO $$ BEGIN CREATE SCHEMA IF NOT EXISTS chat; \
                              EXCEPTION WHEN unique_violation OR duplicate_schema THEN NULL; END $$; \
                              SET search_path = chat; SET statement_timeout = 10000; SET lock_timeout = 5000;";

fn options(connections: u32, setup: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(Duration::from_secs(600))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(sqlx::raw_sql(setup)).await?;
                Ok(())
            })
        })
}

/// The file of a `sqlite:path`, `sqlite://path` or `sqlite:///path` URL; any query is dropped.
fn sqlite_path(url: &str) -> Option<PathBuf> {
    let rest = url.strip_prefix("sqlite:")?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let path = rest.split('?').next().unwrap_or(rest);
    (!path.is_empty()).then(|| PathBuf::from(path))
}

fn sqlite_url(path: &Path) -> String {
    // The driver decodes percent signs in the path and reads a query after `?`.
    let text = path.to_string_lossy();
    let escaped =
        text.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace(' ', "%20");
    format!("sqlite://{escaped}?mode=rwc")
}
