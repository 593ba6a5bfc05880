//! Where a worker can die: the steps of handling and settling a message, seen from the wire.
//! Reads: operations. Writes: nothing. Never: asks the worker; what counts is what the server was told.

use super::wire::Op;

/// Something that a worker says to the server, or hears from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes sure that its consumer exists.
    CreateConsumer,
    /// Asks for messages.
    Pull,
    /// Is given a message.
    Delivered,
    /// The handler starts; nothing is done yet.
    HandlerStarts,
    /// The handler did its work; nothing is settled yet.
    HandlerDone,
    /// Says that it is still at work.
    Heartbeat,
    /// Acknowledges.
    Ack,
    /// Gives back with a delay.
    Nak,
    /// Gives up for good.
    Term,
    /// Publishes a copy that comes back later.
    Delay,
    /// Publishes a dead letter.
    Park,
}

/// When, seen from the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The other side never hears of it.
    Before,
    /// The other side has it; an answer, if there is one, is not heard any more.
    After,
    /// The answer has been heard.
    Answered,
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// At which step.
    pub step: Step,
    /// Before or after it.
    pub moment: Moment,
}

/// Every kill that makes a difference.
#[must_use]
pub fn every_kill() -> Vec<Kill> {
    use Moment::{After, Answered, Before};
    let moments: [(Step, &[Moment]); 11] = [
        (Step::CreateConsumer, &[Before, After]),
        (Step::Pull, &[Before, After]),
        (Step::Delivered, &[Before]),
        // The worker waits for an answer in both, so that it stands still exactly there.
        (Step::HandlerStarts, &[Before]),
        (Step::HandlerDone, &[Before]),
        (Step::Heartbeat, &[Before, After]),
        (Step::Ack, &[Before, After]),
        (Step::Nak, &[Before, After]),
        (Step::Term, &[Before, After]),
        (Step::Delay, &[Before, After, Answered]),
        (Step::Park, &[Before, After, Answered]),
    ];
    moments
        .into_iter()
        .flat_map(|(step, moments)| moments.iter().map(move |&moment| Kill { step, moment }))
        .collect()
}

/// Which step a worker's operation is.
#[must_use]
pub fn sent(op: &Op) -> Option<Step> {
    let subject = op.subject.as_str();
    if subject.starts_with("$JS.ACK.") {
        let answer = &op.payload[..];
        return match () {
            () if answer.is_empty() || answer.starts_with(b"+ACK") => Some(Step::Ack),
            () if answer.starts_with(b"-NAK") => Some(Step::Nak),
            () if answer.starts_with(b"+TERM") => Some(Step::Term),
            () if answer.starts_with(b"+WPI") => Some(Step::Heartbeat),
            () => None,
        };
    }
    let known = [
        ("$JS.API.CONSUMER.CREATE.", Step::CreateConsumer),
        ("$JS.API.CONSUMER.DURABLE.CREATE.", Step::CreateConsumer),
        ("$JS.API.CONSUMER.MSG.NEXT.", Step::Pull),
        ("_delay.", Step::Delay),
        ("dlq.", Step::Park),
        (super::HANDLER_STARTS, Step::HandlerStarts),
        (super::HANDLER_DONE, Step::HandlerDone),
    ];
    known.into_iter().find(|(prefix, _)| subject.starts_with(prefix)).map(|(_, step)| step)
}

/// Whether the server answers this step.
#[must_use]
pub fn is_answered(step: Step) -> bool {
    matches!(step, Step::CreateConsumer | Step::Delay | Step::Park)
}
