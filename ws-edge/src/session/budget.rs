//! How often a client may ask for something: by itself, and together with the user's other connections.
//! Reads: requests, the time it is given. Writes: effects.
//! Never: closes a connection for a single burst; who is refused and goes on is sent away.

use super::{Effect, Now, Report, Session};
use crate::codes::{disconnect, error};
use crate::limits::{Bucket, Rate, Seat};
use crate::options::EdgeOptions;
use crate::proto::Request;
use crate::rules::Denial;

/// What one client may still ask for.
#[derive(Debug)]
pub(super) struct Budget {
    commands: Bucket,
    subscribes: Bucket,
    /// Commands refused one after the other.
    refused: u32,
    /// The user's place on this node, which has the budget of all his connections.
    seat: Option<Seat>,
}

impl Budget {
    pub(super) fn new(options: &EdgeOptions, now: Now) -> Self {
        Self {
            commands: Bucket::full(commands(options), now.ms),
            subscribes: Bucket::full(options.limits.subscribes(), now.ms),
            refused: 0,
            seat: None,
        }
    }
}

const fn commands(options: &EdgeOptions) -> Rate {
    Rate { per_second: options.commands_per_second, burst: options.commands_burst }
}

impl Session {
    /// The user has a place on this node, held as long as the session.
    pub(crate) fn sit(&mut self, seat: Option<Seat>) {
        self.budget.seat = seat;
    }

    /// The connection ends: the place is free before the client comes again.
    pub(crate) fn stand_up(&mut self) {
        self.budget.seat = None;
    }

    /// Takes one command from the budget.
    pub(super) fn spend(
        &mut self,
        request: &Request,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<(), Denial> {
        let (options, budget) = (&self.rules.options, &mut self.budget);
        let limit = if budget.commands.take(commands(options), now.ms).is_err() {
            "commands"
        } else if budget.seat.as_ref().is_some_and(|seat| !seat.spend(now.ms)) {
            "user_commands"
        } else if matches!(request, Request::Subscribe(_))
            && budget.subscribes.take(options.limits.subscribes(), now.ms).is_err()
        {
            "subscribes"
        } else {
            budget.refused = 0;
            return Ok(());
        };
        out.push(Effect::Report(Report::Limited(limit)));
        budget.refused = budget.refused.saturating_add(1);
        if budget.refused > options.commands_burst {
            return Err(Denial::Close(disconnect::TOO_MANY_REQUESTS));
        }
        Err(error::TOO_MANY_REQUESTS.into())
    }
}
