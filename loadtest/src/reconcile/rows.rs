//! Rows of this run in the platform's database, as its public API counts them
//! (`GET /v1/notifications/counts`). Reads that address; writes nothing. Recipients of a run have names
//! that no other run uses, so its rows can be told from everybody else's.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use crate::clock::utc_now;
use crate::target::{Target, TokenSource};

const PATH: &str = "v1/notifications/counts";
/// Counting a long step takes a small database some seconds.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How far the clocks of this machine and the platform's may be apart; further, and rows cannot be asked for
/// by time.
const CLOCKS_APART: Duration = Duration::from_secs(5);
/// States of a delivery that has arrived where its channel ends.
const ARRIVED: [&str; 2] = ["delivered", "sent"];

/// Where rows are counted.
#[derive(Clone)]
pub struct RowsReader {
    client: reqwest::Client,
    url: Url,
    key: String,
    /// Of this run's recipients.
    prefix: String,
}

/// Rows by state.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Rows {
    /// Whether there were not too many to count.
    pub complete: bool,
    /// The platform's clock.
    pub to: String,
    pub notifications: BTreeMap<String, u64>,
    /// By channel and status.
    pub deliveries: BTreeMap<String, BTreeMap<String, u64>>,
}

impl RowsReader {
    /// For a Campana; nothing for other stacks, which have no such address.
    pub fn new(target: &Target, run: u32) -> Option<Self> {
        if target.tokens != TokenSource::Gateway || target.api_key.is_empty() {
            return None;
        }
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().ok()?;
        Some(Self {
            client,
            url: target.gateway.join(PATH).ok()?,
            key: target.api_key.clone(),
            prefix: format!("lt-{run:08x}-"),
        })
    }

    /// Rows of this run that were accepted since; nothing if the platform is too old to say.
    pub async fn of_run(&self, since: &str) -> Option<Rows> {
        self.ask(&[("from", since), ("recipient_prefix", &self.prefix)]).await
    }

    /// Rows of everybody with this key's tenant.
    pub async fn of_all(&self, since: &str) -> Option<Rows> {
        self.ask(&[("from", since)]).await
    }

    async fn ask(&self, query: &[(&str, &str)]) -> Option<Rows> {
        let request = self.client.get(self.url.clone()).bearer_auth(&self.key).query(query);
        let asked = utc_now();
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        answer.json::<Rows>().await.ok().filter(|rows| rows.complete && rows.agree_on(asked))
    }
}

/// From when on rows of a step that begins now are counted.
pub fn since() -> String {
    (utc_now() - CLOCKS_APART * 2).format(&Rfc3339).unwrap_or_default()
}

impl Rows {
    /// Whether the platform's clock shows about the same time as ours did when it was asked.
    fn agree_on(&self, asked: OffsetDateTime) -> bool {
        let theirs = OffsetDateTime::parse(&self.to, &Rfc3339);
        theirs.is_ok_and(|to| (to - asked).abs() <= CLOCKS_APART)
    }

    /// All notifications.
    pub fn notifications(&self) -> u64 {
        self.notifications.values().sum()
    }

    /// All deliveries of a channel.
    pub fn deliveries(&self, channel: &str) -> u64 {
        self.deliveries.get(channel).into_iter().flatten().map(|(_, count)| count).sum()
    }

    /// Those that arrived, as the database has it.
    pub fn arrived(&self, channel: &str) -> u64 {
        let of_channel = self.deliveries.get(channel).into_iter().flatten();
        of_channel
            .filter(|(status, _)| ARRIVED.contains(&status.as_str()))
            .map(|(_, count)| count)
            .sum()
    }
}
