//! Stage stamps: who asks gets the time of every stage on the way, on every channel, in the order of the way.
//! Reads: answers, publications and the sandbox's feed of receipts. Writes: notifications.
//! Never: expects a stage to take any given time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use campana_bus::clock;
use campana_bus::stamps::{Stage, Stamps, TAG};
use campana_tests::api::{Answer, http, id_of, send};
use campana_tests::{Api, Client, Platform, eventually, process};
use reqwest::Method;
use serde_json::{Value, json};

const HEADER: &str = "Campana-Stamps";
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const CHANNELS: [&str; 5] = ["in_app", "email", "sms", "whatsapp", "webhook"];
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);
/// What every message over a provider has been through.
const PROVIDED: [Stage; 4] = [Stage::Accepted, Stage::Dispatched, Stage::Worker, Stage::Provider];

#[tokio::test(flavor = "multi_thread")]
async fn stamps_travel_with_a_notification_over_every_channel() {
    let secret = format!("channels.webhook.default_secret={SECRET}");
    let more = ["--set", "channels.webhook.retry_seconds=[1]", "--set", &secret];
    let platform = Platform::up(&more).await.unwrap();
    platform.sandbox().unwrap().expect_signed("dana", SECRET).await.unwrap();
    let site = Site::of(&platform).unwrap();
    let mut bell = platform.client("dana").await.unwrap();
    site.everywhere(&mut bell).await.context("every channel").unwrap();
    site.unasked(&mut bell).await.context("nobody asked").unwrap();
    site.replayed(&mut bell).await.context("the replay").unwrap();
    site.batch(&mut bell).await.context("the batch").unwrap();
    site.scheduled(&mut bell).await.context("the scheduled notification").unwrap();
    site.again().await.context("the second attempt").unwrap();
    site.recovered(&mut bell).await.context("the reconnect").unwrap();
    platform.stop(process::Signal::TERM).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_stamps_where_they_are_switched_off() {
    let platform = Platform::up(&["--set", "gateway.stamps=false"]).await.unwrap();
    let site = Site::of(&platform).unwrap();
    let mut bell = platform.client("dana").await.unwrap();
    site.without(&mut bell, "off", Some("1")).await.unwrap();
    platform.stop(process::Signal::TERM).await.unwrap();
}

struct Site {
    api: Api,
    sandbox: String,
}

impl Site {
    fn of(platform: &Platform) -> Result<Self> {
        let sandbox = platform.sandbox()?.url;
        Ok(Self { api: platform.api()?, sandbox })
    }

    fn body(&self, title: &str, channels: &[&str]) -> Value {
        json!({
            "to": {
                "id": "dana", "email": "dana@example.com", "phone": "+12025550123",
                "webhook_url": format!("{}/webhook/dana", self.sandbox),
            },
            "content": {"title": title, "body": "It rings."},
            "channels": channels,
        })
    }

    async fn send(&self, body: &Value, asks: Option<&str>) -> Result<Answer> {
        let mut request = self.api.request(Method::POST, "/v1/notifications").json(body);
        if let Some(asks) = asks {
            request = request.header(HEADER, asks);
        }
        send(request).await
    }

    /// The receipts with this title, when there are so many.
    async fn receipts(&self, title: &str, count: usize) -> Result<Vec<Value>> {
        let (client, url) = (http()?, format!("{}/api/receipts", self.sandbox));
        let mut found: Vec<Value> = Vec::new();
        let mut after = 0;
        eventually(&format!("{count} receipts"), ARRIVES_WITHIN, async || {
            let query = [("after", after), ("wait_ms", 1_000)];
            let page = send(client.get(&url).query(&query)).await?.expect(200)?;
            ensure!(page["lost"] == 0, "{page}");
            after = page["next"].as_u64().context("a feed says where it stands")?;
            let all = page["receipts"].as_array().into_iter().flatten();
            found.extend(all.filter(|one| one["title"] == title).cloned());
            Ok((found.len() >= count).then_some(()))
        })
        .await?;
        ensure!(found.len() == count, "{found:?}");
        Ok(found)
    }

    async fn everywhere(&self, bell: &mut Client) -> Result<()> {
        let before = clock::tick();
        let answer = self.send(&self.body("stamped", &CHANNELS), Some("1")).await?;
        let answered = stamps(answer.header(HEADER))?;
        expect(&answered, &[Stage::Accepted, Stage::Stored])?;
        let accepted = answered.get(Stage::Accepted);
        ensure!(Some(before.ns) <= accepted && answered.boot() == before.boot, "{answered}");
        let ring = bell.expect(&id_of(&answer.expect(202)?)?).await?;
        let seen = stamps(ring.tags[TAG].as_str().unwrap_or_default())?;
        expect(&seen, &[Stage::Accepted, Stage::Dispatched, Stage::Edge, Stage::Socket])?;
        ensure!(seen.get(Stage::Accepted) == accepted, "{seen}, {answered}");
        ensure!(seen.get(Stage::Socket) <= Some(clock::monotonic_ns()), "{seen}");
        let receipts = self.receipts("stamped", 4).await?;
        for channel in &CHANNELS[1..] {
            let receipt = receipts.iter().find(|one| one["channel"] == *channel);
            let receipt = receipt.with_context(|| format!("nothing over {channel}"))?;
            let seen = stamps(receipt["stamps"].as_str().unwrap_or_default())?;
            expect(&seen, &PROVIDED).with_context(|| format!("{receipt}"))?;
            ensure!(seen.get(Stage::Accepted) == accepted, "{channel}: {seen}, {answered}");
            ensure!(seen.get(Stage::Provider) <= receipt["received_ns"].as_u64(), "{receipt}");
            ensure!(receipt["body"] == "It rings.", "{receipt}");
        }
        self.signatures_hold().await
    }

    /// The header is not signed, and what is signed stays as it was.
    async fn signatures_hold(&self) -> Result<()> {
        let url = format!("{}/api/messages?channel=webhook", self.sandbox);
        let list = send(http()?.get(url)).await?.expect(200)?;
        for hook in list["data"].as_array().into_iter().flatten() {
            ensure!(hook["verification"]["result"] == "verified", "{hook}");
        }
        Ok(())
    }

    async fn unasked(&self, bell: &mut Client) -> Result<()> {
        let hostile = "boot=00000000;accepted=1";
        let long = "1".repeat(4_000);
        let asks = [None, Some(""), Some("0"), Some("1;1"), Some(hostile), Some(long.as_str())];
        for (turn, asks) in asks.into_iter().enumerate() {
            self.without(bell, &format!("unasked {turn}"), asks).await?;
        }
        Ok(())
    }

    async fn without(&self, bell: &mut Client, title: &str, asks: Option<&str>) -> Result<()> {
        let answer = self.send(&self.body(title, &CHANNELS), asks).await?;
        ensure!(answer.headers.get(HEADER).is_none(), "{:?}", answer.headers);
        let ring = bell.expect(&id_of(&answer.expect(202)?)?).await?;
        ensure!(ring.tags["traceparent"].is_string() && ring.tags.get(TAG).is_none(), "{ring:?}");
        for receipt in self.receipts(title, 4).await? {
            ensure!(receipt["stamps"].is_null(), "{receipt}");
        }
        Ok(())
    }

    /// A replay is an old answer: the times of the first one would be read as its own.
    async fn replayed(&self, bell: &mut Client) -> Result<()> {
        let body = self.body("once", &["in_app"]);
        let request = || {
            let request = self.api.request(Method::POST, "/v1/notifications").json(&body);
            send(request.header(HEADER, "1").header("Idempotency-Key", "stamped-once"))
        };
        let first = request().await?;
        expect(&stamps(first.header(HEADER))?, &[Stage::Accepted, Stage::Stored])?;
        let again = request().await?;
        ensure!(again.header("idempotent-replayed") == "true", "{:?}", again.headers);
        ensure!(again.headers.get(HEADER).is_none(), "{:?}", again.headers);
        bell.expect(&id_of(&first.expect(202)?)?).await.map(drop)
    }

    async fn batch(&self, bell: &mut Client) -> Result<()> {
        let items = [self.body("first", &["in_app"]), json!({}), self.body("last", &["in_app"])];
        let body = json!({"notifications": items});
        let request = self.api.request(Method::POST, "/v1/notifications/batch").json(&body);
        let answer = send(request.header(HEADER, "1")).await?.expect(202)?;
        ensure!(answer["results"][1].get("stamps").is_none(), "{answer}");
        for index in [0, 2] {
            let line = &answer["results"][index];
            let answered = stamps(line["stamps"].as_str().unwrap_or_default())?;
            expect(&answered, &[Stage::Accepted, Stage::Stored])?;
            let ring = bell.next(ARRIVES_WITHIN).await?;
            let seen = stamps(ring.tags[TAG].as_str().unwrap_or_default())?;
            expect(&seen, &[Stage::Accepted, Stage::Dispatched, Stage::Edge, Stage::Socket])?;
        }
        let plain = self.api.post("/v1/notifications/batch", &body).await?.expect(202)?;
        ensure!(plain["results"][0].get("stamps").is_none(), "{plain}");
        for _ in 0..2 {
            ensure!(bell.next(ARRIVES_WITHIN).await?.tags.get(TAG).is_none(), "nobody asked");
        }
        Ok(())
    }

    /// A request that waits in the stream as a copy of itself keeps its first stamp.
    async fn scheduled(&self, bell: &mut Client) -> Result<()> {
        let mut body = self.body("later", &["in_app"]);
        body["delay_seconds"] = json!(1);
        let answer = self.send(&body, Some("1")).await?;
        let answered = stamps(answer.header(HEADER))?;
        let ring = bell.expect(&id_of(&answer.expect(202)?)?).await?;
        let seen = stamps(ring.tags[TAG].as_str().unwrap_or_default())?;
        expect(&seen, &[Stage::Accepted, Stage::Dispatched, Stage::Edge, Stage::Socket])?;
        ensure!(seen.get(Stage::Accepted) == answered.get(Stage::Accepted), "{seen}, {answered}");
        // Due on the wall clock, which is not the one of the stamps: half a second is far from none.
        let wait = seen.get(Stage::Dispatched).zip(seen.get(Stage::Accepted));
        ensure!(wait.is_some_and(|(to, from)| to - from > 500_000_000), "{seen}");
        Ok(())
    }

    /// What the receiver refused once comes again: the way up to the worker is the same, the rest is new.
    async fn again(&self) -> Result<()> {
        let rule =
            json!({"channel": "webhook", "times": 1, "effect": {"kind": "http", "status": 503}});
        let faults = http()?.put(format!("{}/api/faults", self.sandbox));
        send(faults.json(&json!({"rules": [rule]}))).await?.expect(200)?;
        self.send(&self.body("again", &["webhook"]), Some("1")).await?.expect(202)?;
        let receipts = self.receipts("again", 2).await?;
        ensure!(receipts[0]["answered"] == 503 && receipts[1]["answered"] == 200, "{receipts:?}");
        ensure!(receipts[0]["reference"] == receipts[1]["reference"], "{receipts:?}");
        let [first, second] =
            [0, 1].map(|at| stamps(receipts[at]["stamps"].as_str().unwrap_or_default()));
        let (first, second) = (first?, second?);
        expect(&first, &PROVIDED)?;
        expect(&second, &PROVIDED)?;
        for stage in [Stage::Accepted, Stage::Dispatched] {
            ensure!(first.get(stage) == second.get(stage), "{first}, {second}");
        }
        ensure!(first.get(Stage::Provider) < second.get(Stage::Worker), "{first}, {second}");
        self.signatures_hold().await
    }

    /// What a client missed is no live publication any more.
    async fn recovered(&self, bell: &mut Client) -> Result<()> {
        let answer = self.send(&self.body("missed", &["in_app"]), Some("1")).await?.expect(202)?;
        let id = id_of(&answer)?;
        self.api.status(&id, "completed").await?;
        bell.reconnect().await?;
        let ring = bell.expect(&id).await?;
        ensure!(bell.recovered && ring.tags.get(TAG).is_none(), "{ring:?}");
        Ok(())
    }
}

fn stamps(text: &str) -> Result<Stamps> {
    Stamps::parse(text).with_context(|| format!("no stamps: {text:?}"))
}

/// These stages and no other, in the order of time.
fn expect(stamps: &Stamps, stages: &[Stage]) -> Result<()> {
    let there: Vec<Stage> =
        Stage::ALL.into_iter().filter(|stage| stamps.get(*stage).is_some()).collect();
    ensure!(there == stages, "{stamps}");
    ensure!(there.is_sorted_by_key(|stage| stamps.get(*stage)), "{stamps}");
    Ok(())
}
