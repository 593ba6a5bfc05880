//! The clinic's own database, SQLite (one file) or PostgreSQL, and the outbox in it.
//! Reads and writes: the clinic's tables; adds events to the outbox inside the same transactions.
//! Never: publishes anything itself, and never holds a transaction while it waits for the network.
//!
//! One portable dialect runs on both engines (`migrations/0001_clinic.sql`). Every transaction begins with its write:
//! SQLite then waits for the lock at the start, where waiting is possible, and PostgreSQL locks the row that decides.

pub mod accounts;
pub mod appointments;
pub mod clinics;
pub mod lists;

use std::path::PathBuf;
use std::time::Duration;

use campana_bus_sqlx::{Outbox, OutboxError};
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Executor as _};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Handlers of the consumers, requests and the relay share them.
const CONNECTIONS_MAX: u32 = 16;
/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);
const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 20000; \
                            PRAGMA foreign_keys = ON;";
/// A schema of its own, so that several services can share a database without sharing a table. Of several that make it
/// at once one is too late, and finds it.
const POSTGRES_SETUP: &str = "SET client_min_messages = warning; \
                              DO $$ BEGIN CREATE SCHEMA IF NOT EXISTS clinic; \
                              EXCEPTION WHEN unique_violation OR duplicate_schema THEN NULL; END $$; \
                              SET search_path = clinic; SET statement_timeout = 15000; SET lock_timeout = 10000;";

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, slow or refuses.
    #[error("{}", campana_bus_sqlx::describe(.0))]
    Database(#[from] sqlx::Error),
    /// An event cannot be told.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row holds what this version cannot read.
    #[error("a row of {table} has a bad {column}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
    },
    /// The database's URL.
    #[error(
        "the database URL must begin with sqlite: or postgres:, and its folder must exist: {0}"
    )]
    Url(String),
}

impl From<StoreError> for campana_bus::consume::Failure {
    /// An outage is waited for, anything else is retried and then parked.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => campana_bus_sqlx::failure(&error),
            StoreError::Outbox(error) => error.into(),
            other => Self::retry(other),
        }
    }
}

/// The store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    /// Of transactions. SQLite has one writer, so they wait here, in their order, and not for its lock, which lets
    /// in whoever asks at the right moment.
    writes: AnyPool,
    outbox: Outbox,
}

impl Store {
    /// Opens the database and brings its tables up to date: ours, and those of inbox, outbox and ledger.
    ///
    /// # Errors
    /// If it cannot be opened, or the tables cannot be made.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let sqlite = url.starts_with("sqlite:");
        if !sqlite && !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            return Err(StoreError::Url("another kind of database".to_owned()));
        }
        if sqlite {
            make_folder(url)?;
        }
        let setup = if sqlite { SQLITE_SETUP } else { POSTGRES_SETUP };
        let url = with_create(url);
        let pool = options(CONNECTIONS_MAX, setup).connect(&url).await?;
        MIGRATIONS.run(&pool).await?;
        campana_bus_sqlx::migrate(&pool).await?;
        let writes = if sqlite { options(1, setup).connect(&url).await? } else { pool.clone() };
        Ok(Self { pool, writes, outbox: Outbox::new() })
    }

    /// The pool, for the relay and the ledger.
    #[must_use]
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// The outbox, for the relay.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Asks the database for nothing, to see whether it answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.writes.close().await;
        self.pool.close().await;
    }
}

fn options(connections: u32, setup: &'static str) -> AnyPoolOptions {
    let options = AnyPoolOptions::new().max_connections(connections);
    options.acquire_timeout(ACQUIRE_TIMEOUT).after_connect(move |connection, _| {
        Box::pin(async move {
            connection.execute(sqlx::raw_sql(setup)).await?;
            Ok(())
        })
    })
}

/// SQLite makes the file, but not its folder.
fn make_folder(url: &str) -> Result<(), StoreError> {
    let rest = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = PathBuf::from(rest.split('?').next().unwrap_or_default());
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::Url(error.to_string()))
        }
        None => Ok(()),
    }
}

fn with_create(url: &str) -> String {
    if url.starts_with("sqlite:") && !url.contains('?') {
        return format!("{url}?mode=rwc");
    }
    url.to_owned()
}
