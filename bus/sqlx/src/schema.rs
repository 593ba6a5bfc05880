//! The tables of this crate.
//! Reads: the SQL files beside it, when it is compiled. Writes: the schema of the author's database.
//! Never: touches a table whose name does not begin with `campana_`.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Pool, SqlSafeStr, SqlStr};

use crate::dialect::{Dialect, Engine};

const POSTGRES: &str = include_str!("../migrations/postgres.sql");
const SQLITE: &str = include_str!("../migrations/sqlite.sql");

/// The whole schema as SQL, for authors who have migrations of their own: copy it into one of them, and do not
/// call [`migrate`]. A later version of this crate that needs another schema says so in its notes and brings
/// the difference as a second text.
#[must_use]
pub const fn schema(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => POSTGRES,
        Engine::Sqlite => SQLITE,
    }
}

/// Makes the tables, or brings them up to date. Safe at every start and from several processes; it keeps its
/// books in a table of its own, so it gets along with the author's own sqlx migrations.
///
/// # Errors
/// If the database is away, or a table of the same name is there already.
pub async fn migrate<DB: Dialect>(pool: &Pool<DB>) -> Result<(), sqlx::migrate::MigrateError> {
    let engine = {
        let connection = pool.acquire().await.map_err(sqlx::migrate::MigrateError::Execute)?;
        DB::engine(&connection)
    };
    let first: SqlStr = schema(engine).into_sql_str();
    let mut migrator = Migrator::with_migrations(vec![Migration::new(
        1,
        Cow::Borrowed("inbox outbox ledger"),
        MigrationType::Simple,
        first,
        false,
    )]);
    migrator.dangerous_set_table_name("campana_bus_migrations");
    DB::migrate(pool, &migrator).await
}
