//! The door: what is refused, in which order, and that nothing that is gone is counted.

use proptest::prelude::*;

use super::*;
use crate::options::LimitOptions;

fn limits(connections_max: usize, limits: LimitOptions) -> Limits {
    let options = EdgeOptions { connections_max, limits, ..EdgeOptions::default() };
    Limits::new(&options, 0).unwrap()
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn refusal(result: Result<Admission, Refused>) -> (&'static str, u16) {
    let refused = result.unwrap_err();
    assert!(refused.retry_seconds >= 1);
    match refused.reason {
        Reason::Limit(limit) => (limit, refused.status.as_u16()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_node_a_full_address_and_a_storm_are_told_apart() {
    let chosen = LimitOptions {
        connections_per_address_max: 2,
        accepts_per_second: 1,
        accepts_burst: 4,
        ..LimitOptions::default()
    };
    let node = limits(4, chosen);
    let mut open = vec![node.admit(ip(1), 0).unwrap(), node.admit(ip(1), 0).unwrap()];
    // What this address tries in vain takes nothing from the others' tokens.
    for _ in 0..10 {
        assert_eq!(refusal(node.admit(ip(1), 0)), ("address_connections", 429));
    }
    open.push(node.admit(ip(2), 0).unwrap());
    open.push(node.admit(ip(3), 0).unwrap());
    assert_eq!(refusal(node.admit(ip(4), 0)), ("connections", 503));
    open.pop();
    assert_eq!(refusal(node.admit(ip(4), 0)), ("accept_rate", 503));
    open.push(node.admit(ip(4), 1_000).unwrap());
    drop(open);
    assert_eq!(node.door.connections.load(Ordering::Relaxed), 0);
    assert!(node.door.addresses.is_empty());
}

#[test]
fn addresses_of_one_ipv6_network_share_their_limit() {
    let chosen = LimitOptions { connections_per_address_max: 1, ..LimitOptions::default() };
    let node = limits(10, chosen);
    let _open = node.admit("2001:db8::1".parse().unwrap(), 0).unwrap();
    let neighbour = "2001:db8::ffff:1".parse().unwrap();
    assert_eq!(refusal(node.admit(neighbour, 0)).0, "address_connections");
    assert!(node.admit("2001:db8:0:1::1".parse().unwrap(), 0).is_ok());
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Open { ip: u8, user: u8 },
    Close(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u8..4, 0_u8..4).prop_map(|(ip, user)| Step::Open { ip, user }),
        2 => (0_usize..64).prop_map(Step::Close),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Connections come, are refused at any stage, and go in any order: the counts are those of a plain list,
    /// and in the end nothing is left.
    #[test]
    fn nothing_leaks(steps in steps(), per_address in 0_usize..4, per_user in 0_usize..4) {
        let chosen = LimitOptions {
            connections_per_address_max: per_address,
            connections_per_user_max: per_user,
            ..LimitOptions::default()
        };
        let node = limits(12, chosen);
        let mut open: Vec<(u8, u8, Admission, Option<Seat>)> = Vec::new();
        for step in steps {
            match step {
                Step::Open { ip: last, user } => {
                    let of_address = open.iter().filter(|(at, ..)| *at == last).count();
                    let full = open.len() >= 12 || (per_address > 0 && of_address >= per_address);
                    let admitted = node.admit(ip(last), 0);
                    prop_assert_eq!(admitted.is_err(), full);
                    let Ok(admission) = admitted else { continue };
                    let of_user = open.iter().filter(|(_, one, ..)| *one == user).count();
                    let seat = node.enter_user("t", &format!("u{user}"), 0);
                    prop_assert_eq!(seat.is_err(), per_user > 0 && of_user >= per_user);
                    if let Ok(seat) = seat {
                        open.push((last, user, admission, seat));
                    }
                }
                Step::Close(at) if !open.is_empty() => drop(open.swap_remove(at % open.len())),
                Step::Close(_) => {}
            }
            prop_assert_eq!(node.door.connections.load(Ordering::Relaxed), open.len());
            prop_assert_eq!(node.users.connections(), open.len());
        }
        drop(open);
        prop_assert_eq!(node.door.connections.load(Ordering::Relaxed), 0);
        prop_assert!(node.door.addresses.is_empty() && node.users.is_empty());
    }
}
