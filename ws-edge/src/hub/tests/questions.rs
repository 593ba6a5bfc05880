//! History against a model in memory: whatever is asked, the answer is what the list of messages says.

use super::*;
use crate::codes::error;
use crate::session::History;

/// Numbers without a pattern, the same ones every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn model(all: &[u64], question: &History) -> Vec<u64> {
    let kept = &all[all.len().saturating_sub(question.reach)..];
    let since = question.since.as_ref().map(|since| since.offset);
    let mut found: Vec<u64> = match (question.reverse, since) {
        (false, since) => {
            kept.iter().copied().filter(|at| since.is_none_or(|since| *at > since)).collect()
        }
        (true, since) => {
            kept.iter().rev().copied().filter(|at| since.is_none_or(|since| *at < since)).collect()
        }
    };
    found.truncate(question.limit);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn any_question_is_answered_as_the_whole_list_would() {
    let fixture = fixture(EdgeOptions::default()).await;
    let rooms = [key("t", "room:a"), key("t", "room:b"), key("t", "room:c")];
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    let mut numbers = Numbers(7);
    for number in 0..240 {
        // The last one stays empty for a while.
        let at = numbers.below(if number < 200 { 2 } else { 3 }) as usize;
        all[at].push(fixture.publish(&rooms[at], number).await);
        if number % 3 != 0 {
            continue;
        }
        let asked = numbers.below(3) as usize;
        let last = fixture.bus.position(CHANNELS).await.unwrap().last;
        let limit = [0, 1, 7, 100, 300][numbers.below(5) as usize];
        let since = match numbers.below(3) {
            0 => None,
            _ => Some(Since { offset: numbers.below(last + 3), epoch: String::new() }),
        };
        let question = History {
            command: 1,
            key: Arc::clone(&rooms[asked]),
            limit,
            since,
            reverse: numbers.below(2) == 0,
            reach: [3, 50, 1_000][numbers.below(3) as usize],
            age_seconds_max: 0,
        };
        let found = fixture.hub.history(&question).await.unwrap();
        let offsets: Vec<u64> = found.publications.iter().map(|one| one.offset).collect();
        assert_eq!(offsets, model(&all[asked], &question), "{question:?}");
        assert!(found.top >= all[asked].last().copied().unwrap_or(0));
    }
    let wrong = History {
        command: 1,
        key: Arc::clone(&rooms[0]),
        limit: 1,
        since: Some(Since { offset: 1, epoch: "other".to_owned() }),
        reverse: false,
        reach: 10,
        age_seconds_max: 0,
    };
    assert_eq!(fixture.hub.history(&wrong).await.err(), Some(error::UNRECOVERABLE_POSITION));
    // Messages that are too old for the namespace do not count.
    let young = History { since: None, limit: 300, age_seconds_max: 1, ..wrong };
    until(async || fixture.hub.history(&young).await.unwrap().publications.is_empty()).await;
    fixture.end().await;
}
