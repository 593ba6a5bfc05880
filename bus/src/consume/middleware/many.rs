//! Layers around messages that are handled together.
//! Reads and writes: as [`super`]. Never: hands a message over that a layer answered itself.
//!
//! Every message passes the layers on its own. Inside them it waits until each of the others has come as
//! far, or has been answered; then those that came are handled together, and every one takes its result
//! back out through its layers.

use std::future::Future;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::{Delivery, Layers};
use crate::consume::Failure;

/// The result of one message among several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::consume) struct Outcome {
    /// What came out of the layers.
    pub result: Result<(), Failure>,
    /// Whether it was handled with others, which may be to blame.
    pub together: bool,
}

/// A message inside the layers, and where its result goes.
struct Inside {
    index: usize,
    delivery: Delivery,
    answer: oneshot::Sender<Result<(), Failure>>,
}

impl Layers {
    /// Runs the layers around each of the deliveries and `work` once for all that come through, given with
    /// their places among all. The outcomes are in the order of the deliveries.
    pub(in crate::consume) async fn around_many<R>(
        &self,
        deliveries: Vec<Delivery>,
        work: impl FnOnce(Vec<(usize, Delivery)>) -> R,
    ) -> Vec<Outcome>
    where
        R: Future<Output = Vec<Result<(), Failure>>>,
    {
        let count = deliveries.len();
        let all = deliveries.into_iter().enumerate();
        if self.is_empty() {
            let mut results = work(all.collect()).await.into_iter();
            return (0..count)
                .map(|_| Outcome {
                    result: results.next().unwrap_or_else(missing),
                    together: count > 1,
                })
                .collect();
        }
        let (reached, mut arrivals) = mpsc::channel::<Inside>(count.max(1));
        let mut chains: FuturesUnordered<_> = all
            .map(|(index, delivery)| {
                let reached = reached.clone();
                async move { (index, self.until_inside(index, delivery, reached).await) }
            })
            .collect();
        let mut results: Vec<Option<Result<(), Failure>>> = vec![None; count];
        let mut inside: Vec<Option<Inside>> = (0..count).map(|_| None).collect();
        while (0..count).any(|index| results[index].is_none() && inside[index].is_none()) {
            tokio::select! {
                Some((index, result)) = chains.next() => results[index] = Some(result),
                Some(arrival) = arrivals.recv() => {
                    let index = arrival.index;
                    inside[index] = Some(arrival);
                }
            }
        }
        // Whom a layer answered while it waited for the others is not handled.
        let inside: Vec<Inside> =
            inside.into_iter().flatten().filter(|inside| results[inside.index].is_none()).collect();
        let together = inside.len() > 1;
        let handed_over: Vec<usize> = inside.iter().map(|inside| inside.index).collect();
        let outward = async {
            while let Some((index, result)) = chains.next().await {
                results[index] = Some(result);
            }
        };
        tokio::join!(hand_over(inside, work), outward);
        results
            .into_iter()
            .enumerate()
            .map(|(index, result)| Outcome {
                result: result.unwrap_or_else(missing),
                together: together && handed_over.contains(&index),
            })
            .collect()
    }

    async fn until_inside(
        &self,
        index: usize,
        delivery: Delivery,
        reached: mpsc::Sender<Inside>,
    ) -> Result<(), Failure> {
        self.around(delivery, |delivery| {
            let reached = reached.clone();
            async move {
                let (answer, result) = oneshot::channel();
                // There is room for every message, so this never waits.
                if reached.send(Inside { index, delivery, answer }).await.is_err() {
                    return missing();
                }
                result.await.unwrap_or_else(|_| missing())
            }
        })
        .await
    }
}

async fn hand_over<R>(inside: Vec<Inside>, work: impl FnOnce(Vec<(usize, Delivery)>) -> R)
where
    R: Future<Output = Vec<Result<(), Failure>>>,
{
    if inside.is_empty() {
        return;
    }
    let (given, answers): (Vec<_>, Vec<_>) =
        inside.into_iter().map(|one| ((one.index, one.delivery), one.answer)).unzip();
    let mut results = work(given).await.into_iter();
    for answer in answers {
        let _ = answer.send(results.next().unwrap_or_else(missing));
    }
}

/// A handler that answered too few results: the rest is tried again.
fn missing() -> Result<(), Failure> {
    Err(Failure::retry("the handler gave no result for this message"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::clock::Micros;
    use crate::consume::{Meta, Middleware, Next, Timeout};

    fn delivery(body: &str) -> Delivery {
        let meta = Meta {
            stream: Arc::from("S"),
            consumer: Arc::from("c"),
            sequence: 1,
            subject: "app.default.shop.order".to_owned(),
            attempt: 1,
            is_last: false,
            redelivered: false,
            redrives: 0,
            message_id: None,
            trace: None,
            published_at: Micros(1),
            headers: std::sync::Arc::new(crate::HeaderMap::new()),
        };
        Delivery { payload: Bytes::copy_from_slice(body.as_bytes()), meta }
    }

    /// Answers "no" itself, is late with "slow", gives "hasty" a second, and doubles the others.
    struct Picky;

    impl Middleware for Picky {
        async fn handle(&self, mut delivery: Delivery, next: Next<'_>) -> Result<(), Failure> {
            match &delivery.payload[..] {
                b"no" => Err(Failure::dead("refused", "no")),
                b"slow" => {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    next.run(delivery).await
                }
                b"hasty" => Timeout(Duration::from_secs(1)).handle(delivery, next).await,
                body => {
                    delivery.payload = [body, body].concat().into();
                    next.run(delivery).await
                }
            }
        }
    }

    fn texts(given: &[(usize, Delivery)]) -> Vec<(usize, String)> {
        given
            .iter()
            .map(|(at, one)| (*at, String::from_utf8_lossy(&one.payload).into_owned()))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn each_passes_the_layers_and_those_that_come_through_are_handled_together() {
        let layers = Layers::new().and(Picky);
        let all = ["hasty", "no", "slow"].map(delivery).to_vec();
        let outcomes = layers
            .around_many(all, |given| async move {
                // The hasty one had to wait for the slow one, and went.
                assert_eq!(texts(&given), [(2, "slow".to_owned())]);
                vec![Err(Failure::retry("down"))]
            })
            .await;
        assert!(outcomes.iter().all(|outcome| outcome.result.is_err() && !outcome.together));

        let all = ["a", "no", "b"].map(delivery).to_vec();
        let outcomes = layers
            .around_many(all, |given| async move {
                assert_eq!(texts(&given), [(0, "aa".to_owned()), (2, "bb".to_owned())]);
                vec![Ok(()), Err(Failure::retry("down"))]
            })
            .await;
        let results: Vec<_> =
            outcomes.iter().map(|one| (one.result.is_ok(), one.together)).collect();
        assert_eq!(results, [(true, true), (false, false), (false, true)]);
    }

    #[tokio::test]
    async fn without_layers_missing_results_are_retries() {
        let outcomes = Layers::new()
            .around_many(["a", "b"].map(delivery).to_vec(), |_| async { vec![Ok(())] })
            .await;
        assert_eq!(outcomes[0].result, Ok(()));
        assert!(matches!(outcomes[1].result, Err(Failure::Retry { .. })));
    }
}
