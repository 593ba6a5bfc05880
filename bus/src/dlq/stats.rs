//! How many dead letters there are, of whom, of which class, and since when.
//! Reads: the `DLQ` stream, a few pages at a time. Writes: gauges. Never: reads everything at once, gives a
//! metric more than [`GROUPS_MAX`] label sets.
//!
//! The class of a letter stands in its headers, so letters have to be read to be counted by class. A scan walks
//! through the stream at most [`PAGES`] pages a tick; when it reaches the end its counts are published and, if
//! the stream has changed since, the next scan begins. Up to about a thousand letters the gauges are as fresh
//! as the tick; a larger pile takes more ticks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::filter::PAGE;
use super::letter::view;
use crate::clock::Micros;
use crate::connect::Bus;
use crate::fetch::{FetchError, StreamPosition};
use crate::lifecycle::Lifecycle;
use crate::topology::DLQ;
use crate::{subjects, telemetry};

/// Pages read in one tick.
const PAGES: usize = 4;
/// Groups with labels of their own; the rest is one group.
const GROUPS_MAX: usize = 200;
/// What the labels of the rest say.
const OTHER: &str = "other";

type Group = (String, String, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pile {
    count: u64,
    oldest: Micros,
}

/// The class as a label: one of a fixed few.
pub(super) fn known_class(class: &str) -> &'static str {
    ["permanent", "max_deliver", "poison", "expired", "stranded"]
        .into_iter()
        .find(|known| *known == class)
        .unwrap_or(OTHER)
}

fn add(piles: &mut BTreeMap<Group, Pile>, group: Group, at: Micros) {
    let full = piles.len() >= GROUPS_MAX && !piles.contains_key(&group);
    let group = if full { (OTHER.to_owned(), OTHER.to_owned(), OTHER) } else { group };
    let pile = piles.entry(group).or_insert(Pile { count: 0, oldest: at });
    pile.count += 1;
    pile.oldest = pile.oldest.min(at);
}

/// A scan under way, and what the last one found.
#[derive(Debug, Default)]
struct Scan {
    after: u64,
    piles: BTreeMap<Group, Pile>,
    /// How the stream looked when this scan began.
    began: Option<StreamPosition>,
    /// How it looked when the published scan began.
    published_of: Option<StreamPosition>,
    published: BTreeMap<Group, Pile>,
}

impl Scan {
    async fn tick(&mut self, bus: &Bus) -> Result<(), FetchError> {
        if self.began.is_none() {
            let now = bus.position(DLQ).await?;
            if self.published_of.as_ref() == Some(&now) {
                return Ok(());
            }
            self.began = Some(now);
        }
        let subject = subjects::dead_letter_filter(None, None);
        for _ in 0..PAGES {
            let page = bus.fetch_after(DLQ, &subject, self.after, PAGE).await?;
            for message in &page.messages {
                self.after = message.sequence;
                let letter = view(message);
                let class = known_class(&letter.class);
                add(&mut self.piles, (letter.stream, letter.consumer, class), message.time);
            }
            if page.pending == 0 {
                self.publish();
                break;
            }
        }
        Ok(())
    }

    fn publish(&mut self) {
        let piles = std::mem::take(&mut self.piles);
        for (stream, consumer, class) in self.published.keys() {
            if !piles.contains_key(&(stream.clone(), consumer.clone(), class)) {
                telemetry::dlq_pile(stream, consumer, class, 0, 0.0);
            }
        }
        for ((stream, consumer, class), pile) in &piles {
            telemetry::dlq_pile(stream, consumer, class, pile.count, pile.oldest.0 as f64 / 1e6);
        }
        self.published = piles;
        self.published_of = self.began.take();
        self.after = 0;
    }
}

/// Keeps the gauges current until the soft stop.
pub(super) async fn run(bus: &Bus, every: Duration, lifecycle: Lifecycle) {
    let mut scan = Scan::default();
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lifecycle.soft.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = scan.tick(bus).await {
            tracing::debug!("dead letters could not be counted: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piles_are_counted_by_group_and_their_number_is_bounded() {
        let mut piles = BTreeMap::new();
        for n in 0..GROUPS_MAX + 50 {
            let group = ("S".to_owned(), format!("c{n}"), "poison");
            add(&mut piles, group.clone(), Micros(100));
            add(&mut piles, group, Micros(50));
        }
        assert_eq!(piles.len(), GROUPS_MAX + 1);
        let rest = piles[&(OTHER.to_owned(), OTHER.to_owned(), OTHER)];
        assert_eq!(rest, Pile { count: 100, oldest: Micros(50) });
    }

    #[test]
    fn classes_are_a_fixed_few() {
        assert_eq!(known_class("poison"), "poison");
        assert_eq!(known_class("x-alice@example.com"), OTHER);
    }
}
