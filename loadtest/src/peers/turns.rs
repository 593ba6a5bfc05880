//! The order of the rounds. Pure.

/// Who is measured in which round: everybody once in each, and every second round backwards (A B, B A), so that a
/// machine that grows slower or faster meanwhile favours nobody.
pub fn turns<T: Copy>(who: &[T], rounds: u32) -> Vec<(u32, T)> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut order = who.to_vec();
        if round % 2 == 1 {
            order.reverse();
        }
        all.extend(order.into_iter().map(|one| (round, one)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Kind;

    #[test]
    fn rounds_are_interleaved_and_every_second_one_runs_backwards() {
        use Kind::{Django, Floor};
        let order = turns(&[Floor, Django], 3);
        assert_eq!(
            order,
            [(0, Floor), (0, Django), (1, Django), (1, Floor), (2, Floor), (2, Django)]
        );
        assert!(turns::<Kind>(&[], 5).is_empty());
    }
}
