//! Where the numbers come from: the servers' monitoring ports, or else JetStream's API over the bus.
//! Reads: `/varz` and `/jsz` of every configured server; the lists of streams and consumers. Writes: a snapshot.
//! Never: asks without a deadline, reads an answer of any length, follows a redirect.
//!
//! Every monitoring port tells only what its own server holds, so all servers of a cluster belong into
//! `nats.metrics.monitor_urls`; of each stream and consumer the leader's word counts. `leader-only=true` is not
//! used: with it only the leader of the cluster answers, and it does not know of streams that it has no copy of.

use std::time::Duration;

use campana_bus::{Bus, clock, subjects};
use serde_json::{Value, json};
use url::Url;

use super::names;
use super::snapshot::{Place, Snapshot, text};

/// One answer of a monitoring port or of the API.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A whole reading.
const READING_WITHIN: Duration = Duration::from_secs(15);
/// The longest answer that is read: some ten thousand consumers.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pages of a list; the server puts 256 on one.
const PAGES_MAX: usize = 64;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Source {
    /// The monitoring ports.
    Monitors { http: reqwest::Client, urls: Vec<Url> },
    /// The API.
    Api,
}

impl Source {
    /// The monitoring ports at these addresses; without any, the API.
    pub fn new(urls: &[String]) -> anyhow::Result<Self> {
        if urls.is_empty() {
            return Ok(Self::Api);
        }
        let http = reqwest::Client::builder()
            .timeout(ANSWER_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            // Monitoring ports are inside; a proxy for the outside does not know them.
            .no_proxy()
            .build()?;
        let urls = urls.iter().map(|url| Url::parse(url)).collect::<Result<_, _>>()?;
        Ok(Self::Monitors { http, urls })
    }

    /// Everything there is to know now. An error means that there is nothing to show; the reasons of single
    /// servers are in the log.
    pub async fn read(&self, bus: &Bus) -> Result<Snapshot, String> {
        let reading = async {
            match self {
                Self::Monitors { http, urls } => monitors(http, urls).await,
                Self::Api => api(bus).await,
            }
        };
        tokio::time::timeout(READING_WITHIN, reading)
            .await
            .map_err(|_| format!("no answer within {READING_WITHIN:?}"))?
    }
}

async fn monitors(http: &reqwest::Client, urls: &[Url]) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot::default();
    let mut last = Err("no monitoring port is configured".to_owned());
    let answers = futures::future::join_all(urls.iter().map(|url| async move {
        let varz = get(http, url, "varz", "").await?;
        let jsz = get(http, url, "jsz", "consumers=true&config=true").await?;
        Ok::<_, String>((varz, jsz))
    }));
    let mut any = false;
    for (url, answer) in urls.iter().zip(answers.await) {
        let address = address(url);
        let up = answer.is_ok();
        snapshot.gauge(names::MONITOR_UP, &[("server", &address)], f64::from(u8::from(up)));
        match answer {
            Ok((varz, jsz)) => {
                server(&mut snapshot, &varz, &jsz);
                any = true;
            }
            Err(error) => {
                tracing::debug!(
                    nats.monitor = address,
                    "a monitoring port does not answer: {error}"
                );
                last = Err(format!("{address}: {error}"));
            }
        }
    }
    if any { Ok(snapshot) } else { last }
}

/// Host and port: what stands before or behind them may be a secret.
fn address(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

async fn get(http: &reqwest::Client, base: &Url, what: &str, query: &str) -> Result<Value, String> {
    let mut url = base.clone();
    url.set_path(&format!("{}/{what}", base.path().trim_end_matches('/')));
    url.set_query((!query.is_empty()).then_some(query));
    // An error's own words would show the URL, and with it a password.
    let failed = |error: reqwest::Error| error.without_url().to_string();
    let mut response = http.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(format!("/{what} answered {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("/{what} is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|error| format!("/{what} is no JSON: {error}"))
}

/// What one server says of itself and of the streams that it holds.
fn server(snapshot: &mut Snapshot, varz: &Value, jsz: &Value) {
    let own = Place {
        server_id: text(varz, &["/server_id"]).to_owned(),
        server_name: text(varz, &["/server_name"]).to_owned(),
        cluster: text(jsz, &["/meta_cluster/name"]).to_owned(),
        domain: text(jsz, &["/config/domain"]).to_owned(),
        meta_leader: text(jsz, &["/meta_cluster/leader"]).to_owned(),
        ..Place::default()
    };
    snapshot.server(&own, &names::VARZ, varz);
    snapshot.server(&own, &names::SERVER, jsz);
    for account in list(jsz, "/account_details") {
        let place = Place {
            account: text(account, &["/name"]).to_owned(),
            account_id: text(account, &["/id"]).to_owned(),
            ..own.clone()
        };
        for stream in list(account, "/stream_detail") {
            snapshot.stream(&place, stream);
            for consumer in list(stream, "/consumer_detail") {
                snapshot.consumer(&place, stream, consumer);
            }
        }
    }
}

fn list<'a>(value: &'a Value, place: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(place).and_then(Value::as_array).into_iter().flatten()
}

/// What the API tells: each stream and consumer once, by its leader.
async fn api(bus: &Bus) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot::default();
    let connected = bus.client().server_info();
    let account = account_name(bus).await;
    let place = |led: &Value| Place {
        server_name: match text(led, &["/cluster/leader"]) {
            "" => connected.server_name.clone(),
            leader => leader.to_owned(),
        },
        cluster: text(led, &["/cluster/name"]).to_owned(),
        domain: connected.domain.clone().unwrap_or_default(),
        account: account.clone(),
        ..Place::default()
    };
    snapshot.account(&place(&Value::Null), &ask(bus, "INFO", &Value::Null).await?);
    let streams = pages(bus, subjects::API_STREAM_LIST, "/streams", |page| {
        for name in list(page, "/missing").filter_map(Value::as_str) {
            snapshot.missing(&account, name);
        }
    })
    .await?;
    for stream in &streams {
        snapshot.stream(&place(stream), stream);
        if stream.pointer("/state/consumer_count").and_then(Value::as_u64) == Some(0) {
            continue;
        }
        let subject = subjects::api_consumer_list(text(stream, &["/config/name"]));
        // A stream that was deleted since the list was made has no consumers any more.
        let consumers = match pages(bus, &subject, "/consumers", |_| {}).await {
            Err(error) if error.contains("10059") => continue,
            other => other?,
        };
        for consumer in &consumers {
            snapshot.consumer(&place(consumer), stream, consumer);
        }
    }
    Ok(snapshot)
}

/// The account of this connection; empty if the server does not say.
async fn account_name(bus: &Bus) -> String {
    let asked = bus.client().request(subjects::USER_INFO, bytes::Bytes::new());
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(message)) => serde_json::from_slice::<Value>(&message.payload)
            .map(|info| text(&info, &["/data/account"]).to_owned())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

/// All items of a list, page by page.
async fn pages(
    bus: &Bus,
    subject: &str,
    items: &str,
    mut look: impl FnMut(&Value),
) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    let started = clock::monotonic();
    for _ in 0..PAGES_MAX {
        let page = ask(bus, subject, &json!({"offset": all.len()})).await?;
        look(&page);
        let found: Vec<Value> = list(&page, items).cloned().collect();
        let total = page.get("total").and_then(Value::as_u64).unwrap_or_default();
        let is_last =
            found.is_empty() || all.len() + found.len() >= usize::try_from(total).unwrap_or(0);
        all.extend(found);
        if is_last {
            return Ok(all);
        }
    }
    tracing::debug!(took = ?started.elapsed(), "a list of JetStream has more than {PAGES_MAX} pages");
    Ok(all)
}

async fn ask(bus: &Bus, subject: &str, request: &Value) -> Result<Value, String> {
    let asked = bus.jetstream().request::<_, Value, Value>(subject.to_owned(), request);
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(answer)) => match answer.get("error") {
            Some(error) => Err(format!("{subject}: {error}")),
            None => Ok(answer),
        },
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{subject}: no answer within {ANSWER_WITHIN:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_secret() {
        let url = Url::parse("http://admin:hunter2@10.0.0.1:8222/nats?x=1").unwrap();
        assert_eq!(address(&url), "10.0.0.1:8222");
    }

    #[test]
    fn a_server_without_a_cluster_is_read() {
        let varz = json!({"server_id": "N1", "server_name": "one", "in_msgs": 5,
            "jetstream": {"stats": {"storage": 10, "api": {"total": 3}}}});
        let jsz = json!({"streams": 1, "account_details": [{"name": "$G", "id": "$G", "stream_detail": [
            {"name": "S", "cluster": {"leader": "one"}, "state": {"messages": 2}, "consumer_detail": [
                {"stream_name": "S", "name": "c", "num_pending": 4}]}]}]});
        let mut snapshot = Snapshot::default();
        server(&mut snapshot, &varz, &jsz);
        let text = snapshot.finish(10);
        let own = r#"{server_id="N1",server_name="one",is_meta_leader="true"#;
        assert!(text.contains(&format!("nats_varz_in_msgs{own}\"}} 5\n")), "{text}");
        assert!(text.contains(&format!("nats_varz_jetstream_stats_storage{own}\"}} 10\n")));
        assert!(text.contains(&format!(
            "nats_consumer_num_pending{own}\",account=\"$G\",account_id=\"$G\",stream_name=\"S\",\
             stream_leader=\"one\",is_stream_leader=\"true\",consumer_name=\"c\",\
             consumer_leader=\"one\",is_consumer_leader=\"true\"}} 4\n"
        )));
    }
}
