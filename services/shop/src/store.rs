//! The shop's tables, on SQLite (one file) or PostgreSQL.
//! Reads and writes: all of them. Never: changes a row in a transaction that does not begin with a write, because
//! on SQLite a reader that becomes a writer may be refused at once.
//!
//! One portable dialect runs on both engines: `$1` parameters, TEXT ids, BIGINT numbers.

mod effects;
mod orders;
mod projected;
mod shown;

use std::path::Path;
use std::time::Duration;

use campana_bus_sqlx::Outbox;
use secrecy::ExposeSecret as _;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Executor as _};

pub use orders::{Customer, Placed};
pub use projected::Position;
pub use shown::{OrderState, Product, ProjectionState, ReportRow, Totals};

use crate::options::Options;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// More than there are handlers at work, so that none waits for a connection.
const CONNECTIONS_MAX: u32 = 16;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// An order that was answered must survive a power cut, so every commit reaches the disk.
const SQLITE_SETUP: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 20000;";
const POSTGRES_SETUP: &str = "SET statement_timeout = 10000; SET lock_timeout = 5000;";

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, slow or refuses.
    #[error("{}", campana_bus_sqlx::describe(.0))]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The event of an order could not be put into the outbox.
    #[error(transparent)]
    Outbox(#[from] campana_bus_sqlx::OutboxError),
    /// A product's price cannot be counted with.
    #[error("the price of {0} makes no sense: set it right in the table products")]
    Price(String),
    /// The folder of the SQLite file cannot be made.
    #[error("cannot make the folder of the database: {0}")]
    Folder(std::io::Error),
}

impl From<StoreError> for campana_bus::consume::Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => campana_bus_sqlx::failure(&error),
            other => Self::retry(other),
        }
    }
}

/// The store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: AnyPool,
    outbox: Outbox,
}

/// The database of these options.
#[must_use]
pub fn url(options: &Options) -> String {
    match &options.database_url {
        Some(url) => url.expose_secret().to_owned(),
        None => format!("sqlite:{}", options.data_dir.join("shop.db").display()),
    }
}

impl Store {
    /// Opens the database, makes SQLite's file if there is none, and brings the schema up to date.
    ///
    /// # Errors
    /// If the database does not answer.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let file = url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        let (url, setup) = match file {
            Some(path) => {
                if let Some(folder) = Path::new(path).parent() {
                    std::fs::create_dir_all(folder).map_err(StoreError::Folder)?;
                }
                (format!("sqlite://{path}?mode=rwc"), SQLITE_SETUP)
            }
            None => (url.to_owned(), POSTGRES_SETUP),
        };
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    connection.execute(sqlx::raw_sql(setup)).await?;
                    Ok(())
                })
            })
            .connect(&url)
            .await?;
        MIGRATIONS.run(&pool).await?;
        campana_bus_sqlx::migrate(&pool).await?;
        Ok(Self { pool, outbox: Outbox::new() })
    }

    /// For the relay and the tidying of its tables.
    #[must_use]
    pub fn pool(&self) -> AnyPool {
        self.pool.clone()
    }

    /// Where the events of new orders wait for the relay.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
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
}
