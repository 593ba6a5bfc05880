//! The catalogue of the notification platform: every message that its roles send or receive.
//! Reads: the contracts. Writes: nothing. Never: mentions a message that is not on a stream.

use campana_bus::contract::ContractEntry;
use campana_bus::{subjects, topology};

use super::{
    Channel, DELIVERY_TYPE, Delivery, INBOX_ARCHIVE_TYPE, INBOX_READ_TYPE, INBOX_SEEN_TYPE,
    INBOX_TYPE, INBOX_UNARCHIVE_TYPE, InboxMark, InboxMessage, NotificationRequest, OUTCOME_TYPE,
    Outcome, Priority,
};

const SERVICE: &str = "notify";
/// Where one sample of every version lies.
const SAMPLES: &str = "services/notify/src/contracts/samples";
/// The body of a stored request message: one or many requests.
const ENVELOPE: &str = "application/vnd.campana.envelope";

/// Channels whose deliveries wait for a worker; in-app messages are delivered when they are stored.
const WORKED: [Channel; 4] = [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Webhook];

/// What the roles say to each other, and to browsers through the edge.
#[must_use]
pub fn contracts() -> Vec<ContractEntry> {
    [request(), delivery(), outcome(), outcomes(), inbox(), mark()]
        .into_iter()
        .map(|entry| entry.samples_in(SAMPLES))
        .collect()
}

fn request() -> ContractEntry {
    let address = subjects::REQUEST_ADDRESS;
    ContractEntry::message::<NotificationRequest>(SERVICE, "request", 1, address)
        .stream(topology::REQUESTS)
        .summary(
            "A command: notify these people. Requests that arrive together share one stored message, a line \
             each: its id, optionally `;` and its trace context, a space, and this JSON.",
        )
        .typed(&[])
        .content_type(ENVELOPE)
        .parameter("priority", "How urgent.", &Priority::ALL.map(Priority::as_str))
        .sent_by("gateway")
        .received_by("dispatcher")
}

fn delivery() -> ContractEntry {
    let address = subjects::DELIVER_ADDRESS;
    let entry = ContractEntry::message::<Delivery>(SERVICE, "delivery", 1, address)
        .stream(topology::DELIVERIES)
        .summary("A command: send this message to this address.")
        .typed(&[DELIVERY_TYPE])
        .parameter("channel", "Over which channel.", &WORKED.map(Channel::as_str))
        .sent_by("dispatcher");
    workers().fold(entry, |entry, worker| entry.received_by(&worker))
}

fn outcome() -> ContractEntry {
    let address = subjects::OUTCOME_ADDRESS;
    let entry = ContractEntry::message::<Outcome>(SERVICE, "outcome", 1, address)
        .stream(topology::OUTCOMES)
        .summary("What became of a notification or of one of its deliveries.")
        .typed(&[OUTCOME_TYPE])
        .parameter("notification", "The notification's id.", &[])
        .sent_by("gateway")
        .received_by("recorder");
    workers().fold(entry, |entry, worker| entry.sent_by(&worker))
}

fn outcomes() -> ContractEntry {
    let address = subjects::OUTCOMES_ADDRESS;
    ContractEntry::message::<Outcome>(SERVICE, "outcomes", 1, address)
        .stream(topology::OUTCOMES)
        .summary(
            "What was planned for many notifications, in the form of an envelope: a line each, its id, `;` and its \
             trace context, a space, and this JSON.",
        )
        .typed(&[])
        .content_type(ENVELOPE)
        .sent_by("dispatcher")
        .received_by("recorder")
}

fn inbox() -> ContractEntry {
    let address = subjects::CHANNEL_ADDRESS;
    ContractEntry::message::<InboxMessage>(SERVICE, "inbox", 1, address)
        .stream(topology::CHANNELS)
        .summary(
            "What a person's browsers see. The server republishes it below `live.` with its sequence, where \
             the edge listens.",
        )
        .typed(&[INBOX_TYPE, INBOX_READ_TYPE])
        .parameter("namespace", "The channel's namespace.", &[subjects::INBOX_NAMESPACE])
        .parameter("channel", "`#` and the person's id, escaped: `=23alice`.", &[])
        .sent_by("dispatcher")
        .sent_by("gateway")
        .received_by("edge")
}

fn mark() -> ContractEntry {
    ContractEntry::message::<InboxMark>(SERVICE, "mark", 1, subjects::CHANNEL_ADDRESS)
        .stream(topology::CHANNELS)
        .summary(
            "What a person says of messages of their inbox: seen, archived, taken back. Beside the messages \
             themselves, so that all of the person's devices hear it.",
        )
        .typed(&[INBOX_SEEN_TYPE, INBOX_ARCHIVE_TYPE, INBOX_UNARCHIVE_TYPE])
        .parameter("namespace", "The channel's namespace.", &[subjects::INBOX_NAMESPACE])
        .parameter("channel", "`#` and the person's id, escaped: `=23alice`.", &[])
        .sent_by("gateway")
        .received_by("edge")
}

fn workers() -> impl Iterator<Item = String> {
    WORKED.into_iter().map(|channel| format!("channel-{}", channel.as_str()))
}
