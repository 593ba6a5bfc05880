//! Whether a user is online, as one record for all nodes: what it says, and how it changes.
//! Reads: a record. Writes: the next one, and what is to be told. Never: does I/O.
//!
//! The record lists the nodes where the user is. The node whose compare-and-set takes the last one out makes the user
//! go offline, and no other can: so there is one event. The record then says that it still has to be told, until it was;
//! whoever finds it in that state tells it, under the same id.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Who is online and where.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// Changes each time the user comes online; names its events.
    #[serde(rename = "s")]
    pub(super) session: String,
    /// Empty while the offline event has not been told yet.
    #[serde(rename = "n", default)]
    pub(super) nodes: Vec<String>,
    /// The node that took out the last one.
    #[serde(rename = "b", default, skip_serializing_if = "String::is_empty")]
    pub(super) by: String,
    /// JSON about the client that came first, for those who are told that it left.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub(super) info: Option<Box<RawValue>>,
}

/// What is to be done next, and whether the record must be looked at again afterwards.
#[derive(Debug)]
pub(super) enum Step {
    /// It is as it should be.
    Done,
    /// Write this; then it is as it should be.
    Write(Record),
    /// Write this, then tell that the user is online.
    Online(Record),
    /// Write this, then tell that the user is offline, then remove the record.
    Offline(Record),
    /// Tell that the user is offline, remove the record, and look again.
    Finish(Record),
}

/// A user is at this node from now on. `session` is a fresh id, used if the user was not online.
pub(super) fn come(
    found: Option<Record>,
    node: &str,
    session: &str,
    info: Option<Box<RawValue>>,
) -> Step {
    match found {
        Some(record) if record.nodes.iter().any(|one| one == node) => Step::Done,
        Some(mut record) if !record.nodes.is_empty() => {
            record.nodes.push(node.to_owned());
            Step::Write(record)
        }
        Some(record) => Step::Finish(record),
        None => Step::Online(Record {
            session: session.to_owned(),
            nodes: vec![node.to_owned()],
            by: String::new(),
            info,
        }),
    }
}

/// A user is no longer at this node, says `by`.
pub(super) fn go(found: Option<Record>, node: &str, by: &str) -> Step {
    let Some(mut record) = found else {
        return Step::Done;
    };
    if record.nodes.is_empty() {
        return Step::Finish(record);
    }
    let before = record.nodes.len();
    record.nodes.retain(|one| one != node);
    if record.nodes.len() == before {
        Step::Done
    } else if record.nodes.is_empty() {
        record.by = by.to_owned();
        Step::Offline(record)
    } else {
        Step::Write(record)
    }
}

/// Whether a node that is gone left something to do here.
pub(super) fn concerns(record: &Record, node: &str) -> bool {
    match record.nodes.as_slice() {
        [] => record.by == node,
        nodes => nodes.iter().any(|one| one == node),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The stored record and what was told, with steps that are cut off in the middle.
    #[derive(Default)]
    struct World {
        record: Option<Record>,
        told: Vec<(String, bool)>,
        sessions: u32,
    }

    impl World {
        fn tell(&mut self, session: &str, online: bool) {
            let event = (session.to_owned(), online);
            // The stream stores an id once.
            if !self.told.contains(&event) {
                self.told.push(event);
            }
        }

        /// `crash` after so many of the step's actions.
        fn run(&mut self, step: Step, mut crash: u32) -> bool {
            let mut go_on = || {
                crash = crash.saturating_sub(1);
                crash > 0
            };
            match step {
                Step::Done => {}
                Step::Write(record) => self.record = Some(record),
                Step::Online(record) => {
                    let session = record.session.clone();
                    self.record = Some(record);
                    self.tell(&session, true);
                }
                Step::Offline(record) => {
                    let session = record.session.clone();
                    self.record = Some(record);
                    if go_on() {
                        self.tell(&session, false);
                        if go_on() {
                            self.record = None;
                        }
                    }
                }
                Step::Finish(record) => {
                    self.tell(&record.session, false);
                    if go_on() {
                        self.record = None;
                        return true;
                    }
                }
            }
            false
        }

        fn come(&mut self, node: &str) {
            self.sessions += 1;
            let session = self.sessions.to_string();
            loop {
                let step = come(self.record.clone(), node, &session, None);
                if !self.run(step, u32::MAX) {
                    return;
                }
            }
        }

        fn go(&mut self, node: &str, crash: u32) {
            let step = go(self.record.clone(), node, node);
            self.run(step, crash);
        }

        fn sweep(&mut self, node: &str) {
            if self.record.as_ref().is_some_and(|record| concerns(record, node)) {
                let step = go(self.record.clone(), node, "sweeper");
                self.run(step, u32::MAX);
            }
        }
    }

    proptest! {
        #[test]
        fn online_and_offline_alternate_whoever_crashes_when(
            steps in proptest::collection::vec((0_u8..3, 0_u8..3, 1_u32..4), 1..60),
        ) {
            let mut world = World::default();
            let mut at: Vec<u8> = Vec::new();
            for (what, node, crash) in steps {
                let name = node.to_string();
                match what {
                    0 => {
                        world.come(&name);
                        if !at.contains(&node) {
                            at.push(node);
                        }
                    }
                    1 => {
                        world.go(&name, u32::MAX);
                        at.retain(|one| *one != node);
                    }
                    // Dies in the middle of it, and somebody tidies up.
                    _ => {
                        world.go(&name, crash);
                        world.sweep(&name);
                        at.retain(|one| *one != node);
                    }
                }
                let online = world.record.as_ref().is_some_and(|one| !one.nodes.is_empty());
                prop_assert_eq!(online, !at.is_empty());
                let told_online = world.told.last().is_some_and(|(_, online)| *online);
                prop_assert_eq!(told_online, online);
                for (index, (session, online)) in world.told.iter().enumerate() {
                    prop_assert_eq!(*online, index % 2 == 0);
                    if index % 2 == 1 {
                        prop_assert_eq!(session, &world.told[index - 1].0);
                    }
                }
            }
        }
    }
}
