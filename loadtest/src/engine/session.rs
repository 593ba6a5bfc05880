//! A target with open receivers and warm senders, and the ledger of all its steps. It is opened
//! once and runs as many steps as it is asked for; receivers are never restarted in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::live::Live;
use super::probe;
use crate::agent::lead::Lead;
use crate::agent::part::Part;
use crate::clock::now_ns;
use crate::failure::Failure;
use crate::intake::{Channel, Intake};
use crate::ledger::{Afterwards, Ledger};
use crate::limits;
use crate::load::Sending;
use crate::load::goose::Driver;
use crate::load::post::{Poster, Stamping, recipients};
use crate::load::users::Users;
use crate::model::{Kind, Latency, Status, Step};
use crate::progress;
use crate::receivers::{Receivers, Seat};
use crate::reconcile::Sources;
use crate::recorder::Recorder;
use crate::scenario::Scenario;
use crate::sinks::Sinks;
use crate::target::Target;
use crate::tokens;

/// Descriptors that open load leaves for everything else.
const FILES_KEPT: u64 = 128;
const IN_FLIGHT_MIN: u64 = 8;

/// What a session is opened for.
pub struct SessionPlan<'a> {
    pub scenario: &'a Scenario,
    pub driver: Driver,
    pub stamping: Stamping,
    pub neighbour_key: Option<String>,
    /// Where interval logs go; none are written without it.
    pub logs: Option<&'a Path>,
    pub judge_timing: bool,
    /// Whether nothing is drawn, not even on a terminal.
    pub quiet: bool,
    pub stop: CancellationToken,
    /// Who leads, if this is one of several generators.
    pub led: Option<Arc<Lead>>,
}

/// An open target.
pub struct Session {
    pub target: Target,
    /// In every mark of this session's notifications.
    pub run: u32,
    pub started_ns: u64,
    pub live: Live,
    /// What the harness alone needs, if it was measured.
    pub null_target: Option<Latency>,
    pub(super) ledger: Ledger,
    pub(super) recorder: Option<Recorder>,
    pub(super) intake: Arc<Intake>,
    pub(super) receivers: Arc<Receivers>,
    pub(super) sinks: Option<Sinks>,
    /// Counters of the platform, to reconcile with.
    pub(super) counters: Sources,
    pub(super) sending: Arc<Sending>,
    pub(super) users: Arc<Users>,
    pub(super) scenario: Scenario,
    pub(super) driver: Driver,
    pub(super) neighbour_key: Option<String>,
    pub(super) judge_timing: bool,
    pub(super) in_flight_max: usize,
    pub(super) stop: CancellationToken,
    /// The ledger's numbers of the steps that were returned.
    pub(super) numbers: Vec<u32>,
    pub(super) overflow_told: u64,
    pub(super) outside_told: u64,
    pub(super) led: Option<Arc<Lead>>,
}

impl Session {
    /// Checks what can be checked, mints tokens and opens every receiver.
    pub async fn open(plan: SessionPlan<'_>, target: Target) -> Result<Self, Failure> {
        let scenario = plan.scenario.clone();
        let part = plan.led.as_ref().map_or(Part::WHOLE, |lead| lead.part);
        if plan.led.is_none() {
            // Of several generators, the one that leads does to the platform what is to be done.
            super::faults::check(&scenario, &target, plan.neighbour_key.as_deref())?;
        }
        let in_flight_max = in_flight(&scenario, part)?;
        let channels = channels(&scenario);
        receivable(&channels, &target)?;
        let run = plan.led.as_ref().map_or_else(rand::random, |lead| lead.run);
        let mut poster = poster(&scenario, &target, run, part);
        poster.stamping = plan.stamping;
        let names: Vec<String> = poster.recipients.iter().map(|person| person.id.clone()).collect();
        let started_ns = plan.led.as_ref().map_or_else(now_ns, |lead| lead.started_ns);
        let started_at = crate::clock::utc_now();
        let intake = Arc::new(Intake::default());
        let opening = open_receivers(&target, run, &names, Arc::clone(&intake), plan.quiet);
        let receivers = tokio::select! {
            opened = opening => opened?,
            () = plan.stop.cancelled() => {
                return Err(Failure::Failed("stopped before the first step".to_owned()));
            }
        };
        let sinks = probe::open_sinks(&target, run, &channels, &poster.recipients, &intake).await?;
        let sending = Sending::new(
            Arc::clone(&intake),
            poster,
            target.authority.clone(),
            target.accepted_status,
            scenario.timeout,
            plan.stop.clone(),
        );
        let sending = Arc::new(sending.of_part(part));
        let users = users(&scenario, part);
        let counters = match &plan.led {
            Some(_) => Sources::none(),
            None => Sources::new(&target, run).until(plan.stop.clone()),
        };
        Ok(Self {
            counters,
            target,
            run,
            started_ns,
            live: Live::default(),
            null_target: None,
            ledger: Ledger::new(started_ns).of_part(part),
            recorder: recorder(plan.logs, started_at)?,
            intake,
            receivers: Arc::new(receivers),
            sinks,
            users: Arc::new(Users::new(Arc::clone(&sending), users)),
            sending,
            scenario,
            driver: plan.driver,
            neighbour_key: plan.neighbour_key,
            judge_timing: plan.judge_timing,
            in_flight_max,
            stop: plan.stop,
            numbers: Vec::new(),
            overflow_told: 0,
            outside_told: 0,
            led: plan.led,
        })
    }

    /// What arrived for steps after they had been judged is told where it belongs.
    pub fn tell_afterwards(&self, steps: &mut [Step]) {
        for (number, step) in self.numbers.iter().copied().zip(steps) {
            tell_afterwards(&self.ledger.afterwards(number), step);
        }
    }

    /// What arrived for each step of the ledger after it had been judged.
    pub fn afterwards(&self) -> BTreeMap<u32, Afterwards> {
        self.numbers.iter().map(|number| (*number, self.ledger.afterwards(*number))).collect()
    }

    /// The number in the run of the next notification.
    pub fn next_number(&self) -> u64 {
        self.sending.next_number()
    }

    /// Goes on from a number that all generators agree on.
    pub fn go_on_from(&self, number: u64) {
        self.sending.go_on_from(number);
    }

    /// Where everything that happens goes in; for the selftest, which puts wrong entries there.
    pub fn intake(&self) -> Arc<Intake> {
        Arc::clone(&self.intake)
    }

    /// Closes receivers and sinks in an orderly way.
    pub async fn close(self) {
        if let Some(sinks) = self.sinks {
            sinks.stop().await;
        }
        // Disturbances, the only others that hold them, have ended with their step.
        if let Some(receivers) = Arc::into_inner(self.receivers) {
            receivers.close().await;
        }
    }
}

/// Amends a step by what arrived after it had been judged, and says so.
pub fn tell_afterwards(after: &Afterwards, step: &mut Step) {
    after.amend(step);
    let moved: u64 = after
        .moved
        .values()
        .map(|moved| {
            moved.delivered_to_duplicate
                + moved.delivered_to_corrupt
                + moved.late_to_duplicate
                + moved.late_to_corrupt
        })
        .sum();
    let tell = [
        (after.arrived, "deliveries that were judged lost or unknown arrived later"),
        (moved, "deliveries arrived again, or with other content, after the step"),
        (after.strangers, "deliveries reached somebody else after the step"),
    ];
    for (count, what) in tell.into_iter().filter(|(count, _)| *count > 0) {
        step.verdict.status = step.verdict.status.max(Status::Suspect);
        step.verdict.reasons.push(format!("{count} {what}"));
    }
}

/// Whether receipts on all channels can be seen.
fn receivable(channels: &[Channel], target: &Target) -> Result<(), Failure> {
    if channels.iter().all(|channel| *channel == Channel::InApp) || target.sandbox.is_some() {
        return Ok(());
    }
    Err(Failure::Usage(
        "e-mail, SMS, WhatsApp and webhooks are measured at the sandbox of a local `campana up`, \
         and none is known"
            .to_owned(),
    ))
}

/// Makes the requests of one share of a run, for its own recipients.
fn poster(scenario: &Scenario, target: &Target, run: u32, part: Part) -> Poster {
    let channels = channels(scenario);
    let webhooks = target.sandbox.as_ref().and_then(|url| url.join("webhook/").ok());
    let webhooks = webhooks.as_ref().map(Url::as_str);
    let mut poster =
        Poster::new(run, &target.authority, &target.path, &target.api_key, target.body);
    poster.payload_bytes = scenario.payload_bytes;
    poster.recipients = part.own(recipients(run, scenario.recipients, &channels, webhooks));
    poster.idempotency_keys = scenario.idempotency_keys;
    poster
}

/// Users of the largest step.
fn users(scenario: &Scenario, part: Part) -> u32 {
    scenario.steps.iter().map(|step| part.count(step.size)).max().unwrap_or(0)
}

fn recorder(logs: Option<&Path>, started_at: OffsetDateTime) -> Result<Option<Recorder>, Failure> {
    logs.map(|dir| Recorder::new(dir, started_at)).transpose()
}

/// All channels that some step uses.
pub fn channels(scenario: &Scenario) -> Vec<Channel> {
    let mut all: Vec<Channel> =
        scenario.steps.iter().flat_map(|step| step.channels.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// How many requests open load may have in flight, with the descriptors that there are.
fn in_flight(scenario: &Scenario, part: Part) -> Result<usize, Failure> {
    let limit = limits::open_files();
    let users = users(scenario, part);
    let recipients = u64::from(part.count(scenario.recipients));
    let open = scenario.steps.iter().any(|step| step.kind == Kind::Open);
    let least = u64::from(users).max(if open { IN_FLIGHT_MIN } else { 0 });
    limits::require(recipients + least, limit)?;
    let free = limit.saturating_sub(recipients + FILES_KEPT + u64::from(users));
    let share = scenario.in_flight_max.div_ceil(part.of);
    let most = u64::from(share).min(free.max(IN_FLIGHT_MIN));
    Ok(usize::try_from(most).unwrap_or(usize::MAX))
}

async fn open_receivers(
    target: &Target,
    run: u32,
    names: &[String],
    intake: Arc<Intake>,
    quiet: bool,
) -> Result<Receivers, Failure> {
    let count = names.len() as u64;
    let bar = progress::bar("tokens", count, quiet);
    let minted = tokens::mint(target, names, || bar.inc(1)).await?;
    bar.finish_and_clear();
    let seats = seats(target, minted)?;
    let bar = progress::bar("receivers", count, quiet);
    let opened = Receivers::open(target.protocol, run, seats, intake, || bar.inc(1)).await;
    bar.finish_and_clear();
    opened
}

/// One connection for each token, in the order of the recipients.
pub fn seats(target: &Target, minted: Vec<tokens::Token>) -> Result<Vec<Seat>, Failure> {
    let seat = |(recipient, token): (u32, tokens::Token)| {
        let url = target.ws_url.clone().or(token.ws_url).ok_or_else(|| {
            Failure::Usage("the gateway names no WebSocket address; give --ws-url".to_owned())
        })?;
        Ok(Seat { recipient, url, token: token.token, expect: token.channel, shared: None })
    };
    (0_u32..).zip(minted).map(seat).collect()
}
