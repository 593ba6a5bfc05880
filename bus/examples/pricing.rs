//! Prices on request: a whole service that answers. `NATS_URL` says where the bus is.

use campana_bus::service::{CallMeta, Service, ServiceError};
use campana_bus::{Bus, stop_on_signal};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Ask {
    sku: String,
    quantity: u64,
}

#[derive(Serialize)]
struct Quote {
    cents: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let bus = Bus::from_env("pricing").await?;
    // Callers: `bus.call("pricing", "quote", &ask, timeout)`, or `nats req svc.pricing.quote '{…}'`.
    Service::new(&bus, "pricing", "1.0.0").endpoint("quote", quote).run(stop_on_signal()).await?;
    Ok(())
}

async fn quote(ask: Ask, _: CallMeta) -> Result<Quote, ServiceError> {
    let each = match ask.sku.as_str() {
        "bell" => 4_200,
        "rope" => 900,
        _ => return Err(ServiceError::new(404, "no such sku")),
    };
    let cents = ask.quantity.checked_mul(each);
    cents.map(|cents| Quote { cents }).ok_or_else(|| ServiceError::new(400, "too many"))
}
