//! The engines and the sqlx databases that reach them.
//! Reads and writes: whatever statement it is given. Never: contains SQL; offers itself to other crates.
//!
//! Authors keep their own type of transaction: `Postgres`, `Sqlite` or `Any`. The bounds that sqlx needs for
//! generic statements cannot be implied by a trait, so [`sealed::Sealed`] has two plain functions instead,
//! written once by a macro.

use sqlx::{Any, Postgres, Sqlite};

/// Which database is behind a connection; with `Any` it is known at run time only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// SQLite 3.35 or newer.
    Sqlite,
}

/// The sqlx databases that this crate works with: `Postgres`, `Sqlite`, and `Any` over one of them.
pub trait Dialect: sealed::Sealed {}

/// A bound parameter, or a column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `BIGINT`.
    Int(i64),
    /// `TEXT`.
    Text(String),
    /// `BYTEA` or `BLOB`.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `BIGINT`.
    Int,
    /// `TEXT`.
    Text,
    /// `BYTEA` or `BLOB`.
    Bytes,
}

/// The columns of one row, taken from the front.
#[derive(Debug)]
pub struct Row(std::vec::IntoIter<Value>);

impl Row {
    /// The next column, a number.
    pub fn int(&mut self) -> i64 {
        match self.0.next() {
            Some(Value::Int(value)) => value,
            other => unreachable!("the statement names a number here, not {other:?}"),
        }
    }

    /// The next column, a text.
    pub fn text(&mut self) -> String {
        match self.0.next() {
            Some(Value::Text(value)) => value,
            other => unreachable!("the statement names a text here, not {other:?}"),
        }
    }

    /// The next column, bytes.
    pub fn bytes(&mut self) -> Vec<u8> {
        match self.0.next() {
            Some(Value::Bytes(value)) => value,
            other => unreachable!("the statement names bytes here, not {other:?}"),
        }
    }
}

/// `values![a, b]`: parameters in the order of their numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(crate::dialect::Value::from($value)),*] };
}
pub(crate) use values;

pub(crate) mod sealed {
    //! What the rest of the crate needs of a database.

    use std::future::Future;

    use sqlx::migrate::{MigrateError, Migrator};
    use sqlx::{Pool, SqlStr};

    use super::{Engine, Kind, Row, Value};

    /// Implemented for the three databases and no others.
    pub trait Sealed: sqlx::Database {
        /// Which engine answers on this connection.
        fn engine(connection: &Self::Connection) -> Engine;

        /// Runs a statement; the number of rows it changed.
        fn execute(
            connection: &mut Self::Connection,
            sql: SqlStr,
            values: Vec<Value>,
        ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

        /// Runs a statement; its rows, whose columns have these types.
        fn fetch(
            connection: &mut Self::Connection,
            sql: SqlStr,
            values: Vec<Value>,
            columns: &'static [Kind],
        ) -> impl Future<Output = Result<Vec<Row>, sqlx::Error>> + Send;

        /// Brings a schema up to date.
        fn migrate(
            pool: &Pool<Self>,
            migrator: &Migrator,
        ) -> impl Future<Output = Result<(), MigrateError>> + Send;
    }
}

macro_rules! dialect {
    ($database:ty, $engine:expr) => {
        impl Dialect for $database {}

        impl sealed::Sealed for $database {
            fn engine(connection: &Self::Connection) -> Engine {
                $engine(connection)
            }

            async fn execute(
                connection: &mut Self::Connection,
                sql: sqlx::SqlStr,
                values: Vec<Value>,
            ) -> Result<u64, sqlx::Error> {
                let mut query = sqlx::query::<$database>(sql);
                for value in values {
                    query = match value {
                        Value::Int(value) => query.bind(value),
                        Value::Text(value) => query.bind(value),
                        Value::Bytes(value) => query.bind(value),
                    };
                }
                Ok(query.execute(connection).await?.rows_affected())
            }

            async fn fetch(
                connection: &mut Self::Connection,
                sql: sqlx::SqlStr,
                values: Vec<Value>,
                columns: &'static [Kind],
            ) -> Result<Vec<Row>, sqlx::Error> {
                use sqlx::Row as _;
                let mut query = sqlx::query::<$database>(sql);
                for value in values {
                    query = match value {
                        Value::Int(value) => query.bind(value),
                        Value::Text(value) => query.bind(value),
                        Value::Bytes(value) => query.bind(value),
                    };
                }
                let rows = query.fetch_all(connection).await?;
                rows.iter()
                    .map(|row| {
                        let values = columns.iter().enumerate().map(|(index, kind)| {
                            Ok(match kind {
                                Kind::Int => Value::Int(row.try_get(index)?),
                                Kind::Text => Value::Text(row.try_get(index)?),
                                Kind::Bytes => Value::Bytes(row.try_get(index)?),
                            })
                        });
                        let values = values.collect::<Result<Vec<_>, sqlx::Error>>()?;
                        Ok(Row(values.into_iter()))
                    })
                    .collect()
            }

            async fn migrate(
                pool: &sqlx::Pool<Self>,
                migrator: &sqlx::migrate::Migrator,
            ) -> Result<(), sqlx::migrate::MigrateError> {
                migrator.run(pool).await
            }
        }
    };
}

dialect!(Postgres, |_: &sqlx::PgConnection| Engine::Postgres);
dialect!(Sqlite, |_: &sqlx::SqliteConnection| Engine::Sqlite);
dialect!(Any, |connection: &sqlx::AnyConnection| {
    // sqlx is built with these two drivers only, so there is no third name.
    if connection.backend_name() == "PostgreSQL" { Engine::Postgres } else { Engine::Sqlite }
});
