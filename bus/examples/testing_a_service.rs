//! How a service is tested: start it on a bus of its own, inject, drive, look.

use campana_bus::consume::{ConsumeError, Failure, Meta};
use campana_bus::testing::{Settled, TestBus, TestError};
use campana_bus::{Bus, Event};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct OrderCreated {
    order: String,
    cents: u64,
}

impl Event for OrderCreated {
    const SERVICE: &'static str = "shop";
    const NAME: &'static str = "order_created";
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct InvoiceSent {
    order: String,
}

impl Event for InvoiceSent {
    const SERVICE: &'static str = "invoicing";
    const NAME: &'static str = "invoice_sent";
}

/// The service: its `main` runs it with `stop_on_signal()`.
async fn invoicing(bus: Bus, stop: impl Future<Output = ()>) -> Result<(), ConsumeError> {
    let out = bus.clone();
    let handler = move |order: OrderCreated, meta: Meta| {
        let out = out.clone();
        async move {
            match (order.cents, meta.attempt) {
                (0, _) => Err(Failure::dead("nothing_to_pay", order.order)),
                (_, 1) if order.order == "slow" => Err(Failure::retry("the printer is busy")),
                _ => {
                    let sent = InvoiceSent { order: order.order };
                    out.emit(&sent).await.map(drop).map_err(Failure::retry)
                }
            }
        }
    };
    bus.consumer::<OrderCreated>("invoicing").max_in_flight(1).run(handler, stop).await
}

#[tokio::main]
async fn main() -> Result<(), TestError> {
    let test = TestBus::start().await?;
    let service = test.service(invoicing);
    for (order, cents) in [("paid", 1_200), ("free", 0), ("slow", 900)] {
        test.emit(&OrderCreated { order: order.to_owned(), cents }).await?;
    }

    let answers = test.drive("invoicing").await?; // returns when nothing is left to do

    assert_eq!(answers[0].how, Settled::Acked);
    assert_eq!(answers[1].how, Settled::Terminated("bus:permanent".to_owned()));
    assert!(matches!(answers[2].how, Settled::Retried(_)));
    assert_eq!((answers[3].sequence, &answers[3].how), (answers[2].sequence, &Settled::Acked));
    let sent: Vec<InvoiceSent> = test.events().await?;
    assert_eq!(sent.iter().map(|one| one.order.as_str()).collect::<Vec<_>>(), ["paid", "slow"]);
    let dead = test.dead_letters("invoicing").await?;
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "nothing_to_pay"));
    assert!(test.schedules().await?.is_empty());
    service.stop().await // asks it to stop and waits for its drain
}
