//! Claims: who redrives which dead letter.
//! Reads and writes: the bucket `redrive_claims`. Never: lets two redrive the same life of a letter.
//!
//! A claim belongs to a job or to one operator's command. A job that was interrupted finds its own claims and
//! goes on; nobody else may, until the job has ended. A command holds its claims for a minute.

use serde::{Deserialize, Serialize};

use super::{DlqError, jobs, store};
use crate::clock::{self, Micros};
use crate::connect::Bus;
use crate::ids::RedriveId;
use crate::topology::REDRIVE_CLAIMS;

/// How long a single command's claim holds.
const COMMAND_SECONDS: i64 = 60;
/// Claims that a claimant may lose to others before it gives up.
const ROUNDS_MAX: usize = 8;

/// Who wants to redrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claimant {
    /// A job.
    Job(RedriveId),
    /// One operator's command.
    Command(String),
}

impl Claimant {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Job(id) => id.to_string(),
            Self::Command(name) => name.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    /// Empty: given back.
    owner: String,
    /// A command's claim ends by itself.
    until: Option<Micros>,
}

/// What becomes of a claim that is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Ours from before an interruption.
    Ours,
    /// Nobody's any more.
    Free,
    /// Somebody else's.
    Taken,
}

/// `owner_is_done`: whether the owning job has ended, or is unknown.
fn standing(claim: &Claim, claimant: &str, owner_is_done: bool, now: Micros) -> Standing {
    if claim.owner == claimant {
        return Standing::Ours;
    }
    let over = match claim.until {
        Some(until) => until <= now,
        None => owner_is_done,
    };
    if claim.owner.is_empty() || over { Standing::Free } else { Standing::Taken }
}

/// Takes the claim on `token`; the owner's name if it is somebody else's. The revision gives it back.
pub(super) async fn take(
    bus: &Bus,
    token: &str,
    claimant: &Claimant,
) -> Result<Result<u64, String>, DlqError> {
    let name = claimant.name();
    let claim = || Claim {
        owner: name.clone(),
        until: match claimant {
            Claimant::Job(_) => None,
            Claimant::Command(_) => Some(clock::now().plus_seconds(COMMAND_SECONDS)),
        },
    };
    let mut revision = 0;
    let mut owner = String::new();
    for _ in 0..ROUNDS_MAX {
        if let Some(taken) = store::put(bus, REDRIVE_CLAIMS, token, &claim(), revision).await? {
            return Ok(Ok(taken));
        }
        let found: Option<store::Versioned<Claim>> = store::get(bus, REDRIVE_CLAIMS, token).await?;
        let Some(found) = found else {
            revision = 0;
            continue;
        };
        owner.clone_from(&found.value.owner);
        let owner_is_done = match owner.parse::<RedriveId>() {
            Ok(id) => jobs::get(bus, id).await?.is_none_or(|job| job.state.is_final()),
            Err(_) => false,
        };
        match standing(&found.value, &name, owner_is_done, clock::now()) {
            Standing::Ours => return Ok(Ok(found.revision)),
            Standing::Free => revision = found.revision,
            Standing::Taken => return Ok(Err(owner)),
        }
    }
    Ok(Err(owner))
}

/// Gives a claim back whose redrive was refused for good.
pub(super) async fn give_back(bus: &Bus, token: &str, revision: u64) -> Result<(), DlqError> {
    let free = Claim { owner: String::new(), until: None };
    store::put(bus, REDRIVE_CLAIMS, token, &free, revision).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_its_owner_s_until_the_owner_is_done() {
        let now = Micros(1_000);
        let of = |owner: &str, until: Option<i64>| Claim {
            owner: owner.to_owned(),
            until: until.map(Micros),
        };
        assert_eq!(standing(&of("a", None), "a", false, now), Standing::Ours);
        assert_eq!(standing(&of("a", None), "b", false, now), Standing::Taken);
        assert_eq!(standing(&of("a", None), "b", true, now), Standing::Free);
        assert_eq!(standing(&of("a", Some(1_001)), "b", true, now), Standing::Taken);
        assert_eq!(standing(&of("a", Some(1_000)), "b", false, now), Standing::Free);
        assert_eq!(standing(&of("", None), "b", false, now), Standing::Free);
    }
}
