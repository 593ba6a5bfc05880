//! The life of one accepted text message as a list of timed events. Pure.
//!
//! The status moves at its own times whatever happens to the callbacks: a lost or late callback
//! must not change what a later GET shows.

use std::time::Duration;

use crate::faults::CallbackFault;
use crate::mailbox::Channel;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The message has this status from now on.
    Move {
        status: &'static str,
        error_code: Option<u32>,
    },
    Call {
        status: &'static str,
        error_code: Option<u32>,
    },
    /// A callback that a fault swallowed: noted for the page.
    Lose {
        status: &'static str,
    },
}

/// The events with the time since acceptance, in order.
pub fn plan(
    channel: Channel,
    step: Duration,
    outcome: Option<u32>,
    fault: &CallbackFault,
) -> Vec<(Duration, Event)> {
    let statuses: Vec<(&'static str, Option<u32>)> = match (outcome, channel) {
        (Some(code), _) => vec![("queued", None), ("sent", None), ("undelivered", Some(code))],
        (None, Channel::Whatsapp) => {
            vec![("queued", None), ("sent", None), ("delivered", None), ("read", None)]
        }
        (None, _) => vec![("queued", None), ("sent", None), ("delivered", None)],
    };
    let at = |index: usize| step.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
    let last = statuses.len() - 1;
    let mut events = Vec::new();
    for (index, (status, error_code)) in statuses.into_iter().enumerate() {
        events.push((at(index), Event::Move { status, error_code }));
        let turn = if fault.reordered { at(2 * last - index) } else { at(index) };
        let lost = fault
            .lost
            .as_ref()
            .is_some_and(|only| only.is_empty() || only.iter().any(|name| name == status));
        if lost {
            events.push((turn, Event::Lose { status }));
            continue;
        }
        for _ in 0..fault.copies.max(1) {
            events.push((turn + fault.late, Event::Call { status, error_code }));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    fn calls(channel: Channel, outcome: Option<u32>, fault: &CallbackFault) -> Vec<String> {
        let events = plan(channel, STEP, outcome, fault);
        let mut shown = Vec::new();
        for (at, event) in events {
            match event {
                Event::Call { status, error_code } => {
                    let code = error_code.map_or(String::new(), |code| format!(" {code}"));
                    shown.push(format!("{}ms {status}{code}", at.as_millis()));
                }
                Event::Lose { status } => shown.push(format!("lost {status}")),
                Event::Move { .. } => {}
            }
        }
        shown
    }

    #[test]
    fn without_faults_each_status_is_told_once_in_order() {
        let none = CallbackFault::default();
        let sms = calls(Channel::Sms, None, &none);
        assert_eq!(sms, ["0ms queued", "10ms sent", "20ms delivered"]);
        let whatsapp = calls(Channel::Whatsapp, None, &none);
        assert_eq!(whatsapp, ["0ms queued", "10ms sent", "20ms delivered", "30ms read"]);
        let failed = calls(Channel::Sms, Some(30_003), &none);
        assert_eq!(failed, ["0ms queued", "10ms sent", "20ms undelivered 30003"]);
    }

    #[test]
    fn faults_lose_double_reorder_and_delay() {
        let with = |fault| calls(Channel::Sms, None, &fault);
        let lost = Some(vec!["sent".to_owned()]);
        let one = with(CallbackFault { lost, ..CallbackFault::default() });
        assert_eq!(one, ["0ms queued", "lost sent", "20ms delivered"]);
        let all = with(CallbackFault { lost: Some(Vec::new()), ..CallbackFault::default() });
        assert_eq!(all, ["lost queued", "lost sent", "lost delivered"]);
        let twice = with(CallbackFault { copies: 2, ..CallbackFault::default() });
        assert_eq!(twice.len(), 6);
        let reordered = with(CallbackFault { reordered: true, ..CallbackFault::default() });
        assert_eq!(reordered, ["20ms delivered", "30ms sent", "40ms queued"]);
        let late = with(CallbackFault { late: STEP * 5, ..CallbackFault::default() });
        assert_eq!(late, ["50ms queued", "60ms sent", "70ms delivered"]);
    }

    #[test]
    fn a_status_is_never_told_before_it_holds() {
        let reordered = CallbackFault { reordered: true, copies: 3, ..CallbackFault::default() };
        let mut reached = Vec::new();
        for (_, event) in plan(Channel::Whatsapp, STEP, None, &reordered) {
            match event {
                Event::Move { status, .. } => reached.push(status),
                Event::Call { status, .. } => assert!(reached.contains(&status), "{status}"),
                Event::Lose { .. } => {}
            }
        }
    }
}
