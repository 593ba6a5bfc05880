//! Does to the platform what a scenario says, at its moment, and undoes it. Only processes that
//! up.json names are ever signalled. What could not be done is told, and makes the step SUSPECT.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ns;
use crate::failure::Failure;
use crate::intake::{Channel, Intake};
use crate::load::Sending;
use crate::load::open::OpenLoad;
use crate::load::post::{Poster, recipients};
use crate::receivers::Receivers;
use crate::scenario::{Arrivals, Fault, Scenario, What};
use crate::target::Target;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const NOISE_RECIPIENTS: u32 = 100;
const NOISE_IN_FLIGHT_MAX: usize = 2_000;
const NOISE_TAKE_EVERY: Duration = Duration::from_millis(50);

/// What disturbances need.
#[derive(Clone)]
pub struct Tools {
    pub target: Target,
    /// Those of this process, if it has any.
    pub receivers: Option<Arc<Receivers>>,
    pub neighbour_key: Option<String>,
    pub run: u32,
    pub seed: u64,
    pub stop: CancellationToken,
}

/// Tells before the run what will be missing.
pub fn check(scenario: &Scenario, target: &Target, neighbour: Option<&str>) -> Result<(), Failure> {
    let all = scenario.steps.iter().flat_map(|step| &step.faults);
    for what in all.map(|fault| &fault.what) {
        let missing = match what {
            What::SlowProvider { .. } if target.sandbox.is_none() => {
                Some("slow_provider needs the sandbox of a local `campana up`".to_owned())
            }
            What::NoisyTenant { .. } if neighbour.is_none() => Some(
                "noisy_tenant needs --neighbour-key, the key of another tenant; make one with \
                 `campana keys create --name noise --tenant neighbour`"
                    .to_owned(),
            ),
            What::Restart { process } | What::Pause { process, .. }
                if target.pid_of(process).is_none() =>
            {
                Some(format!("no process {process} of a local `campana up` is known"))
            }
            _ => None,
        };
        if let Some(what) = missing {
            return Err(Failure::Usage(what));
        }
    }
    Ok(())
}

/// Runs all disturbances of a step, whose measured part begins at `from_ns`; returns what could
/// not be done, when all are over.
pub async fn run(faults: Vec<Fault>, from_ns: u64, tools: Tools) -> Vec<String> {
    let mut tasks = tokio::task::JoinSet::new();
    for fault in faults {
        let tools = tools.clone();
        tasks.spawn(async move {
            let at_ns = from_ns.saturating_add(u64::try_from(fault.at.as_nanos()).unwrap_or(0));
            let wait = Duration::from_nanos(at_ns.saturating_sub(now_ns()));
            if !tools.sleep(wait).await {
                return None;
            }
            let done = tools.cause(&fault.what).await;
            done.err().map(|why| format!("{}: {why}", fault.text()))
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

impl Tools {
    /// False if the run was stopped meanwhile.
    async fn sleep(&self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.stop.cancelled() => false,
        }
    }

    async fn cause(&self, what: &What) -> Result<(), String> {
        match what {
            What::Reconnect { share } => {
                let receivers = self.receivers.as_ref().ok_or("there are no receivers here")?;
                let returned = receivers.drop_and_return(*share).await;
                if returned.back < returned.dropped || returned.unrecovered > 0 {
                    return Err(format!(
                        "of {} receivers {} came back, {} without what they had missed",
                        returned.dropped, returned.back, returned.unrecovered
                    ));
                }
                Ok(())
            }
            What::SlowProvider { channel, delay, lasts } => {
                self.slow_provider(*channel, *delay, *lasts).await
            }
            What::NoisyTenant { rate_per_s, lasts } => self.noise(*rate_per_s, *lasts).await,
            What::Restart { process } => self.signal(process, Signal::TERM),
            What::Pause { process, lasts } => {
                self.signal(process, Signal::STOP)?;
                self.sleep(*lasts).await;
                self.signal(process, Signal::CONT)
            }
        }
    }

    fn signal(&self, process: &str, signal: Signal) -> Result<(), String> {
        let pid = self.target.current_pid(process).ok_or("its process id is not known")?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no such process id")?;
        kill_process(pid, signal).map_err(|error| error.to_string())
    }

    async fn slow_provider(
        &self,
        channel: Channel,
        delay: Duration,
        lasts: Duration,
    ) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Added {
            id: String,
        }
        let sandbox = self.target.sandbox.as_ref().ok_or("there is no sandbox")?;
        let protocol = match channel {
            Channel::Email => "smtp",
            Channel::Webhook => "webhook",
            Channel::Sms | Channel::Whatsapp | Channel::InApp => "twilio",
        };
        let rule = json!({
            "name": "load test",
            "channel": protocol,
            "effect": {"kind": "delay", "delay": {"kind": "fixed", "ms": delay.as_millis() as u64}},
        });
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(|error| error.to_string())?;
        let url = sandbox.join("api/faults").map_err(|error| error.to_string())?;
        let answer = client.post(url).json(&rule).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let added: Added = match answer {
            Ok(answer) => answer.json().await.map_err(|error| error.to_string())?,
            Err(error) => return Err(error.to_string()),
        };
        self.sleep(lasts).await;
        let url = sandbox.join(&format!("api/faults/{}", added.id));
        let url = url.map_err(|error| error.to_string())?;
        let removed = client.delete(url).send().await;
        removed.and_then(reqwest::Response::error_for_status).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Another tenant's load, of which nothing is kept.
    async fn noise(&self, rate_per_s: f64, lasts: Duration) -> Result<(), String> {
        let key = self.neighbour_key.as_deref().ok_or("there is no --neighbour-key")?;
        let target = &self.target;
        // A mark of another run: what arrives can never be taken for ours.
        let run = !self.run;
        let mut poster = Poster::new(run, &target.authority, &target.path, key, target.body);
        poster.payload_bytes = 256;
        poster.recipients = recipients(run, NOISE_RECIPIENTS, &[Channel::InApp], None);
        let intake = Arc::new(Intake::default());
        let sending = Arc::new(Sending::new(
            Arc::clone(&intake),
            poster,
            target.authority.clone(),
            target.accepted_status,
            REQUEST_TIMEOUT,
            self.stop.clone(),
        ));
        let load = OpenLoad {
            rate_per_s,
            arrivals: Arrivals::Poisson,
            seed: !self.seed,
            warm_up: Duration::ZERO,
            hold: lasts,
            recipients: NOISE_RECIPIENTS,
            fan_out: 1,
            channels: vec![Channel::InApp],
            in_flight_max: NOISE_IN_FLIGHT_MAX,
        };
        let pool = load.prepare(&sending).await.map_err(|error| error.to_string())?;
        let mut running = std::pin::pin!(load.run(sending, Arc::clone(&pool), now_ns()));
        let mut thrown_away = Vec::new();
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                () = tokio::time::sleep(NOISE_TAKE_EVERY) => intake.take_into(&mut thrown_away),
            }
        };
        pool.close().await;
        ended.map(|_| ()).map_err(|error| error.to_string())
    }
}
