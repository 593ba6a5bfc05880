//! What happens to the publications on one receiver's connection: passed on, dropped, doubled,
//! altered, held back. Which of them is hit follows from the seed and the number in the mark, not
//! from chance. It reads marks by itself: the reader that is on trial has no say in what is
//! injected. Pure; moments are nanoseconds that the caller gives.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::mark;

/// One in this many is hit.
pub const ONE_IN: u64 = 100;
/// The hits lie in the first part of each hundred: behind the last one there is traffic enough on
/// every connection to show it before the step ends.
const HITS_WITHIN: u64 = 40;
/// A publication without a successor is let go after this, in its order.
const SUCCESSOR_WITHIN_NS: u64 = 1_000_000_000;
const NOBODY: &str = "Somebody else's news";

/// What is done to publications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Harm {
    #[default]
    None,
    Drop,
    Double,
    Corrupt,
    /// Lets the next one pass first.
    Swap,
    /// Adds one that nobody sent.
    Invent,
    /// To all of them.
    Delay {
        ns: u64,
    },
}

/// What is done, and to which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub harm: Harm,
    pub seed: u64,
}

impl Plan {
    /// Whether this one is hit: one of each hundred.
    pub fn hits(self, slot: u64) -> bool {
        let hundred = slot / ONE_IN;
        slot % ONE_IN == mixed(self.seed ^ hundred.wrapping_mul(0x9e37_79b9)) % HITS_WITHIN
    }
}

/// SplitMix64's finaliser.
const fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a text on its way out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing of ours.
    Other,
    /// A publication as it came.
    Whole,
    Doubled,
    Corrupted,
    Swapped,
    Invented,
}

/// A text on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    pub text: String,
    pub what: What,
    /// Of a publication.
    pub slot: u64,
    pub came_ns: u64,
    due_ns: u64,
}

/// What came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Other,
    Publication { slot: u64 },
    Dropped { slot: u64 },
}

/// The way out of one connection; nothing overtakes on it unless it is made to.
#[derive(Debug, Default)]
pub struct Lane {
    queue: VecDeque<Out>,
    held: Option<Out>,
}

impl Lane {
    /// Takes one frame in.
    pub fn enter(&mut self, line: &str, now_ns: u64, plan: Plan) -> Came {
        let text = line.to_owned();
        let mut out = Out { text, what: What::Other, slot: 0, came_ns: now_ns, due_ns: now_ns };
        let Some((run, slot, mut frame)) = read(line) else {
            self.queue.push_back(out);
            return Came::Other;
        };
        (out.what, out.slot) = (What::Whole, slot);
        let hit = plan.hits(slot);
        let copy = |what, text| Out { text, what, ..out.clone() };
        let mut behind = None;
        match plan.harm {
            Harm::Delay { ns } => out.due_ns = now_ns.saturating_add(ns),
            Harm::Drop if hit => return Came::Dropped { slot },
            Harm::Double if hit => behind = Some(copy(What::Doubled, line.to_owned())),
            Harm::Invent if hit => behind = Some(copy(What::Invented, invent(run, slot, &frame))),
            Harm::Corrupt if hit => {
                spoil(slot, &mut frame);
                out = copy(What::Corrupted, frame.to_string());
            }
            Harm::Swap if hit && self.held.is_none() => {
                out.due_ns = now_ns.saturating_add(SUCCESSOR_WITHIN_NS);
                self.held = Some(out);
                return Came::Publication { slot };
            }
            _ => {}
        }
        self.queue.push_back(out);
        self.queue.extend(behind);
        if let Some(held) = self.held.take() {
            self.queue.push_back(Out { what: What::Swapped, due_ns: now_ns, ..held });
        }
        Came::Publication { slot }
    }

    /// The next text that is due.
    pub fn due(&mut self, now_ns: u64) -> Option<Out> {
        if let Some(held) = self.held.take_if(|held| held.due_ns <= now_ns) {
            self.queue.push_back(held);
        }
        self.queue.pop_front_if(|out| out.due_ns <= now_ns)
    }

    /// When something is due.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.queue.front().into_iter().chain(&self.held).map(|out| out.due_ns).min()
    }
}

/// Run, slot and frame of a publication of the load test.
fn read(line: &str) -> Option<(u32, u64, Value)> {
    let frame: Value = serde_json::from_str(line).ok()?;
    let title = frame.pointer("/push/pub/data/title")?.as_str()?;
    let (run, slot) = read_mark(title)?;
    Some((run, slot, frame))
}

/// Run and slot of a title.
fn read_mark(title: &str) -> Option<(u32, u64)> {
    let mut parts = title.strip_prefix("lt-")?.split('-');
    let run = u32::from_str_radix(parts.next()?, 16).ok()?;
    let slot = u64::from_str_radix(parts.next()?, 36).ok()?;
    Some((run, slot))
}

/// The slot of a request, if its title is in these bytes.
pub fn slot_of_request(bytes: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(bytes);
    let (_, title) = text.split_once("\"title\":\"")?;
    read_mark(title).map(|(_, slot)| slot)
}

/// One letter is another, or the end is missing, in turns.
fn spoil(slot: u64, frame: &mut Value) {
    let Some(Value::String(body)) = frame.pointer_mut("/push/pub/data/body") else { return };
    let mut letters: Vec<char> = body.chars().collect();
    if (slot / ONE_IN).is_multiple_of(2) {
        letters.truncate(letters.len() / 2);
    } else if let Some(letter) = letters.get_mut(3) {
        *letter = if *letter == 'x' { 'y' } else { 'x' };
    }
    *body = letters.into_iter().collect();
}

/// On the channel of a real one: somebody else's text, or in the run's own form but with a number
/// that was never given out, in turns.
fn invent(run: u32, slot: u64, frame: &Value) -> String {
    let content = if (slot / ONE_IN).is_multiple_of(2) {
        mark::Content { title: NOBODY.to_owned(), body: NOBODY.to_owned() }
    } else {
        mark::write(run, u64::MAX - slot, 128)
    };
    let data = json!({
        "type": "notification", "id": content.title, "notification_id": content.title,
        "title": content.title, "body": content.body,
    });
    json!({"push": {"channel": frame["push"]["channel"], "pub": {"data": data}}}).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: u32 = 0xabc;

    fn frame(slot: u64) -> String {
        let content = mark::write(RUN, slot, 200);
        json!({"push": {"channel": "inbox:#x", "pub": {"offset": slot, "data": {
            "title": content.title, "body": content.body,
        }}}})
        .to_string()
    }

    fn read_back(text: &str) -> mark::Read {
        let frame: Value = serde_json::from_str(text).unwrap();
        let data = &frame["push"]["pub"]["data"];
        mark::read(RUN, data["title"].as_str().unwrap(), data["body"].as_str().unwrap())
    }

    fn hit(plan: Plan, hundred: u64) -> u64 {
        (hundred * 100..hundred * 100 + 100).find(|slot| plan.hits(*slot)).unwrap()
    }

    fn all(lane: &mut Lane, now_ns: u64) -> Vec<Out> {
        std::iter::from_fn(|| lane.due(now_ns)).collect()
    }

    fn plan(harm: Harm) -> Plan {
        Plan { harm, seed: 5 }
    }

    #[test]
    fn each_harm_is_what_it_says() {
        for (harm, expected) in [
            (Harm::None, &[What::Whole][..]),
            (Harm::Drop, &[]),
            (Harm::Double, &[What::Whole, What::Doubled]),
            (Harm::Corrupt, &[What::Corrupted]),
            (Harm::Invent, &[What::Whole, What::Invented]),
        ] {
            for hundred in [4, 5] {
                let (mut lane, plan) = (Lane::default(), plan(harm));
                let slot = hit(plan, hundred);
                let came = lane.enter(&frame(slot), 7, plan);
                assert_eq!(came == Came::Dropped { slot }, harm == Harm::Drop);
                let out = all(&mut lane, 7);
                let what: Vec<What> = out.iter().map(|out| out.what).collect();
                assert_eq!(what, expected);
                for one in out {
                    let whole = mark::Read::Ours { slot, intact: true };
                    let found = read_back(&one.text);
                    match one.what {
                        What::Whole | What::Doubled => assert_eq!(found, whole),
                        What::Corrupted => {
                            assert_eq!(found, mark::Read::Ours { slot, intact: false });
                        }
                        _ => assert_ne!(found, whole),
                    }
                }
            }
        }
    }

    #[test]
    fn a_swapped_one_comes_after_its_successor_or_alone_in_its_order() {
        let (mut lane, plan) = (Lane::default(), plan(Harm::Swap));
        let slot = hit(plan, 1);
        lane.enter(&frame(slot), 0, plan);
        assert_eq!((lane.due(1), lane.next_due_ns()), (None, Some(SUCCESSOR_WITHIN_NS)));
        lane.enter(&frame(slot + 1), 2, plan);
        let what: Vec<What> = all(&mut lane, 2).iter().map(|out| out.what).collect();
        assert_eq!(what, [What::Whole, What::Swapped]);
        lane.enter(&frame(slot), 10, plan);
        let alone = all(&mut lane, 10 + SUCCESSOR_WITHIN_NS);
        assert_eq!((alone.len(), alone[0].what, lane.next_due_ns()), (1, What::Whole, None));
    }

    #[test]
    fn a_delay_keeps_the_order_and_other_frames_are_left_alone() {
        let (mut lane, plan) = (Lane::default(), plan(Harm::Delay { ns: 50 }));
        lane.enter(&frame(1), 0, plan);
        assert_eq!(lane.enter("{}", 10, plan), Came::Other);
        assert_eq!(lane.enter("not JSON", 11, plan), Came::Other);
        assert!(lane.due(49).is_none());
        let out = all(&mut lane, 50);
        assert_eq!((out.len(), out[1].text.as_str(), out[0].what), (3, "{}", What::Whole));
    }

    #[test]
    fn a_request_names_its_slot() {
        let post = |title: &str| format!("POST / HTTP/1.1\r\n\r\n{{\"title\":\"{title}\"}}");
        let title = mark::write(RUN, 98_765, 100).title;
        assert_eq!(slot_of_request(post(&title).as_bytes()), Some(98_765));
        assert_eq!(slot_of_request(post("hello").as_bytes()), None);
        assert_eq!(slot_of_request(&[0xff, 0x00]), None);
    }

    proptest! {
        #[test]
        fn exactly_one_of_each_hundred_is_hit(seed: u64, hundred in 0_u64..1_000_000) {
            let plan = Plan { harm: Harm::Drop, seed };
            let hits = (hundred * 100..hundred * 100 + 100).filter(|slot| plan.hits(*slot));
            prop_assert_eq!(hits.count(), 1);
        }

        #[test]
        fn nothing_gets_lost_that_was_not_dropped(seed: u64, slots in 1_u64..400) {
            for harm in [Harm::None, Harm::Double, Harm::Corrupt, Harm::Swap, Harm::Invent] {
                let (mut lane, plan) = (Lane::default(), Plan { harm, seed });
                let mut out = Vec::new();
                for slot in 0..slots {
                    lane.enter(&frame(slot), slot, plan);
                    out.extend(all(&mut lane, slot));
                }
                out.extend(all(&mut lane, u64::MAX));
                let added = [What::Doubled, What::Invented];
                let kept = out.iter().filter(|one| !added.contains(&one.what)).count();
                prop_assert_eq!(kept as u64, slots);
            }
        }
    }
}
