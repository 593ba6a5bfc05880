//! Charges a card for every order: never twice, also when an answer of the payment provider is lost.
//! `NATS_URL`, `DATABASE_URL` (SQLite) and `PROVIDER` (host:port of a provider that speaks lines of text).

use std::time::Duration;

use campana_bus::consume::{Failure, Meta};
use campana_bus::{Bus, Event, stop_on_signal};
use campana_bus_sqlx::{Call, Ledger, SendError, Sent, migrate};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Serialize, Deserialize)]
struct OrderCreated {
    order: String,
    cents: u64,
}

impl Event for OrderCreated {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "order_created";
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = Bus::from_env("payments").await?;
    let pool = sqlx::SqlitePool::connect(&std::env::var("DATABASE_URL")?).await?;
    migrate(&pool).await?;
    let consumer = bus.consumer::<OrderCreated>("payments");
    let handle = move |event, meta| charge(pool.clone(), event, meta);
    Ok(consumer.run(handle, stop_on_signal()).await?)
}

async fn charge(pool: sqlx::SqlitePool, event: OrderCreated, meta: Meta) -> Result<(), Failure> {
    let key = format!("charge-{}", event.order); // names the effect, not the attempt
    let call = Call { lease: Duration::from_secs(2), ..Call::new(&key, &meta) };
    let send = async |_| match ask(&format!("CHARGE {key} {}\n", event.cents)).await {
        Ok(answer) if answer.starts_with("OK") => Ok(answer.into_bytes()),
        Ok(refusal) => Err(SendError::NotSent(Failure::dead("card_refused", refusal))),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(SendError::NotSent(Failure::retry("the provider is away")))
        }
        Err(lost) => Err(SendError::Unknown(lost.to_string())), // it may have charged the card
    };
    let find_out = async |_| match ask(&format!("FIND {key}\n")).await {
        Ok(answer) if answer.starts_with("OK") => Sent::Yes(answer.into_bytes()),
        Ok(answer) if answer.starts_with("NONE") => Sent::No,
        _ => Sent::CannotTell, // parked for a person to look at
    };
    Ledger::new("payments").call(&pool, call, send, find_out).await.map(drop)
}

/// One line to the provider, one line back.
async fn ask(line: &str) -> std::io::Result<String> {
    let provider = std::env::var("PROVIDER").map_err(std::io::Error::other)?;
    let mut connection = tokio::net::TcpStream::connect(provider).await?;
    connection.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}
