//! Plays the story of an accepted text message: moves its status and posts signed callbacks.
//!
//! It calls only loopback hosts and those the options name, follows no redirect, and bounds both
//! the stories that run and the requests in flight. At the soft stop the rest of every story is
//! dropped, as a provider's would be lost to a receiver that is down.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::{Host, Url, form_urlencoded};

use super::request::number;
use super::resource::API_VERSION;
use super::signature::sign;
use super::story::Event;
use crate::mailbox::{Callback, Channel, Content, Message, Sms};
use crate::metrics::CallbackResult;
use crate::stamp::Stamp;
use crate::state::Shared;

/// Pause before a callback is tried again, times the number of tries.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Runs the stories.
#[derive(Debug)]
pub struct Callbacks {
    shared: Arc<Shared>,
    client: reqwest::Client,
    /// Stories that may run at once.
    stories: Arc<Semaphore>,
    requests: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Callbacks {
    pub fn new(shared: Arc<Shared>, stop: CancellationToken) -> anyhow::Result<Self> {
        let options = &shared.options.callbacks;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(options.timeout)
            .tcp_nodelay(true)
            .build()?;
        Ok(Self {
            client,
            stories: Arc::new(Semaphore::new(options.pending)),
            requests: Semaphore::new(options.concurrency),
            tasks: TaskTracker::new(),
            stop,
            shared,
        })
    }

    /// Starts a story in the background.
    pub fn play(self: &Arc<Self>, message: Arc<Message>, events: Vec<(Duration, Event)>) {
        let Ok(slot) = Arc::clone(&self.stories).try_acquire_owned() else {
            self.shared.stats.callback(CallbackResult::Dropped);
            return;
        };
        let this = Arc::clone(self);
        let start = Instant::now();
        self.tasks.spawn(async move {
            tokio::select! {
                () = this.tell(&message, start, events) => {}
                () = this.stop.cancelled() => this.shared.stats.callback(CallbackResult::Dropped),
            }
            drop(slot);
        });
    }

    /// Returns when no story runs any more.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Statuses and callbacks run side by side: a target that hangs must not hold a status up.
    /// Both are polled in this order, so a status holds before it is told.
    async fn tell(&self, message: &Arc<Message>, start: Instant, events: Vec<(Duration, Event)>) {
        let Content::Sms(sms) = &message.content else {
            return;
        };
        let is_move = |event: &(Duration, Event)| matches!(event.1, Event::Move { .. });
        let (moves, calls): (Vec<_>, Vec<_>) = events.into_iter().partition(is_move);
        futures::future::join(
            self.run(message, sms, start, moves),
            self.run(message, sms, start, calls),
        )
        .await;
    }

    async fn run(
        &self,
        message: &Arc<Message>,
        sms: &Sms,
        start: Instant,
        events: Vec<(Duration, Event)>,
    ) {
        for (at, event) in events {
            tokio::time::sleep_until(start + at).await;
            match event {
                Event::Move { status, error_code } => {
                    sms.move_to(status, error_code, Stamp::now());
                }
                Event::Lose { status } if sms.status_callback.is_some() => {
                    note(sms, status, "lost on purpose".to_owned());
                }
                Event::Lose { .. } => {}
                Event::Call { status, error_code } => {
                    self.call(message, sms, status, error_code).await;
                }
            }
            self.shared.mailbox.changed(message);
        }
    }

    async fn call(&self, message: &Message, sms: &Sms, status: &'static str, code: Option<u32>) {
        let Some(target) = sms.status_callback.as_deref() else {
            return;
        };
        if !allowed(target, &self.shared.options.callbacks.allowed_hosts) {
            self.shared.stats.callback(CallbackResult::Refused);
            note(sms, status, "refused: the host is not allowed".to_owned());
            return;
        }
        // The semaphore is never closed, so this waits and does not fail.
        let _permit = self.requests.acquire().await;
        let fields = fields(&self.shared.options.twilio_account_sid, message, sms, status, code);
        let (result, text) = self.post(target, &fields).await;
        self.shared.stats.callback(result);
        note(sms, status, text);
    }

    async fn post(&self, target: &str, fields: &[(String, String)]) -> (CallbackResult, String) {
        let signature = sign(&self.shared.options.twilio_auth_token, target, fields);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let attempts = self.shared.options.callbacks.attempts.max(1);
        let mut text = String::new();
        for attempt in 1..=attempts {
            let sent = self
                .client
                .post(target)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
                .header("X-Twilio-Signature", &signature)
                .header("I-Twilio-Idempotency-Token", idempotency_token(fields))
                .body(body.clone())
                .send()
                .await;
            match sent {
                Ok(response) if !response.status().is_server_error() => {
                    let status = response.status().as_u16();
                    let result = if response.status().is_success() {
                        CallbackResult::Answered
                    } else {
                        CallbackResult::Failed
                    };
                    return (result, format!("answered {status}"));
                }
                Ok(response) => text = format!("answered {}", response.status().as_u16()),
                Err(error) if error.is_timeout() => "timed out".clone_into(&mut text),
                Err(_) => "not reachable".clone_into(&mut text),
            }
            if attempt < attempts {
                tokio::time::sleep(RETRY_PAUSE * attempt).await;
            }
        }
        (CallbackResult::Failed, text)
    }
}

fn note(sms: &Sms, status: &'static str, result: String) {
    sms.note_callback(Callback { status, at: Stamp::now().at.to_rfc3339(), result });
}

/// The same for every try of one status, so that a receiver may drop repeats.
fn idempotency_token(fields: &[(String, String)]) -> String {
    let field = |name| fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value);
    format!("{}-{}", field("MessageSid"), field("MessageStatus"))
}

/// Whether a callback may go to this URL: only to this machine, or to a host that was named.
pub(super) fn allowed(target: &str, extra: &[String]) -> bool {
    let Ok(url) = Url::parse(target) else {
        return false;
    };
    match url.host() {
        Some(Host::Ipv4(ip)) if ip.is_loopback() => true,
        Some(Host::Ipv6(ip)) if ip.is_loopback() => true,
        Some(Host::Domain("localhost")) => true,
        _ => url.host_str().is_some_and(|host| extra.iter().any(|name| name == host)),
    }
}

fn fields(
    account_sid: &str,
    message: &Message,
    sms: &Sms,
    status: &'static str,
    error_code: Option<u32>,
) -> Vec<(String, String)> {
    let to = message.to.first().map_or("", String::as_str);
    let mut fields = vec![
        ("AccountSid", account_sid),
        ("ApiVersion", API_VERSION),
        ("From", &message.from),
        ("MessageSid", &sms.sid),
        ("MessageStatus", status),
        ("SmsSid", &sms.sid),
        ("SmsStatus", status),
        ("To", to),
    ];
    if let Some(service) = &sms.messaging_service_sid {
        fields.push(("MessagingServiceSid", service));
    }
    if message.channel == Channel::Whatsapp {
        fields.push(("ChannelPrefix", "whatsapp"));
        fields.push(("ChannelToAddress", number(to)));
        match status {
            "delivered" => fields.push(("EventType", "DELIVERED")),
            "read" => fields.push(("EventType", "READ")),
            _ => {}
        }
    }
    let code = error_code.map(|code| code.to_string());
    if let Some(code) = &code {
        fields.push(("ErrorCode", code));
    }
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn only_this_machine_and_named_hosts_are_called() {
        for target in
            ["http://127.0.0.1:1/x", "http://127.8.8.8/", "http://[::1]:8/", "http://localhost/"]
        {
            assert!(allowed(target, &[]), "{target}");
        }
        let named = ["gateway".to_owned()];
        assert!(allowed("https://gateway:8080/x", &named));
        for target in [
            "http://10.0.0.1/",
            "http://169.254.169.254/latest",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost.example.test/",
            "http://localhost@10.0.0.1/",
            "nonsense",
        ] {
            assert!(!allowed(target, &named), "{target}");
        }
    }
}
