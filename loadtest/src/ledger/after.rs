//! What arrives for a step that has been judged already. It changes no figure by itself: whoever
//! writes the run may move what turned out otherwise, and tells it in any case. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settled::{Fate, Found, Settled};
use crate::intake::Channel;
use crate::model;

/// A receipt, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo {
    pub slot: u64,
    pub channel: Channel,
    pub recipient: u32,
    pub intact: bool,
}

/// Deliveries whose class turned out otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    pub delivered_to_duplicate: u64,
    pub delivered_to_corrupt: u64,
    pub late_to_duplicate: u64,
    pub late_to_corrupt: u64,
}

/// What arrived for one step after its end; its warm-up is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Afterwards {
    /// Judged lost (or unknown or refused), and received after all.
    pub arrived: u64,
    /// Received again or damaged, by channel.
    pub moved: BTreeMap<Channel, Moved>,
    /// Received by somebody to whom it was not sent.
    pub strangers: u64,
}

impl Afterwards {
    /// Adds what another generator saw.
    pub fn add(&mut self, other: &Self) {
        self.arrived = self.arrived.saturating_add(other.arrived);
        self.strangers = self.strangers.saturating_add(other.strangers);
        for (channel, moved) in &other.moved {
            let sum = self.moved.entry(*channel).or_default();
            let add = |into: &mut u64, more: u64| *into = into.saturating_add(more);
            add(&mut sum.delivered_to_duplicate, moved.delivered_to_duplicate);
            add(&mut sum.delivered_to_corrupt, moved.delivered_to_corrupt);
            add(&mut sum.late_to_duplicate, moved.late_to_duplicate);
            add(&mut sum.late_to_corrupt, moved.late_to_corrupt);
        }
    }

    /// Whether the step's figures stand as they were.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Moves the counts of a step that was filled from its book; what was lost stays lost, because
    /// it did not arrive while anybody waited for it.
    pub fn amend(&self, step: &mut model::Step) {
        step.classes.phantom += self.strangers;
        for (channel, moved) in &self.moved {
            moved.apply(&mut step.classes);
            if let Some(classes) = step.by_channel.get_mut(channel.name()) {
                moved.apply(classes);
            }
        }
    }
}

impl Moved {
    fn apply(&self, classes: &mut model::Classes) {
        // A merged or cut step may have fewer: a count never goes below nothing.
        let mut shift = |from: fn(&mut model::Classes) -> &mut u64,
                         to: fn(&mut model::Classes) -> &mut u64,
                         count: u64| {
            let count = count.min(*from(classes));
            *from(classes) -= count;
            *to(classes) += count;
        };
        shift(|c| &mut c.delivered, |c| &mut c.duplicate, self.delivered_to_duplicate);
        shift(|c| &mut c.delivered, |c| &mut c.corrupt, self.delivered_to_corrupt);
        shift(|c| &mut c.late, |c| &mut c.duplicate, self.late_to_duplicate);
        shift(|c| &mut c.late, |c| &mut c.corrupt, self.late_to_corrupt);
    }
}

/// All judged steps.
#[derive(Default)]
pub(super) struct After {
    steps: BTreeMap<u32, Afterwards>,
    /// Requests that were made or answered while no step was open.
    pub outside: u64,
}

impl After {
    /// Enters a receipt that no open slot explains; false if no judged step does, either.
    pub fn receipt(&mut self, seen: Echo, settled: &mut Settled) -> bool {
        match settled.find(seen.slot, seen.channel, seen.recipient) {
            Found::Unknown => return false,
            Found::Elsewhere { step } => self.steps.entry(step).or_default().strangers += 1,
            Found::Here(place, _) if settled.is_warm_up(place) => settled.set(place, Fate::Spoilt),
            Found::Here(place, fate) => {
                let after = self.steps.entry(place.step).or_default();
                let moved = after.moved.entry(seen.channel).or_default();
                match (fate, seen.intact) {
                    (Fate::Unseen, _) => after.arrived += 1,
                    (Fate::Delivered, true) => moved.delivered_to_duplicate += 1,
                    (Fate::Delivered, false) => moved.delivered_to_corrupt += 1,
                    (Fate::Late, true) => moved.late_to_duplicate += 1,
                    (Fate::Late, false) => moved.late_to_corrupt += 1,
                    (Fate::Spoilt, _) => {}
                }
                settled.set(place, Fate::Spoilt);
            }
        }
        true
    }

    /// What is known of a step.
    pub fn of(&self, number: u32) -> Afterwards {
        let mut after = self.steps.get(&number).cloned().unwrap_or_default();
        after.moved.retain(|_, moved| *moved != Moved::default());
        after
    }
}
