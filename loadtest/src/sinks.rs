//! Receipts of e-mail, SMS, WhatsApp and webhooks: the feed of the sandbox, which stamps each
//! arrival on this machine's monotonic clock. Asks again and again, enters what carries the run's
//! mark, judges nothing. Polling delays no figure: the time is the sink's own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::clock;
use crate::failure::Failure;
use crate::intake::{Channel, Event, Intake};
use crate::mark::{self, Read};
use crate::model::Reconciliation;
use crate::stamps::Stamps;

const PAGE: usize = 5_000;
const WAIT_MS: u64 = 1_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two pages, so that a busy feed is read in few large ones.
const GAP: Duration = Duration::from_millis(20);
const RETRY: Duration = Duration::from_millis(250);
/// Before the address of a WhatsApp recipient.
const WHATSAPP: &str = "whatsapp:";

/// The reader of the feed.
pub struct Sinks {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    run: u32,
    recipients: HashMap<String, u32>,
    intake: Arc<Intake>,
    lost: AtomicU64,
    failures: AtomicU64,
    refused: AtomicU64,
}

/// Where the reader stands.
#[derive(Clone, Debug, Default)]
struct Standing {
    instance: String,
    after: u64,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    instance: Cow<'a, str>,
    #[serde(borrow)]
    boot: Option<Cow<'a, str>>,
    #[serde(borrow)]
    receipts: Vec<Line<'a>>,
    next: u64,
    lost: u64,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    received_ns: u64,
    #[serde(borrow, default)]
    title: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Cow<'a, str>,
    #[serde(borrow, default)]
    recipient: Cow<'a, str>,
    #[serde(borrow, default)]
    stamps: Option<Cow<'a, str>>,
    /// What the sender was told.
    answered: Option<u16>,
}

impl Sinks {
    /// Begins to read what arrives from now on. `recipients` maps addresses (of mail, telephones,
    /// webhook receivers), as the sandbox shows them, to the indices of recipients.
    pub async fn start(
        sandbox: &Url,
        run: u32,
        recipients: HashMap<String, u32>,
        intake: Arc<Intake>,
    ) -> Result<Self, Failure> {
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| Failure::failed("cannot make an HTTP client", error))?;
        let url = sandbox
            .join("api/receipts")
            .map_err(|error| Failure::failed("the sandbox's address", error))?;
        let recipients =
            recipients.into_iter().map(|(address, index)| (plain(&address), index)).collect();
        let shared = Arc::new(Shared {
            run,
            recipients,
            intake,
            lost: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let first =
            ask(&client, &url, None).await.map_err(|error| Failure::connect(&url, error))?;
        let standing = begin(&first).map_err(|why| Failure::Connect(format!("{url}: {why}")))?;
        let sinks = Self { shared, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let reading = read(client, url, standing, Arc::clone(&sinks.shared));
        let stop = sinks.stop.clone();
        sinks.tasks.spawn(async move { stop.run_until_cancelled_owned(reading).await });
        Ok(sinks)
    }

    /// Receipts that the sandbox forgot before they were read; with any, losses are not to be
    /// believed.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// Tells the reader of a step what the sinks saw beside deliveries, since the run began:
    /// questions without a usable answer (each was asked again), and arrivals that a sink
    /// refused on purpose, which are attempts and no deliveries.
    pub fn tell(&self, into: &mut Reconciliation) {
        let counts = [
            ("sandbox questions failed", &self.shared.failures),
            ("sandbox refused", &self.shared.refused),
        ];
        for (name, count) in counts {
            let count = count.load(Ordering::Acquire);
            if count > 0 {
                into.counters.insert(name.to_owned(), count as f64);
            }
        }
    }

    /// Ends the reading.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Addresses are compared without case and without the channel before them.
fn plain(address: &str) -> String {
    address.trim().strip_prefix(WHATSAPP).unwrap_or(address.trim()).to_ascii_lowercase()
}

fn begin(text: &str) -> Result<Standing, String> {
    let page = parse(text)?;
    let own = format!("{:08x}", clock::boot());
    if page.boot.as_deref().is_some_and(|boot| boot != own) {
        return Err(
            "the sandbox runs on another machine, and its clock is not this one's".to_owned()
        );
    }
    Ok(Standing { instance: page.instance.into_owned(), after: page.next })
}

fn parse(text: &str) -> Result<Page<'_>, String> {
    serde_json::from_str(text).map_err(|error| format!("unexpected answer: {error}"))
}

async fn ask(client: &reqwest::Client, url: &Url, after: Option<u64>) -> Result<String, String> {
    let request = client.get(url.clone()).query(&[("limit", PAGE as u64)]);
    let request = match after {
        Some(after) => request.query(&[("after", after), ("wait_ms", WAIT_MS)]),
        None => request,
    };
    let answer = request.send().await.map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("answered {}", answer.status()));
    }
    answer.text().await.map_err(|error| error.to_string())
}

async fn read(client: reqwest::Client, url: Url, mut standing: Standing, shared: Arc<Shared>) {
    loop {
        let entered = match ask(&client, &url, Some(standing.after)).await {
            Ok(text) => shared.enter(&text, &mut standing),
            Err(error) => Err(error),
        };
        if entered.is_err() {
            shared.failures.fetch_add(1, Ordering::AcqRel);
        }
        tokio::time::sleep(if entered.is_ok() { GAP } else { RETRY }).await;
    }
}

impl Shared {
    fn enter(&self, text: &str, standing: &mut Standing) -> Result<(), String> {
        let page = parse(text)?;
        if page.instance != standing.instance {
            // Another sandbox: it counts from the beginning, and what it has is unread.
            *standing = Standing { instance: page.instance.into_owned(), after: 0 };
            return Ok(());
        }
        self.lost.fetch_add(page.lost, Ordering::AcqRel);
        for line in &page.receipts {
            self.line(line);
        }
        standing.after = page.next;
        Ok(())
    }

    fn line(&self, line: &Line<'_>) {
        let Some(channel) = Channel::parse(&line.channel) else { return };
        let known = self.recipients.get(&plain(&line.recipient)).copied();
        let (at_ns, run) = (line.received_ns, self.run);
        let read = mark::read(run, &line.title, &line.body);
        // 250 of SMTP and the 2xx of HTTP: the sender was told that it has arrived.
        if read != Read::Foreign && line.answered.is_some_and(|code| !(200..300).contains(&code)) {
            self.refused.fetch_add(1, Ordering::AcqRel);
            return;
        }
        match (read, known) {
            (Read::Ours { slot, intact }, known) => {
                let stamps = line.stamps.as_deref();
                self.intake.push(Event::Receipt {
                    slot,
                    channel,
                    // Nobody has this index: the ledger calls it a phantom.
                    recipient: known.unwrap_or(u32::MAX),
                    at_ns,
                    offset: None,
                    intact,
                    recovered: false,
                    stamps: stamps.and_then(|text| Stamps::parse(text, clock::boot())),
                });
            }
            (Read::Foreign, Some(recipient)) => {
                self.intake.push(Event::Stranger { channel, recipient, at_ns });
            }
            // Somebody else uses the sandbox as well.
            (Read::Foreign, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shared() -> Shared {
        Shared {
            run: 7,
            recipients: HashMap::from([("a@example.test".to_owned(), 3), ("+155".to_owned(), 4)]),
            intake: Arc::default(),
            lost: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    #[test]
    fn a_page_becomes_events_and_the_reader_goes_on() {
        let shared = shared();
        let content = mark::write(7, 9, 120);
        let stamps = format!("boot={:08x};accepted=5;worker=8", clock::boot());
        let line = |channel: &str, recipient: &str, title: &str, body: &str, answered: u16| {
            json!({"seq": 1, "channel": channel, "received_ns": 50, "title": title, "body": body,
                   "recipient": recipient, "stamps": stamps, "answered": answered, "reference": null})
        };
        let page = json!({"schema_version": 1, "instance": "i", "boot": "x", "receipts": [
            line("email", "A@example.test", &content.title, &content.body, 250),
            line("whatsapp", "whatsapp:+155", "", &format!("{}: {}", content.title, content.body), 201),
            line("sms", "+155", &content.title, &content.body, 429),
            line("email", "a@example.test", "Hello", "there", 250),
            line("email", "b@example.test", "Hello", "there", 250),
            line("sms", "+999", &content.title, "damaged", 201),
        ], "next": 12, "lost": 2});
        let mut standing = Standing { instance: "i".to_owned(), after: 6 };
        shared.enter(&page.to_string(), &mut standing).unwrap();
        assert_eq!((standing.after, shared.lost.load(Ordering::Acquire)), (12, 2));
        assert_eq!(shared.refused.load(Ordering::Acquire), 1);
        let told: Vec<String> = shared
            .intake
            .take()
            .into_iter()
            .map(|event| match event {
                Event::Receipt {
                    slot: 9, channel, recipient, at_ns: 50, intact, stamps, ..
                } => {
                    assert!(stamps.is_some());
                    format!("{} {recipient} {intact}", channel.name())
                }
                Event::Stranger { channel, recipient, .. } => {
                    format!("stranger {} {recipient}", channel.name())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            told,
            ["email 3 true", "whatsapp 4 true", "stranger email 3", "sms 4294967295 false"]
        );
        let restarted = json!({"instance": "j", "receipts": [], "next": 0, "lost": 0});
        shared.enter(&restarted.to_string(), &mut standing).unwrap();
        assert_eq!(standing.after, 0);
        assert!(shared.enter("nonsense", &mut standing).is_err());
    }

    #[test]
    fn another_machines_sandbox_is_refused() {
        let page = |boot: &str| {
            json!({"instance": "i", "boot": boot, "receipts": [], "next": 5, "lost": 0}).to_string()
        };
        assert_eq!(begin(&page(&format!("{:08x}", clock::boot()))).unwrap().after, 5);
        assert!(begin(&page("zzzzzzzz")).is_err());
    }
}
