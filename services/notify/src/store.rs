//! The notification platform's SQL store, on SQLite (one file, the embedded default) or PostgreSQL.
//! Reads and writes: recipients, templates, API keys; reads notifications and deliveries, which only the
//! recorder writes (see `status`). Never: on the way of a delivery; a stopped database delays status
//! pages, not bells. Every row belongs to a tenant, and every statement names it.
//!
//! One portable dialect runs on both engines: `$1` parameters, TEXT ids, BIGINT microseconds, JSON as TEXT.
//! SQLite runs in WAL mode with `synchronous = FULL`: the recorder acknowledges its messages after the
//! commit, so a commit that a power cut could take back would lose status for good. Commits are batches,
//! so the price is one fsync for hundreds of rows.

pub mod changed;
pub mod counts;
pub mod keys;
pub mod notifications;
#[cfg(test)]
mod plans;
pub mod recipients;
pub mod status;
pub mod templates;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, Executor};

pub use keys::KeyRow;
pub use notifications::{DeliveryRow, ListFilter, NotificationRow, OutcomeRow};
pub use recipients::Recipient;
pub use status::Applied;
pub use templates::{
    EmailTemplate, InAppTemplate, Template, TemplateChannels, TextTemplate, WebhookTemplate,
};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/notify");

/// Connections for reading on SQLite, and for everything on PostgreSQL.
const CONNECTIONS_MAX: u32 = 8;
/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Rows in one multi-row statement: enough to be fast, few enough for SQLite's 32,766 parameters. A power of
/// two, as [`statements`] wants it.
const ROWS_PER_STATEMENT: usize = 256;

/// Rows as parts for multi-row statements: as many as [`ROWS_PER_STATEMENT`], then ever smaller powers of two.
/// The driver keeps the program of every statement text it saw lately, and that of 500 rows takes a megabyte:
/// with nine lengths all of them fit, with any length they would be made anew for each batch.
pub(crate) fn statements<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = ROWS_PER_STATEMENT.min(1 << rest.len().checked_ilog2()?);
        let (now, later) = rest.split_at(size);
        rest = later;
        Some(now)
    })
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, slow or refuses.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row holds something that this version cannot read.
    #[error("row {row} of table {table} has a bad {column}")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Key of the row.
        row: String,
    },
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
    /// Whether the database is away, full or busy, so that the same statement may work later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                // PostgreSQL: connection, transaction rollback, resources, operator intervention, system.
                let postgres = ["08", "40", "53", "55", "57", "58"];
                // SQLite's primary codes: busy, locked, out of memory, read-only, I/O, full, cannot open.
                let sqlite = [5, 6, 7, 8, 10, 13, 14];
                match code.parse::<u32>() {
                    Ok(number) if code.len() != 5 => sqlite.contains(&(number & 0xff)),
                    _ => postgres.iter().any(|class| code.starts_with(class)),
                }
            }
            Self::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::Protocol(_)
            ),
            Self::Migration(_)
            | Self::Corrupt { .. }
            | Self::Folder { .. }
            | Self::UnknownEngine => false,
        }
    }
}

/// The store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    reads: AnyPool,
    writes: AnyPool,
    engine: Engine,
}

/// Which database is behind a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// One file, one writer.
    Sqlite,
    /// A server.
    Postgres,
}

impl Store {
    /// Opens the database; on SQLite the file and its folder are made if they are missing.
    /// The schema is left as it is: see [`Store::migrate`].
    ///
    /// # Errors
    /// If the URL is of another engine or SQLite's file cannot be opened. PostgreSQL is connected on first
    /// use, so that a platform starts (and delivers) while its database is away.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = options(CONNECTIONS_MAX, POSTGRES_SETUP).connect_lazy(url)?;
            return Ok(Self { reads: pool.clone(), writes: pool, engine: Engine::Postgres });
        }
        let Some(path) = sqlite_path(url) else {
            return Err(StoreError::UnknownEngine);
        };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::Folder { path: folder.to_owned(), error })?;
        }
        let url = sqlite_url(&path);
        // SQLite has one writer: a second connection would only wait for the first one's lock.
        let writes = options(1, SQLITE_SETUP).min_connections(1).connect(&url).await?;
        let reads = options(CONNECTIONS_MAX, SQLITE_SETUP).connect_lazy(&url)?;
        Ok(Self { reads, writes, engine: Engine::Sqlite })
    }

    /// Brings the schema up to date; safe to run at every start and from several processes.
    ///
    /// # Errors
    /// If the database is away or a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(MIGRATIONS.run(&self.writes).await?)
    }

    /// Asks the database for nothing, to see whether it answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.reads).await?;
        Ok(())
    }

    /// Which engine this store runs on.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Closes every connection; on SQLite this also folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }
}

const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; \
                            PRAGMA cache_size = -4000; PRAGMA temp_store = MEMORY; \
                            PRAGMA wal_autocheckpoint = 4000;";
const POSTGRES_SETUP: &str = "SET statement_timeout = 10000; SET lock_timeout = 5000;";

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
    let mut escaped = String::new();
    for ch in path.to_string_lossy().chars() {
        match ch {
            '%' => escaped.push_str("%25"),
            '?' => escaped.push_str("%3F"),
            '#' => escaped.push_str("%23"),
            ' ' => escaped.push_str("%20"),
            other => escaped.push(other),
        }
    }
    format!("sqlite://{escaped}?mode=rwc")
}

impl Engine {
    /// The `number`th parameter of a statement whose parameters are bound in the order in which they stand in it.
    pub(crate) fn parameter(self, number: usize) -> String {
        match self {
            Self::Sqlite => "?".to_owned(),
            Self::Postgres => format!("${number}"),
        }
    }

    /// `count` parameters from the `first`th on, with commas between them.
    pub(crate) fn parameters(self, first: usize, count: usize) -> String {
        let all: Vec<String> =
            (first..first + count).map(|number| self.parameter(number)).collect();
        all.join(",")
    }

    /// Behind a table's name: reads it by this index. SQLite keeps no statistics here, takes every index for a
    /// selective one, and would read all of a tenant's index entries for each row that is looked for.
    pub(crate) fn by_index(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!("INDEXED BY {index}"),
            Self::Postgres => String::new(),
        }
    }

    /// `($1,$2),($3,$4),…` for `rows` rows of `columns` columns, to be bound in this order and nothing else
    /// beside them. On SQLite `(?,?),…`: it looks a named parameter up by scanning all names before it, so
    /// that thousands of them would cost more than the rows (measured: over half of the process's time).
    pub(crate) fn values(self, rows: usize, columns: usize) -> String {
        use std::fmt::Write as _;
        let mut sql = String::with_capacity(rows * (columns * 6 + 3));
        let mut parameter = 1;
        for row in 0..rows {
            sql.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..columns {
                if column > 0 {
                    sql.push(',');
                }
                match self {
                    Self::Sqlite => sql.push('?'),
                    // Writing to a String cannot fail.
                    Self::Postgres => drop(write!(sql, "${parameter}")),
                }
                parameter += 1;
            }
            sql.push(')');
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_urls_of_every_spelling_name_the_file() {
        for (url, path) in [
            ("sqlite:a.db", Some("a.db")),
            ("sqlite://a/b.db?mode=rwc", Some("a/b.db")),
            ("sqlite:///var/lib/c.db", Some("/var/lib/c.db")),
            ("sqlite:", None),
            ("mysql://x", None),
        ] {
            assert_eq!(sqlite_path(url), path.map(PathBuf::from), "{url}");
        }
        assert_eq!(sqlite_url(Path::new("/a b/100%.db")), "sqlite:///a%20b/100%25.db?mode=rwc");
    }

    #[test]
    fn statements_have_few_lengths_and_all_rows() {
        let rows: Vec<usize> = (0..1_000).collect();
        for count in 0..rows.len() {
            let parts: Vec<&[usize]> = statements(&rows[..count]).collect();
            assert_eq!(parts.concat(), rows[..count]);
            assert!(parts.iter().all(|part| part.len().is_power_of_two()));
            assert!(parts.iter().all(|part| part.len() <= ROWS_PER_STATEMENT));
            assert!(parts.len() <= count / ROWS_PER_STATEMENT + 8, "{count}");
        }
    }

    #[test]
    fn values_numbers_every_parameter_once() {
        assert_eq!(Engine::Postgres.values(2, 2), "($1,$2),($3,$4)");
        assert_eq!(Engine::Sqlite.values(2, 2), "(?,?),(?,?)");
        assert_eq!(Engine::Sqlite.values(0, 2), "");
    }
}
