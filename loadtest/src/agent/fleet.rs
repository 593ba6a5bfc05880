//! All agents of a run: started or connected to, told what the run is about, asked for their
//! clocks, and ended together. What they do in a step is in [`super::round`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::member::{Heard, Member};
use super::offset::{Offset, Trip};
use super::part::{PARTS_MAX, Part};
use super::protocol::{Code, OpenOrder, Order, Refusal, Report, TargetOrder};
use super::secret::Token;
use crate::clock::{now_ns, utc_now};
use crate::engine::faults::Tools;
use crate::engine::live::Live;
use crate::engine::session::tell_afterwards;
use crate::engine::{Options, faults};
use crate::failure::Failure;
use crate::ledger::Afterwards;
use crate::load::goose::Driver;
use crate::load::post::Stamping;
use crate::model::{Generator, Latency, Step};
use crate::procs::Process;
use crate::reconcile::Sources;
use crate::recorder::Recorder;
use crate::sampler::Plan;
use crate::scenario::Scenario;
use crate::target::Target;

/// Reports that wait; whoever cannot put one in waits.
const INBOX: usize = 256;
/// Questions about a clock: the fastest of them counts.
const TRIPS: u64 = 16;
/// An agent says something every two seconds.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Tokens and receivers of the largest run.
const OPEN_WITHIN: Duration = Duration::from_secs(900);
const CLOSE_WITHIN: Duration = Duration::from_secs(30);
/// The coordinator's own process, which makes no load.
const COORDINATOR: &str = "generator-coordinator";

/// From where the load comes, as typed.
#[derive(Clone, Debug, Default)]
pub struct Crew {
    /// Processes of this machine.
    pub processes: u32,
    /// Agents elsewhere, `host:port`.
    pub agents: Vec<String>,
    pub token_file: Option<PathBuf>,
}

impl Crew {
    /// Whether anybody but this process is to make load.
    pub fn is_wanted(&self) -> bool {
        self.processes > 0 || !self.agents.is_empty()
    }
}

/// The agents at work.
pub struct Fleet {
    pub target: Target,
    pub run: u32,
    pub started_ns: u64,
    pub live: Live,
    /// What the harness alone needs, if it was measured.
    pub null_target: Option<Latency>,
    pub(super) members: Vec<Member>,
    pub(super) inbox: mpsc::Receiver<Heard>,
    pub(super) counters: Sources,
    pub(super) recorder: Option<Recorder>,
    pub(super) scenario: Scenario,
    pub(super) judge_timing: bool,
    pub(super) neighbour_key: Option<String>,
    pub(super) stop: CancellationToken,
    /// The number in the run of the next notification.
    pub(super) next_number: u64,
    /// Of each step that was returned: members and their ledgers' numbers.
    pub(super) numbers: Vec<Vec<(usize, u32)>>,
    pub(super) steps: u32,
    driver: Driver,
    /// Set when an agent is gone: nothing more is asked of the others but to end.
    broken: bool,
    /// Reads the members' reports.
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Starts or reaches every agent, and has all receivers opened.
    pub async fn open(
        scenario: &Scenario,
        target: Target,
        options: &Options,
        logs: Option<&Path>,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        faults::check(scenario, &target, options.neighbour_key.as_deref())?;
        let crew = &options.crew;
        let count = crew.processes as usize + crew.agents.len();
        check(scenario, count)?;
        let token = match &crew.token_file {
            Some(file) => Some(Token::read(file)?),
            None => None,
        };
        let (tell, inbox) = mpsc::channel(INBOX);
        let (mut members, mut tasks) = (Vec::with_capacity(count), JoinSet::new());
        for index in 0..crew.processes as usize {
            members.push(Member::child(index, tell.clone(), &mut tasks).await?);
        }
        for address in &crew.agents {
            let token = token.as_ref().ok_or_else(|| {
                Failure::Usage("--agent needs --token-file, the agents' token".to_owned())
            })?;
            let index = members.len();
            members.push(Member::remote(index, address, token, tell.clone(), &mut tasks).await?);
        }
        drop(tell);
        let started_at = utc_now();
        let run = rand::random();
        let counters = Sources::new(&target, run).until(stop.clone());
        let mut fleet = Self {
            target,
            run,
            started_ns: now_ns(),
            live: Live::default(),
            null_target: None,
            members,
            inbox,
            counters,
            recorder: logs.map(|dir| Recorder::new(dir, started_at)).transpose()?,
            scenario: scenario.clone(),
            judge_timing: options.judge_timing && scenario.judge_timing,
            neighbour_key: options.neighbour_key.clone(),
            stop,
            next_number: 0,
            numbers: Vec::new(),
            steps: 0,
            driver: options.driver,
            broken: false,
            _tasks: tasks,
        };
        let opened = fleet.begin(options.stamping).await;
        match opened {
            Ok(()) => Ok(fleet),
            Err(failure) => {
                fleet.end().await;
                Err(failure)
            }
        }
    }

    async fn begin(&mut self, stamping: Stamping) -> Result<(), Failure> {
        let stop = self.stop.clone();
        let opening = async {
            self.set_clocks().await?;
            let of = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            for index in 0..self.members.len() {
                let part = Part { index: u32::try_from(index).unwrap_or(u32::MAX), of };
                let order = Order::Open(Box::new(self.order(part, index, stamping)));
                self.tell(index, &order).await?;
            }
            for _ in 0..self.members.len() {
                self.wait_for(|report| matches!(report, Report::Opened { .. })).await?;
            }
            Ok(())
        };
        tokio::select! {
            opened = tokio::time::timeout(OPEN_WITHIN, opening) => opened.unwrap_or_else(|_| {
                Err(Failure::Connect("the agents did not open their receivers in time".to_owned()))
            }),
            () = stop.cancelled() => Err(Failure::Failed("stopped before the first step".to_owned())),
        }
    }

    fn order(&self, part: Part, index: usize, stamping: Stamping) -> OpenOrder {
        let scenario = &self.scenario;
        OpenOrder {
            part,
            run: self.run,
            started_ns: self.members[index].offset.theirs(self.started_ns),
            target: TargetOrder {
                gateway: self.target.gateway.clone(),
                ws_url: self.target.ws_url.clone(),
                sandbox: self.target.sandbox.clone(),
                api_key: self.target.api_key.clone(),
            },
            seed: scenario.seed,
            recipients: scenario.recipients,
            payload_bytes: scenario.payload_bytes,
            timeout: scenario.timeout,
            deadline: scenario.deadline,
            in_flight_max: scenario.in_flight_max,
            idempotency_keys: scenario.idempotency_keys,
            judge_timing: self.judge_timing,
            stamps_every: match stamping {
                Stamping::Off => 0,
                Stamping::Every(every) => every,
            },
            tasks: self.driver == Driver::Tasks,
            steps: scenario.steps.clone(),
        }
    }

    /// Gives an order; an agent that cannot be told is gone.
    pub(super) async fn tell(&mut self, index: usize, order: &Order) -> Result<(), Failure> {
        let told = self.members[index].order(order).await;
        told.map_err(|refusal| self.lost(index, &refusal))
    }

    /// The next thing that some agent says.
    async fn hear(&mut self) -> Result<(usize, u64, Report), Failure> {
        let heard = tokio::time::timeout(SILENCE_MAX, self.inbox.recv()).await;
        let heard = heard.unwrap_or_default();
        let at_ns = heard.as_ref().map_or(0, |heard| heard.at_ns);
        let (member, report) = self.understand(heard)?;
        self.listen()?;
        Ok((member, at_ns, report))
    }

    /// Who said what, if the agents are all still there.
    pub(super) fn understand(&mut self, heard: Option<Heard>) -> Result<(usize, Report), Failure> {
        let Some(Heard { member, at_ns, what }) = heard else {
            self.broken = true;
            return Err(Failure::Failed("the agents say nothing any more".to_owned()));
        };
        self.members[member].heard_ns = at_ns;
        match what {
            Ok(Report::Failed(refusal)) | Err(refusal) => Err(self.lost(member, &refusal)),
            Ok(report) => Ok((member, report)),
        }
    }

    /// Whether every agent has said something lately.
    pub(super) fn listen(&mut self) -> Result<(), Failure> {
        let now = now_ns();
        let silent = |member: &Member| {
            Duration::from_nanos(now.saturating_sub(member.heard_ns)) > SILENCE_MAX
        };
        let Some(index) = self.members.iter().position(silent) else { return Ok(()) };
        let message = format!("nothing was heard for {} s", SILENCE_MAX.as_secs());
        Err(self.lost(index, &Refusal::new(Code::TimedOut, message)))
    }

    /// An agent is lost, and the run with it.
    fn lost(&mut self, index: usize, refusal: &Refusal) -> Failure {
        self.broken = true;
        let who = self.members[index].text();
        // Its text may come from elsewhere, and a terminal obeys what it is shown.
        let refusal = Refusal::new(refusal.code, &refusal.message);
        Failure::Failed(match refusal.code {
            Code::Gone => format!("{who} ended in the middle of the run: {refusal}"),
            _ => format!("{who}: {refusal}"),
        })
    }

    async fn wait_for(&mut self, wanted: impl Fn(&Report) -> bool) -> Result<usize, Failure> {
        loop {
            let (member, _, report) = self.hear().await?;
            if wanted(&report) {
                return Ok(member);
            }
        }
    }

    /// Asks every agent for its clock.
    pub(super) async fn set_clocks(&mut self) -> Result<(), Failure> {
        // Between two steps nobody listened; what was said meanwhile still lies in the inbox.
        let now = now_ns();
        self.members.iter_mut().for_each(|member| member.heard_ns = now);
        for index in 0..self.members.len() {
            let mut trips = Vec::new();
            for id in 0..TRIPS {
                let sent_ns = now_ns();
                self.tell(index, &Order::Ping { id }).await?;
                let trip = loop {
                    match self.hear().await? {
                        (member, at_ns, Report::Pong { id: answered, now_ns })
                            if member == index && answered == id =>
                        {
                            break Trip { sent_ns, theirs_ns: now_ns, received_ns: at_ns };
                        }
                        _ => {}
                    }
                };
                trips.push(trip);
            }
            let member = &mut self.members[index];
            let same = member.welcome.boot != 0 && member.welcome.boot == crate::clock::boot();
            member.offset = Offset::of(&trips, same).unwrap_or_default();
        }
        Ok(())
    }

    /// What a sampler of this machine shall watch.
    pub(super) fn watched(&self) -> Plan {
        Plan {
            started_ns: self.started_ns,
            processes: self.processes(),
            nats_monitor: self.target.nats_monitor.clone(),
            data_dir: self.target.data_dir.clone(),
            newest: self.live.sampled.clone(),
        }
    }

    /// The platform's processes of this machine, and the coordinator's own.
    pub fn processes(&self) -> Vec<Process> {
        let own = Process::alone(COORDINATOR, std::process::id());
        self.target.processes.iter().cloned().chain([own]).collect()
    }

    pub(super) fn tools(&self) -> Tools {
        Tools {
            target: self.target.clone(),
            receivers: None,
            neighbour_key: self.neighbour_key.clone(),
            run: self.run,
            seed: self.scenario.seed,
            stop: self.stop.clone(),
        }
    }

    /// Who makes the load, for run.json.
    pub fn generators(&self) -> Vec<Generator> {
        let of = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let generator = |(index, member): (usize, &Member)| {
            let part = Part { index: u32::try_from(index).unwrap_or(u32::MAX), of };
            Generator {
                name: member.name.clone(),
                host: member.welcome.host.clone(),
                recipients: part.count(self.scenario.recipients),
                driver: self.driver.name().to_owned(),
                place: member.place.clone(),
                harness_version: member.welcome.harness.clone(),
                cores: member.welcome.cores,
                clock: Some(clock_of(member.offset)),
            }
        };
        self.members.iter().enumerate().map(generator).collect()
    }

    /// What arrived for steps after they had been judged is told where it belongs.
    pub async fn tell_afterwards(&mut self, steps: &mut [Step]) -> Result<(), Failure> {
        if self.broken {
            return Ok(());
        }
        for index in 0..self.members.len() {
            self.tell(index, &Order::Close).await?;
        }
        let mut all: Vec<Option<std::collections::BTreeMap<u32, Afterwards>>> =
            vec![None; self.members.len()];
        let closing = async {
            while all.iter().any(Option::is_none) {
                // Whoever has closed may end at once.
                let Some(Heard { member, what, .. }) = self.inbox.recv().await else { break };
                match what {
                    Ok(Report::Closed { afterwards }) => all[member] = Some(afterwards),
                    Ok(Report::Failed(refusal)) | Err(refusal) if all[member].is_none() => {
                        return Err(self.lost(member, &refusal));
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        tokio::time::timeout(CLOSE_WITHIN, closing).await.unwrap_or_else(|_| {
            Err(Failure::Failed("the agents did not tell what came late".to_owned()))
        })?;
        for (members, step) in self.numbers.iter().zip(steps) {
            let mut sum = Afterwards::default();
            for (member, number) in members {
                let told = all[*member].as_ref().and_then(|all| all.get(number));
                sum.add(told.unwrap_or(&Afterwards::default()));
            }
            tell_afterwards(&sum, step);
        }
        Ok(())
    }

    /// Ends every agent that is left.
    pub async fn end(self) {
        let mut ending = JoinSet::new();
        for member in self.members {
            ending.spawn(member.end());
        }
        while ending.join_next().await.is_some() {}
    }
}

/// For run.json.
pub(super) fn clock_of(offset: Offset) -> crate::model::ClockOffset {
    let ms = |ns: f64| (ns / 1e3).round() / 1e3;
    crate::model::ClockOffset {
        offset_ms: ms(offset.ns as f64),
        error_ms: ms(offset.error_ns as f64),
        trip_ms: ms(offset.trip_ns as f64),
    }
}

/// Tells before anything is started what cannot be dealt out.
fn check(scenario: &Scenario, generators: usize) -> Result<(), Failure> {
    let of = u32::try_from(generators).unwrap_or(u32::MAX);
    if of > PARTS_MAX {
        return Err(Failure::Usage(format!("{of} generators; allowed are {PARTS_MAX}")));
    }
    let least = Part { index: of - 1, of }.count(scenario.recipients);
    let most = scenario.steps.iter().map(|step| step.fan_out).max().unwrap_or(1);
    if least < most.max(1) {
        return Err(Failure::Usage(format!(
            "each of {of} generators needs {most} recipients of its own for the largest fan-out: \
             recipients must be {} or more",
            most.max(1).saturating_mul(of)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fan_out_needs_recipients_for_every_generator() {
        let step = |fan_out| {
            let mut scenario = Scenario::load("ci").unwrap();
            scenario.recipients = 30;
            scenario.steps.iter_mut().for_each(|step| step.fan_out = fan_out);
            scenario
        };
        assert!(check(&step(10), 3).is_ok());
        let refused = check(&step(11), 3).unwrap_err().to_string();
        assert!(refused.contains("recipients must be 33 or more"), "{refused}");
        assert!(check(&step(1), 65).is_err());
    }
}
