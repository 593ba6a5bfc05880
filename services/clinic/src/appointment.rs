//! An appointment, and what may become of it: the whole process of asking, answering and calling off.
//! Reads: an appointment, who acts, the time. Writes: nothing. Never: touches a database or a clock.
//!
//! ```text
//!             accept                       propose another time
//! requested ───────────▶ accepted ◀──────────────────────────────┐
//!     │  │                  │  ▲                                  │ (declined: back to where it was,
//!     │  └── decline ─▶ declined│ accept the proposal             │  or cancelled if never confirmed)
//!     └── propose ──────▶ proposed ─────────────────────────────┘
//!  any of them ── cancel ─▶ cancelled
//! ```

use campana_bus::clock::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an appointment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The patient asked for it.
    Requested,
    /// Both sides agreed.
    Accepted,
    /// The dentist proposes another time.
    Proposed,
    /// The dentist refused.
    Declined,
    /// Somebody called it off.
    Cancelled,
}

impl Status {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Accepted => "accepted",
            Self::Proposed => "proposed",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        }
    }

    /// From its stored form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all =
            [Self::Requested, Self::Accepted, Self::Proposed, Self::Declined, Self::Cancelled];
        all.into_iter().find(|status| status.as_str() == text)
    }
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Whose teeth they are.
    Patient,
    /// Who looks at them.
    Dentist,
}

impl Role {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Dentist => "dentist",
        }
    }

    /// From its stored form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Patient, Self::Dentist].into_iter().find(|role| role.as_str() == text)
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The dentist says yes.
    Accept,
    /// The dentist says no.
    Decline,
    /// The dentist proposes another time.
    Propose(Micros),
    /// The patient takes the proposed time.
    AcceptProposal,
    /// The patient does not want the proposed time.
    DeclineProposal,
    /// Either side calls it off.
    Cancel,
}

impl Action {
    /// Its name in addresses and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::Propose(_) => "propose",
            Self::AcceptProposal => "accept_proposal",
            Self::DeclineProposal => "decline_proposal",
            Self::Cancel => "cancel",
        }
    }
}

/// What happened, as events tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A patient asked for it.
    Requested,
    /// The dentist accepted it.
    Accepted,
    /// The dentist declined it.
    Declined,
    /// The dentist proposed another time.
    Proposed,
    /// The patient took the proposed time.
    ProposalAccepted,
    /// The patient refused the proposed time; a confirmed appointment keeps its own.
    ProposalDeclined,
    /// The patient called it off.
    CancelledByPatient,
    /// The dentist called it off.
    CancelledByDentist,
}

impl Change {
    /// Who is told about it: the other side.
    #[must_use]
    pub const fn audience(self) -> Role {
        match self {
            Self::Requested
            | Self::ProposalAccepted
            | Self::ProposalDeclined
            | Self::CancelledByPatient => Role::Dentist,
            Self::Accepted | Self::Declined | Self::Proposed | Self::CancelledByDentist => {
                Role::Patient
            }
        }
    }
}

/// An appointment as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// `apt_…`.
    pub id: String,
    /// At which clinic.
    pub clinic_id: String,
    /// With whom.
    pub dentist_id: String,
    /// For whom.
    pub patient_id: String,
    /// Where it stands.
    pub status: Status,
    /// Whether both sides agreed to `starts_at`: then there are reminders, also while a proposal waits.
    pub confirmed: bool,
    /// When it begins.
    pub starts_at: Micros,
    /// Another time that waits for the patient's answer.
    pub proposed_at: Option<Micros>,
    /// What the patient wrote.
    pub note: String,
    /// What the dentist wrote last.
    pub message: String,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was asked for.
    pub created_at: Micros,
}

/// What an action makes of an appointment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The new status.
    pub status: Status,
    /// See [`Appointment::confirmed`].
    pub confirmed: bool,
    /// When it begins from now on.
    pub starts_at: Micros,
    /// The proposal that waits from now on.
    pub proposed_at: Option<Micros>,
    /// A time to be held, if it is free.
    pub take: Option<Micros>,
    /// Times to be let go.
    pub release: Vec<Micros>,
    /// What is told.
    pub change: Change,
}

/// Why an action is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not by this side, or not where the appointment stands.
    NotPossible,
    /// The time is over.
    Past,
    /// It is the time that it has already.
    SameTime,
}

impl Appointment {
    /// What an action of one side makes of it.
    ///
    /// # Errors
    /// If that side cannot do that now.
    pub fn decide(&self, by: Role, action: Action, now: Micros) -> Result<Next, Refusal> {
        use Status::{Accepted, Cancelled, Declined, Proposed, Requested};
        let next = |status, change| Next {
            status,
            confirmed: self.confirmed,
            starts_at: self.starts_at,
            proposed_at: None,
            take: None,
            release: Vec::new(),
            change,
        };
        let future = |at: Micros| if at > now { Ok(at) } else { Err(Refusal::Past) };
        let proposal: Vec<Micros> = self.proposed_at.into_iter().collect();
        let held: Vec<Micros> = [self.starts_at].into_iter().chain(self.proposed_at).collect();
        match (action, by, self.status) {
            (Action::Accept, Role::Dentist, Requested) => {
                future(self.starts_at)?;
                Ok(Next { confirmed: true, ..next(Accepted, Change::Accepted) })
            }
            (Action::Decline, Role::Dentist, Requested) => {
                Ok(Next { release: held, ..next(Declined, Change::Declined) })
            }
            (Action::Propose(at), Role::Dentist, Requested | Accepted | Proposed) => {
                future(at)?;
                if held.contains(&at) {
                    return Err(Refusal::SameTime);
                }
                let proposed = next(Proposed, Change::Proposed);
                Ok(Next { proposed_at: Some(at), take: Some(at), release: proposal, ..proposed })
            }
            (Action::AcceptProposal, Role::Patient, Proposed) => {
                let starts_at = future(self.proposed_at.ok_or(Refusal::NotPossible)?)?;
                let accepted = next(Accepted, Change::ProposalAccepted);
                Ok(Next { confirmed: true, starts_at, release: vec![self.starts_at], ..accepted })
            }
            (Action::DeclineProposal, Role::Patient, Proposed) if self.confirmed => {
                Ok(Next { release: proposal, ..next(Accepted, Change::ProposalDeclined) })
            }
            (Action::DeclineProposal, Role::Patient, Proposed) => {
                Ok(Next { release: held, ..next(Cancelled, Change::ProposalDeclined) })
            }
            (Action::Cancel, Role::Patient, Requested | Accepted | Proposed)
            | (Action::Cancel, Role::Dentist, Accepted | Proposed) => {
                future(self.starts_at.max(self.proposed_at.unwrap_or_default()))?;
                let change = match by {
                    Role::Patient => Change::CancelledByPatient,
                    Role::Dentist => Change::CancelledByDentist,
                };
                Ok(Next { confirmed: false, release: held, ..next(Cancelled, change) })
            }
            _ => Err(Refusal::NotPossible),
        }
    }

    /// What one side can do now, for the buttons of a page.
    #[must_use]
    pub fn actions(&self, by: Role, now: Micros) -> Vec<&'static str> {
        // Any time that is free would do; whether one is, the booking finds out.
        let other = Micros(now.0.saturating_add(1));
        let all = [
            Action::Accept,
            Action::Propose(other),
            Action::Decline,
            Action::AcceptProposal,
            Action::DeclineProposal,
            Action::Cancel,
        ];
        all.into_iter()
            .filter(|action| self.decide(by, *action, now).is_ok())
            .map(Action::as_str)
            .collect()
    }
}

#[cfg(test)]
mod tests;
