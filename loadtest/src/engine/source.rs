//! Who makes a campaign's load: this process, or several generators that it leads. The campaign
//! asks both the same.

use super::live::Live;
use super::session::Session;
use crate::agent::fleet::Fleet;
use crate::failure::Failure;
use crate::load::goose::Driver;
use crate::model::{Generator, Latency, Step};
use crate::procs::Process;
use crate::scenario::{Scenario, StepSpec};
use crate::target::Target;

/// The maker of the load.
pub enum Source {
    Own(Box<Session>),
    Fleet(Box<Fleet>),
}

impl Source {
    pub fn target(&self) -> &Target {
        match self {
            Self::Own(session) => &session.target,
            Self::Fleet(fleet) => &fleet.target,
        }
    }

    /// In every mark.
    pub fn run(&self) -> u32 {
        match self {
            Self::Own(session) => session.run,
            Self::Fleet(fleet) => fleet.run,
        }
    }

    pub fn started_ns(&self) -> u64 {
        match self {
            Self::Own(session) => session.started_ns,
            Self::Fleet(fleet) => fleet.started_ns,
        }
    }

    pub fn live(&mut self) -> &mut Live {
        match self {
            Self::Own(session) => &mut session.live,
            Self::Fleet(fleet) => &mut fleet.live,
        }
    }

    /// Processes of this machine that are watched.
    pub fn processes(&self) -> Vec<Process> {
        match self {
            Self::Own(session) => session.target.processes(),
            Self::Fleet(fleet) => fleet.processes(),
        }
    }

    /// What the harness alone needs.
    pub fn set_null_target(&mut self, latency: Option<Latency>) {
        match self {
            Self::Own(session) => session.null_target = latency,
            Self::Fleet(fleet) => fleet.null_target = latency,
        }
    }

    /// For run.json.
    pub fn generators(&self, scenario: &Scenario, driver: Driver) -> Vec<Generator> {
        match self {
            Self::Own(_) => vec![Generator {
                name: "generator".to_owned(),
                host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
                recipients: scenario.recipients,
                driver: driver.name().to_owned(),
                ..Generator::default()
            }],
            Self::Fleet(fleet) => fleet.generators(),
        }
    }

    /// Runs a step; nothing if it was stopped before anything was measured.
    pub async fn step(&mut self, spec: &StepSpec) -> Result<Option<Step>, Failure> {
        match self {
            Self::Own(session) => session.step(spec).await,
            Self::Fleet(fleet) => fleet.step(spec).await,
        }
    }

    /// What arrived for steps after they had been judged is told where it belongs.
    pub async fn tell_afterwards(&mut self, steps: &mut [Step]) -> Result<(), Failure> {
        match self {
            Self::Own(session) => {
                session.tell_afterwards(steps);
                Ok(())
            }
            Self::Fleet(fleet) => fleet.tell_afterwards(steps).await,
        }
    }

    /// Closes receivers, sinks and agents in an orderly way.
    pub async fn close(self) {
        match self {
            Self::Own(session) => session.close().await,
            Self::Fleet(fleet) => fleet.end().await,
        }
    }
}
