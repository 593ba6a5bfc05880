//! Receipts: one short line for everything that arrived, for programs that measure.
//!
//! A ring of its own beside the mailbox: many more, much smaller, and nobody searches it. A receipt
//! is kept as the JSON that the feed sends, so keeping one is a push under a short lock and reading
//! many is copying pointers. A reader that is too slow is told how many it missed.

mod feed;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use campana_bus::stamps::Stamps;
use serde::Serialize;
use tokio::sync::Notify;

pub use feed::router;

use crate::mailbox::Channel;
use crate::stamp::Stamp;

/// Octets of a text that a receipt has; a longer one is cut and says so.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Octets of one page of the feed; at least one receipt is on it.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a receipt costs besides its text.
const OVERHEAD_BYTES: usize = 48;

/// What is told of one message to one recipient.
#[derive(Debug, Clone, Copy)]
pub struct Receipt<'a> {
    pub channel: Channel,
    pub received: Stamp,
    pub recipient: &'a str,
    /// The subject, the first line of a text message, or the title in a webhook's body.
    pub title: &'a str,
    /// The rest of what the recipient reads.
    pub body: &'a str,
    /// The header `Campana-Stamps` as it came.
    pub stamps: Option<&'a str>,
    /// The status that the sender was (or would have been) told: of SMTP or HTTP.
    pub answered: u16,
    /// What the sender calls the message, the same in every attempt: `Message-ID`, `webhook-id`,
    /// the address for status callbacks.
    pub reference: Option<&'a str>,
}

/// A receipt as the feed shows it, behind its number.
#[derive(Serialize)]
struct Line<'a> {
    channel: Channel,
    received_ns: u64,
    title: &'a str,
    body: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    recipient: &'a str,
    stamps: Option<String>,
    answered: u16,
    reference: Option<&'a str>,
}

/// Some receipts in the order of their arrival.
#[derive(Debug, Default)]
pub struct Page {
    /// The number of the first one.
    first: u64,
    lines: Vec<Arc<str>>,
    /// To ask for what comes behind.
    next: u64,
    /// How many were forgotten that the reader had not seen.
    lost: u64,
}

/// How much the ring holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Held {
    pub kept: usize,
    pub kept_bytes: usize,
    pub newest: u64,
}

#[derive(Debug)]
struct Ring {
    /// The number of the oldest line, or of the next one if there is none.
    first: u64,
    lines: VecDeque<Arc<str>>,
    bytes: usize,
}

/// Receipts of what arrived lately.
#[derive(Debug)]
pub struct Receipts {
    keep: usize,
    keep_bytes: usize,
    ring: Mutex<Ring>,
    news: Notify,
}

impl Receipts {
    pub fn new(keep: usize, keep_bytes: usize) -> Self {
        let ring = Ring { first: 1, lines: VecDeque::new(), bytes: 0 };
        Self { keep: keep.max(1), keep_bytes, ring: Mutex::new(ring), news: Notify::new() }
    }

    /// Keeps one and wakes who waits for it.
    pub fn add(&self, receipt: &Receipt<'_>) {
        let line = line(receipt);
        {
            let mut ring = self.ring();
            ring.bytes += line.len() + OVERHEAD_BYTES;
            ring.lines.push_back(line);
            while ring.lines.len() > self.keep
                || (ring.bytes > self.keep_bytes && ring.lines.len() > 1)
            {
                let Some(oldest) = ring.lines.pop_front() else {
                    break;
                };
                ring.bytes -= oldest.len() + OVERHEAD_BYTES;
                ring.first += 1;
            }
        }
        self.news.notify_waiters();
    }

    /// What came after the given number. A number that was never given belongs to a former life
    /// of the sandbox: everything came after it.
    pub fn read(&self, after: u64, limit: usize) -> Page {
        let ring = self.ring();
        let newest = ring.newest();
        let after = if after > newest { 0 } else { after };
        let lost = (ring.first - 1).saturating_sub(after);
        let first = after.max(ring.first - 1) + 1;
        // The ring is in memory, so its length and every position in it fit.
        let skip = usize::try_from(first - ring.first).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let lines: Vec<Arc<str>> = ring
            .lines
            .iter()
            .skip(skip)
            .take(limit)
            .take_while(|line| {
                let begins = bytes == 0;
                bytes += line.len();
                begins || bytes <= PAGE_BYTES_MAX
            })
            .cloned()
            .collect();
        let next = first - 1 + lines.len() as u64;
        Page { first, lines, next, lost }
    }

    pub fn held(&self) -> Held {
        let ring = self.ring();
        Held { kept: ring.lines.len(), kept_bytes: ring.bytes, newest: ring.newest() }
    }

    /// No statement leaves the ring in between two states, so a poisoned lock is still usable.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn newest(&self) -> u64 {
        self.first - 1 + self.lines.len() as u64
    }
}

/// The JSON of a receipt without its opening brace: the number comes before it.
fn line(receipt: &Receipt<'_>) -> Arc<str> {
    let (title, title_cut) = cut(receipt.title);
    let (body, body_cut) = cut(receipt.body);
    let line = Line {
        channel: receipt.channel,
        received_ns: receipt.received.monotonic_ns,
        title,
        body,
        cut: title_cut || body_cut,
        recipient: cut(receipt.recipient).0,
        stamps: receipt.stamps.and_then(Stamps::parse).map(|stamps| stamps.to_string()),
        answered: receipt.answered,
        reference: receipt.reference.map(|reference| cut(reference).0),
    };
    let json = serde_json::to_string(&line).expect("a struct of texts and numbers always encodes");
    json[1..].into()
}

/// The beginning of a text that is too long, and whether it was.
fn cut(text: &str) -> (&str, bool) {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    (&text[..end], end < text.len())
}
