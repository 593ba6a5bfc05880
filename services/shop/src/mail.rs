//! Topic: confirms every order by e-mail, through the notification API.
//! Reads: `OrderPlaced`, the customer's address. Writes: `POST /v1/notifications`, table `confirmed`, the ledger.
//! Never: puts a name or an address into an event, a log line or an error.

use std::time::Duration;

use campana_bus::Bus;
use campana_bus::consume::{ConsumeError, Failure, Meta};
use campana_bus_sqlx::{SendError, Sent};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::TAKEN_OVER;
use crate::events::OrderPlaced;
use crate::shop::Shop;
use crate::store::Customer;

/// A name that no other reader uses: it gets a copy of everything.
pub const DURABLE: &str = "shop-mail";

/// How long the gateway may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A wrong key or address is set right by a person: look again now and then, without using up attempts.
const SET_UP_WRONGLY: Duration = Duration::from_secs(30);

/// The notification gateway.
#[derive(Clone)]
pub struct Gateway {
    http: reqwest::Client,
    url: String,
    key: SecretString,
}

impl Gateway {
    /// A caller of this gateway.
    ///
    /// # Errors
    /// If there is no TLS backend.
    pub fn new(url: &str, key: SecretString) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { http, url: format!("{}/v1/notifications", url.trim_end_matches('/')), key })
    }

    /// Asks for a notification; the same key again is the same notification.
    async fn send(&self, key: &str, body: &Value) -> Result<String, SendError> {
        let request = self.http.post(&self.url).bearer_auth(self.key.expose_secret());
        let request = request.header("Idempotency-Key", key).json(body);
        let answer = request.send().await.map_err(|error| match error.is_connect() {
            true => SendError::NotSent(Failure::retry("the gateway cannot be reached")),
            false => SendError::Unknown("the gateway did not answer".to_owned()),
        })?;
        let status = answer.status().as_u16();
        match status {
            200..300 => {
                #[derive(Deserialize)]
                struct Accepted {
                    id: String,
                }
                let accepted: Accepted = answer.json().await.map_err(|_| {
                    SendError::Unknown("the gateway's answer cannot be read".to_owned())
                })?;
                Ok(accepted.id)
            }
            401 | 403 | 404 => Err(SendError::NotSent(Failure::defer(
                SET_UP_WRONGLY,
                format!("the gateway answered {status}: check the shop's API address and key"),
            ))),
            408 | 409 | 429 | 500.. => {
                Err(SendError::NotSent(Failure::retry(format!("the gateway answered {status}"))))
            }
            _ => Err(SendError::NotSent(Failure::dead(
                "notification_refused",
                format!("the gateway answered {status}"),
            ))),
        }
    }
}

/// Confirms orders until `stop`.
///
/// # Errors
/// If the consumer cannot be created.
pub async fn run(
    bus: Bus,
    shop: Shop,
    gateway: Gateway,
    stop: impl Future<Output = ()>,
) -> Result<(), ConsumeError> {
    let mail = bus.consumer::<OrderPlaced>(DURABLE).max_in_flight(8).ack_wait(TAKEN_OVER);
    mail.run(move |order, meta| confirm(shop.clone(), gateway.clone(), order, meta), stop).await
}

async fn confirm(
    shop: Shop,
    gateway: Gateway,
    order: OrderPlaced,
    meta: Meta,
) -> Result<(), Failure> {
    let Some(customer) = shop.store.customer(&order.order).await? else {
        return Err(Failure::dead("unknown_order", "no such order in the shop's tables"));
    };
    let body = letter(&order, &customer);
    let key = format!("shop-{}", order.order);
    let send = async |_| gateway.send(&key, &body).await.map(String::into_bytes);
    // The gateway knows the key, so after a lost answer asking again is harmless.
    let ask = async |_| Sent::No;
    let notification = shop.store.once(&key, &meta, send, ask).await?;
    let notification = String::from_utf8_lossy(&notification);
    shop.store.confirmed(&order.order, &notification).await?;
    shop.floor.changed();
    Ok(())
}

/// The e-mail in the customer's language.
fn letter(order: &OrderPlaced, customer: &Customer) -> Value {
    let price = format!("{}.{:02} €", order.cents / 100, order.cents % 100);
    let (name, number, units) = (&customer.name, &order.order, order.units());
    let (title, text) = if customer.locale == "es" {
        (
            format!("Tu pedido {number}"),
            format!("Hola, {name}:\n\nHemos recibido tu pedido {number} ({units} uds., {price})."),
        )
    } else {
        (
            format!("Your order {number}"),
            format!("Hello {name},\n\nwe have your order {number} ({units} pcs., {price})."),
        )
    };
    json!({
        "to": {"id": format!("shop-{number}"), "email": customer.email},
        "channels": ["email"],
        "content": {"title": title, "body": text},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Line;

    #[test]
    fn the_letter_speaks_the_customers_language() {
        let lines = vec![Line { sku: "bell-door".to_owned(), quantity: 2, cents: 3_700 }];
        let order = OrderPlaced { order: "s-1".to_owned(), lines, cents: 3_705, placed_at: 0 };
        let letter_in = |locale: &str| {
            let customer = Customer {
                name: "Ana".to_owned(),
                email: "ana@example.com".to_owned(),
                locale: locale.to_owned(),
            };
            letter(&order, &customer)
        };
        let (english, spanish) = (letter_in("en"), letter_in("es"));
        assert_eq!(english["content"]["title"], "Your order s-1");
        assert_eq!(spanish["content"]["title"], "Tu pedido s-1");
        assert!(spanish["content"]["body"].as_str().unwrap().contains("37.05 €"));
        assert_eq!(english["to"]["email"], "ana@example.com");
    }
}
