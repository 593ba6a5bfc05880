//! Who asks alone, who is served by a walk through the stream, and what is found on it.

use campana_bus::HeaderMap;
use campana_bus::clock::Micros;

use super::*;

fn message(subject: &str, sequence: u64, bytes: usize) -> StoredMessage {
    StoredMessage {
        subject: subject.to_owned(),
        sequence,
        time: Micros::default(),
        headers: HeaderMap::new(),
        payload: vec![b'1'; bytes].into(),
    }
}

fn waiter(subject: &str, after: u64, limit: usize) -> (Waiter, oneshot::Receiver<Answer>) {
    let (answer, answered) = oneshot::channel();
    (Waiter { subject: subject.to_owned(), after, limit, answer }, answered)
}

fn swept(mut answered: oneshot::Receiver<Answer>) -> Option<Swept> {
    match answered.try_recv() {
        Ok(Answer::Swept(swept)) => Some(swept),
        _ => None,
    }
}

#[test]
fn a_walk_is_worth_it_for_many_whose_messages_lie_mixed_only() {
    let same = |count: usize, after: u64| std::iter::repeat_n(after, count);
    assert_eq!(worth(std::iter::empty(), 100), 0);
    assert_eq!(worth(same(20, 0), 100_000), 0);
    assert_eq!(worth(same(5_000, 0), 100_000), 5_000);
    assert_eq!(worth(same(3, 900), 1_000), 3);
    assert_eq!(worth(same(2, 0), 1_000), 0);
    // Who stands far behind is not waited for, unless it is cheap.
    assert_eq!(worth(same(150, 9_000).chain([8_000]), 10_000), 151);
    assert_eq!(worth(same(30, 9_000).chain([0]), 10_000), 30);
    assert_eq!(worth(same(10_000, 0), SWEPT_MAX + 1), 0);
    assert_eq!(worth([5].into_iter(), 5), 1);
}

#[test]
fn few_ask_alone_and_many_together() {
    let row = Row::default();
    let mut answers = Vec::new();
    let mut enter = |count: usize| {
        for number in 0..count {
            let (waiter, answered) = waiter(&format!("s{number}"), 0, 10);
            row.enter(waiter);
            answers.push(answered);
        }
    };
    enter(ALONE_MAX);
    for number in 0..ALONE_MAX {
        let turn = row.lock().next(100_000);
        assert!(matches!(turn, Some(Turn::Alone(one)) if one.subject == format!("s{number}")));
    }
    enter(20);
    // All who may ask alone do, and one walk is dearer than twenty questions.
    assert!(row.lock().next(100_000).is_none());
    enter(200);
    let turn = row.lock().next(100_000);
    assert!(matches!(&turn, Some(Turn::All(all)) if all.len() == 220));
    // Whoever comes now is next.
    enter(300);
    assert!(row.lock().next(100_000).is_none());
    row.lock().sweeping = false;
    drop(answers);
    // They did not wait for it.
    assert!(row.lock().next(100_000).is_none() && row.lock().waiting.is_empty());
}

#[test]
fn what_is_found_is_what_each_would_have_got_alone() {
    let all: Vec<StoredMessage> = (1..=60)
        .map(|sequence| message(["a", "b", "c"][sequence as usize % 3], sequence, 10))
        .collect();
    let asked =
        [("a", 0, 5), ("a", 30, 100), ("b", 0, 100), ("b", 59, 5), ("c", 57, 1), ("d", 0, 5)];
    let (waiters, answers): (Vec<_>, Vec<_>) =
        asked.iter().map(|(subject, after, limit)| waiter(subject, *after, *limit)).unzip();
    let mut wanted = Wanted::new(waiters);
    assert_eq!(wanted.from(), 0);
    assert!(wanted.has("d") && !wanted.has("e"));
    all.iter().for_each(|one| wanted.take(one.clone()));
    wanted.answer(60, true);
    for ((subject, after, limit), answered) in asked.into_iter().zip(answers) {
        let found = swept(answered).unwrap();
        assert!(found.still && found.upto == 60);
        let there: Vec<u64> = all
            .iter()
            .filter(|one| one.subject == subject && one.sequence > after)
            .map(|one| one.sequence)
            .collect();
        let got: Vec<u64> = found.page.messages.iter().map(|one| one.sequence).collect();
        assert_eq!(got, there[..there.len().min(limit)]);
        assert_eq!(found.page.pending, (there.len() - got.len()) as u64);
    }
}

#[test]
fn whose_messages_do_not_fit_gets_no_answer_instead_of_some() {
    let ((greedy, first), (modest, second)) = (waiter("a", 0, 100), waiter("b", 0, 100));
    let mut wanted = Wanted::new(vec![greedy, modest]);
    wanted.take(message("b", 1, 10));
    for sequence in 2..=4 {
        wanted.take(message("a", sequence, HELD_BYTES_MAX / 2));
    }
    assert!(!wanted.has("a"));
    assert_eq!(wanted.held_bytes, 11);
    wanted.take(message("b", 5, HELD_BYTES_MAX / 2));
    wanted.answer(5, false);
    assert!(swept(first).is_none());
    assert_eq!(swept(second).unwrap().page.messages.len(), 2);
}
