//! Order of receipts, by recipient and channel: how many later ones were read before this one.
//! Judged by the offsets that the platform gives, which may have holes. Pure.

use std::collections::{HashMap, VecDeque};

use crate::intake::Channel;

/// Offsets remembered for each recipient: the greatest depth that can be seen.
pub(super) const DEPTH_MAX: usize = 64;

/// The newest offsets of every recipient.
#[derive(Default)]
pub(super) struct Order {
    recent: HashMap<(Channel, u32), VecDeque<u64>>,
}

impl Order {
    /// Enters the first receipt of a delivery; 0 if it is in order, else how many places it is
    /// behind.
    pub fn enter(&mut self, channel: Channel, recipient: u32, offset: u64) -> u16 {
        let recent = self.recent.entry((channel, recipient)).or_default();
        let place = recent.partition_point(|known| *known < offset);
        let depth = recent.len() - place;
        // Two deliveries with one offset are no question of order.
        if recent.get(place) != Some(&offset) {
            recent.insert(place, offset);
            if recent.len() > DEPTH_MAX {
                recent.pop_front();
            }
        }
        u16::try_from(depth).unwrap_or(u16::MAX)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.recent.clear();
    }

    /// Bytes held.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.recent.values().map(|recent| recent.capacity() * 8 + 48).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_the_later_ones_that_came_first() {
        let mut order = Order::default();
        let depths = [11, 15, 19, 12, 20, 13].map(|offset| order.enter(Channel::InApp, 0, offset));
        assert_eq!(depths, [0, 0, 0, 2, 0, 3]);
        assert_eq!(order.enter(Channel::InApp, 1, 1), 0);
        assert_eq!(order.enter(Channel::Email, 0, 1), 0);
        for offset in 100..1_000 {
            assert_eq!(order.enter(Channel::InApp, 0, offset), 0);
        }
        assert_eq!(order.enter(Channel::InApp, 0, 1), DEPTH_MAX as u16);
    }
}
