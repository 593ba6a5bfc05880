//! The catalogue of the edge: what it tells services on the bus.
//! Reads: the events. Writes: nothing. Never: mentions what edges only tell each other.

use campana_bus::contract::ContractEntry;

use crate::presence::events::{PresenceOffline, PresenceOnline, Seen};

/// Where one sample of every version lies.
const SAMPLES: &str = "ws-edge/src/contracts/samples";

/// The edge's events.
#[must_use]
pub fn contracts() -> Vec<ContractEntry> {
    let online = ContractEntry::event::<PresenceOnline>()
        .summary("A user came online, or came into a channel whose namespace has presence_events.");
    let offline = ContractEntry::event::<PresenceOffline>()
        .summary("A user went offline, or left a channel whose namespace has presence_events.");
    let seen = ContractEntry::event::<Seen>()
        .summary("A user acknowledged that a channel was seen up to an offset.");
    [online, offline, seen]
        .into_iter()
        .map(|entry| entry.sent_by("edge").samples_in(SAMPLES))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_version_1_are_read() {
        let online: PresenceOnline =
            serde_json::from_str(include_str!("contracts/samples/presence_online.v1.json"))
                .unwrap();
        assert_eq!((online.user.as_str(), online.channel.as_deref()), ("alice", Some("room:1")));
        let offline: PresenceOffline =
            serde_json::from_str(include_str!("contracts/samples/presence_offline.v1.json"))
                .unwrap();
        assert_eq!((offline.session, offline.channel), (online.session, None));
        let seen: Seen =
            serde_json::from_str(include_str!("contracts/samples/seen.v1.json")).unwrap();
        assert_eq!((seen.offset, seen.after), (17, 12));
    }
}
