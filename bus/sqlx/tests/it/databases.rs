//! The three sqlx databases as the suites use them: plain SQL of an author, beside the crate's own.

use std::future::Future;
use std::path::Path;

use campana_bus_sqlx::Dialect;
use sqlx::{Executor, Pool};

/// What the suites need of a database besides the crate under test.
pub trait TestDb: Dialect {
    /// Opens a pool of a few connections.
    fn open(url: &str) -> impl Future<Output = Pool<Self>> + Send;
    /// Runs one statement of an author on this connection.
    fn run(
        connection: &mut Self::Connection,
        sql: &str,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
    /// Runs statements by themselves.
    fn run_all(pool: &Pool<Self>, sql: &str) -> impl Future<Output = ()> + Send;
    /// Whether PostgreSQL is behind the pool.
    fn is_postgres(pool: &Pool<Self>) -> impl Future<Output = bool> + Send;
    /// The one number of a query.
    fn number(pool: &Pool<Self>, sql: &str) -> impl Future<Output = i64> + Send;
}

/// A database file in WAL mode, with room in its name for trouble.
pub fn sqlite_url(folder: &Path) -> String {
    format!("sqlite://{}/effects.db?mode=rwc", folder.display())
}

const SQLITE_SETUP: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 30000";

macro_rules! test_db {
    ($database:ty, $options:ty) => {
        impl TestDb for $database {
            async fn open(url: &str) -> Pool<Self> {
                sqlx::any::install_default_drivers();
                let sqlite = url.starts_with("sqlite");
                <$options>::new()
                    .max_connections(6)
                    .after_connect(move |connection, _| {
                        Box::pin(async move {
                            if sqlite {
                                connection.execute(sqlx::raw_sql(SQLITE_SETUP)).await?;
                            }
                            Ok(())
                        })
                    })
                    .connect(url)
                    .await
                    .unwrap()
            }

            async fn run(connection: &mut Self::Connection, sql: &str) -> Result<u64, sqlx::Error> {
                let query = sqlx::query::<$database>(sqlx::AssertSqlSafe(sql.to_owned()));
                Ok(query.execute(connection).await?.rows_affected())
            }

            async fn run_all(pool: &Pool<Self>, sql: &str) {
                pool.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))).await.unwrap();
            }

            async fn is_postgres(pool: &Pool<Self>) -> bool {
                pool.execute("SELECT pg_backend_pid()").await.is_ok()
            }

            async fn number(pool: &Pool<Self>, sql: &str) -> i64 {
                let query =
                    sqlx::query_scalar::<$database, i64>(sqlx::AssertSqlSafe(sql.to_owned()));
                query.fetch_one(pool).await.unwrap()
            }
        }
    };
}

test_db!(sqlx::Postgres, sqlx::postgres::PgPoolOptions);
test_db!(sqlx::Sqlite, sqlx::sqlite::SqlitePoolOptions);
test_db!(sqlx::Any, sqlx::any::AnyPoolOptions);
