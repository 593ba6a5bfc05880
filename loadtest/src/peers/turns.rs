//! The order of the rounds. Pure.

use super::Kind;

/// Who is measured in which round: every peer once in each, and every second round backwards, so that a machine
/// that grows slower or faster meanwhile favours nobody.
pub fn turns(peers: &[Kind], rounds: u32) -> Vec<(u32, Kind)> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut order = peers.to_vec();
        if round % 2 == 1 {
            order.reverse();
        }
        all.extend(order.into_iter().map(|kind| (round, kind)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_interleaved_and_every_second_one_runs_backwards() {
        use Kind::{Django, Floor};
        let order = turns(&[Floor, Django], 3);
        assert_eq!(
            order,
            [(0, Floor), (0, Django), (1, Django), (1, Floor), (2, Floor), (2, Django)]
        );
        assert!(turns(&[], 5).is_empty());
    }
}
