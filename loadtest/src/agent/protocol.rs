//! What coordinator and agent say to each other: JSON lines, each of limited length. The first
//! lines settle version and token (see [`super::secret`]); then the coordinator gives orders and
//! the agent reports. Everything that is read is checked before it is used. Data and pure checks.
//!
//! The protocol is not encrypted. It changes only together with [`VERSION`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::part::Part;
use crate::engine::live::Second as LiveSecond;
use crate::intake::Channel;
use crate::ledger::{Afterwards, BookPart, Second, Times};
use crate::model::{Classes, Kind, Series, Verdict};
use crate::scenario::{RECIPIENTS_MAX, StepSpec};

/// Both sides must speak the same.
pub const VERSION: u32 = 1;
/// Before anybody has shown that he knows the token.
pub const HELLO_BYTES_MAX: usize = 4 << 10;
/// An order: a scenario of 200 steps has some tens of kilobytes.
pub const ORDER_BYTES_MAX: usize = 512 << 10;
/// A report: the series of a day and the waves of 10,000 have some tens of megabytes.
pub const REPORT_BYTES_MAX: usize = 64 << 20;

const STEPS_MAX: usize = 200;
const TEXT_CHARS_MAX: usize = 500;
const SIZE_MAX: u32 = 50_000;
const RATE_MAX: f64 = 200_000.0;
const REPEAT_MAX: u32 = 10_000;
const TIME_MAX: Duration = Duration::from_secs(172_800);
const PAYLOAD_BYTES_MAX: u32 = 60_000;
const IN_FLIGHT_MAX: u32 = 20_000;
const FAN_OUT_MAX: u32 = 1_000;
const FAULTS_MAX: usize = 20;
/// More than any run counts; sums of it fit.
const COUNT_MAX: u64 = 1 << 48;

/// What went wrong, in words that do not change; docs: loadtest/README.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Another version of the protocol.
    Version,
    /// The token is not the agent's.
    Unauthorized,
    /// Another coordinator is at work.
    Busy,
    /// A line longer than allowed.
    TooLong,
    /// Not JSON of the expected shape.
    Malformed,
    /// Something else was to be said now.
    Unexpected,
    /// A number out of its bounds.
    Limit,
    /// Nothing was heard for too long.
    TimedOut,
    /// The connection ended.
    Gone,
    /// The load could not be made; the message says why.
    Failed,
}

impl Code {
    /// As written.
    pub fn text(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Unauthorized => "unauthorized",
            Self::Busy => "busy",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Unexpected => "unexpected",
            Self::Limit => "limit",
            Self::TimedOut => "timed_out",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

/// Why the other side is not served any longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} [{}]", code.text())]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

impl Refusal {
    /// With its message cut to a length that fits a line of a terminal or two.
    pub fn new(code: Code, message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        let plain = text.chars().filter(|letter| !letter.is_control());
        Self { code, message: plain.take(TEXT_CHARS_MAX).collect() }
    }
}

/// The agent's first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    pub harness: String,
    pub nonce: String,
}

/// The coordinator's first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub protocol: u32,
    pub nonce: String,
    pub proof: String,
}

/// The agent's second line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greeting {
    Welcome(Welcome),
    Refused(Refusal),
}

/// Who the agent is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Welcome {
    /// That the agent knows the token as well.
    pub proof: String,
    pub host: String,
    pub pid: u32,
    pub cores: u32,
    /// Which start of which machine its clock belongs to; 0 if unknown.
    pub boot: u32,
    pub harness: String,
}

/// From the coordinator.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What does your clock say?
    Ping { id: u64 },
    /// Open your receivers and warm up your senders.
    Open(Box<OpenOrder>),
    /// Prepare a step; notifications are numbered on from here.
    Step { spec: Box<StepSpec>, number: u64 },
    /// Begin (or release the wave) at this instant of your clock.
    Go { at_ns: u64 },
    /// End the step early, and report it.
    Stop,
    /// Tell what came late, and close everything.
    Close,
}

/// What a run is about.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenOrder {
    pub part: Part,
    pub run: u32,
    /// The run's beginning by the agent's clock.
    pub started_ns: u64,
    pub target: TargetOrder,
    pub seed: u64,
    /// Of the whole run.
    pub recipients: u32,
    pub payload_bytes: u32,
    pub timeout: Duration,
    pub deadline: Duration,
    pub in_flight_max: u32,
    pub idempotency_keys: bool,
    pub judge_timing: bool,
    /// Every n-th request asks for stamps; none if 0.
    pub stamps_every: u64,
    /// Whether bare tasks drive the users, instead of goose.
    pub tasks: bool,
    /// All steps that are known; later ones may differ in size by nothing but the rate.
    pub steps: Vec<StepSpec>,
}

/// Where the load goes. Has the key in it: never print it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetOrder {
    pub gateway: Url,
    pub ws_url: Option<Url>,
    pub sandbox: Option<Url>,
    pub api_key: String,
}

/// From the agent.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    Pong {
        id: u64,
        now_ns: u64,
    },
    /// All receivers are subscribed.
    Opened {
        receivers: u32,
    },
    /// Everything is ready for the next instant.
    Ready,
    Progress(Box<Progress>),
    /// Seconds that are over, in order.
    Seconds(Vec<Second>),
    /// The step is over.
    Step(Box<StepPart>),
    /// Everything is closed; what arrived late, by the ledger's number of the step.
    Closed {
        afterwards: BTreeMap<u32, Afterwards>,
    },
    /// Still there.
    Alive,
    Failed(Refusal),
}

/// The step so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    pub phase: String,
    pub done: f64,
    pub in_flight: u64,
    pub requests: u64,
    pub elsewhere: u64,
    pub lanes: Vec<(Channel, Classes)>,
    pub second: Option<LiveSecond>,
}

/// A step as one generator measured it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepPart {
    pub book: BookPart,
    /// Notifications that were meant to be sent in the measured part.
    pub intended: u64,
    pub complaints: Vec<String>,
    pub overflow: u64,
    pub outside: u64,
    /// Whether seconds are missing because nobody read them.
    pub overrun: bool,
    pub recovery_s: Option<f64>,
    /// The number in the run of the next notification.
    pub next_number: u64,
    /// Overshoot of 1 ms timers.
    pub canary: Times,
    pub steal_percent: f64,
    pub pressure_percent: Option<f64>,
    /// Of the agent's process, in the measured part and what follows.
    pub cpu_s: f64,
    pub cpu_percent_of_core: f64,
    pub rss_bytes: u64,
    /// CPU, memory and timers by second.
    pub sampled: Series,
    pub counters: BTreeMap<String, f64>,
    pub verdict: Verdict,
}

/// A number within its bounds.
fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    low: T,
    high: T,
) -> Result<(), Refusal> {
    // A NaN is in no range.
    if value >= low && value <= high {
        return Ok(());
    }
    let message = format!("{name} is {value}; allowed is {low} to {high}");
    Err(Refusal::new(Code::Limit, message))
}

fn time(name: &str, value: Duration) -> Result<(), Refusal> {
    within(name, value.as_secs_f64(), 0.0, TIME_MAX.as_secs_f64())
}

impl OpenOrder {
    /// Whether everything is within its bounds.
    pub fn check(&self) -> Result<(), Refusal> {
        if !self.part.is_possible() {
            return Err(Refusal::new(Code::Limit, "a part that cannot be"));
        }
        within("recipients", self.recipients, self.part.of, RECIPIENTS_MAX)?;
        within("payload_bytes", self.payload_bytes, 1, PAYLOAD_BYTES_MAX)?;
        within("in_flight_max", self.in_flight_max, 1, IN_FLIGHT_MAX)?;
        within("steps", self.steps.len(), 0, STEPS_MAX)?;
        time("timeout", self.timeout)?;
        time("deadline", self.deadline)?;
        self.steps.iter().try_for_each(check_spec)
    }
}

/// Whether a step is within the bounds that scenario files have.
pub fn check_spec(spec: &StepSpec) -> Result<(), Refusal> {
    let users = u32::from(spec.kind != Kind::Open);
    within("size", spec.size, users, SIZE_MAX)?;
    let rate = if spec.kind == Kind::Open { 0.1 } else { 0.0 };
    within("rate_per_s", spec.rate_per_s, rate, RATE_MAX)?;
    within("repeat", spec.repeat, 0, REPEAT_MAX)?;
    within("fan_out", spec.fan_out, 1, FAN_OUT_MAX)?;
    within("channels", spec.channels.len(), 1, Channel::ALL.len())?;
    within("faults", spec.faults.len(), 0, FAULTS_MAX)?;
    within("the length of a name", spec.name.chars().count(), 1, TEXT_CHARS_MAX)?;
    let times = [
        ("warm_up", spec.warm_up),
        ("hold", spec.hold),
        ("drain", spec.drain),
        ("settle", spec.settle),
    ];
    times.into_iter().try_for_each(|(name, value)| time(name, value))?;
    let mut channels = spec.channels.clone();
    channels.sort_unstable();
    channels.dedup();
    if channels.len() != spec.channels.len() {
        return Err(Refusal::new(Code::Limit, "a channel twice"));
    }
    Ok(())
}

fn counted(classes: &Classes) -> Result<(), Refusal> {
    let all = [
        classes.sent,
        classes.accepted,
        classes.delivered,
        classes.late,
        classes.lost,
        classes.duplicate,
        classes.corrupt,
        classes.shed,
        classes.rejected,
        classes.unknown,
        classes.dead,
        classes.unknown_received,
        classes.phantom,
        classes.reordered,
        classes.reorder_depth_max,
    ];
    all.into_iter().try_for_each(|count| within("a count", count, 0, COUNT_MAX))
}

impl Order {
    /// Whether everything is within its bounds.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Open(open) => open.check(),
            Self::Step { spec, number } => {
                within("number", *number, 0, COUNT_MAX)?;
                check_spec(spec)
            }
            Self::Ping { .. } | Self::Go { .. } | Self::Stop | Self::Close => Ok(()),
        }
    }
}

impl Report {
    /// Whether everything is within its bounds, so that sums of it are.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Step(part) => part.check(),
            Self::Progress(progress) => {
                within("lanes", progress.lanes.len(), 0, Channel::ALL.len())?;
                within("in_flight", progress.in_flight, 0, COUNT_MAX)?;
                within("requests", progress.requests, 0, COUNT_MAX)?;
                within("elsewhere", progress.elsewhere, 0, COUNT_MAX)?;
                progress.lanes.iter().try_for_each(|(_, classes)| counted(classes))
            }
            _ => Ok(()),
        }
    }
}

impl StepPart {
    fn check(&self) -> Result<(), Refusal> {
        let book = &self.book;
        book.check().map_err(|why| Refusal::new(Code::Malformed, why))?;
        for lane in &book.lanes {
            counted(&lane.classes)?;
            counted(&lane.warm_up)?;
        }
        let counts = [
            self.intended,
            self.overflow,
            self.outside,
            self.next_number,
            book.requests,
            book.warm_up_requests,
            book.phantom_elsewhere,
            book.recovered,
            book.skipped,
            book.saturated,
            book.faults.reused_slots,
            book.faults.stray_answers,
        ];
        counts.into_iter().try_for_each(|count| within("a count", count, 0, COUNT_MAX))?;
        let shares = [self.steal_percent, self.pressure_percent.unwrap_or(0.0)];
        shares.into_iter().try_for_each(|share| within("a share", share, 0.0, 100.0))?;
        within("cpu_s", self.cpu_s, 0.0, 1e9)?;
        within("cpu_percent_of_core", self.cpu_percent_of_core, 0.0, 1e6)?;
        let rows = self.sampled.at_s.len();
        if self.sampled.columns.values().any(|column| column.len() != rows) {
            return Err(Refusal::new(Code::Malformed, "a column without its seconds"));
        }
        Ok(())
    }
}
