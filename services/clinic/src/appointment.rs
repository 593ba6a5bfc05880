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
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_000);
    const FIRST: Micros = Micros(5_000);
    const OTHER: Micros = Micros(7_000);

    fn requested() -> Appointment {
        Appointment {
            id: "apt_1".to_owned(),
            clinic_id: "c".to_owned(),
            dentist_id: "d".to_owned(),
            patient_id: "p".to_owned(),
            status: Status::Requested,
            confirmed: false,
            starts_at: FIRST,
            proposed_at: None,
            note: String::new(),
            message: String::new(),
            version: 1,
            created_at: Micros(0),
        }
    }

    fn after(appointment: &Appointment, by: Role, action: Action) -> Appointment {
        let next = appointment.decide(by, action, NOW).unwrap();
        Appointment {
            status: next.status,
            confirmed: next.confirmed,
            starts_at: next.starts_at,
            proposed_at: next.proposed_at,
            version: appointment.version + 1,
            ..appointment.clone()
        }
    }

    #[test]
    fn each_side_has_its_actions() {
        let asked = requested();
        assert_eq!(asked.actions(Role::Dentist, NOW), ["accept", "propose", "decline"]);
        assert_eq!(asked.actions(Role::Patient, NOW), ["cancel"]);
        let agreed = after(&asked, Role::Dentist, Action::Accept);
        assert_eq!(agreed.actions(Role::Dentist, NOW), ["propose", "cancel"]);
        assert_eq!(agreed.actions(Role::Patient, NOW), ["cancel"]);
        let proposed = after(&asked, Role::Dentist, Action::Propose(OTHER));
        assert_eq!(
            proposed.actions(Role::Patient, NOW),
            ["accept_proposal", "decline_proposal", "cancel"]
        );
        let over = after(&asked, Role::Dentist, Action::Decline);
        assert!(over.actions(Role::Patient, NOW).is_empty());
        assert!(over.actions(Role::Dentist, NOW).is_empty());
    }

    #[test]
    fn a_proposal_holds_both_times_until_it_is_answered() {
        let next = requested().decide(Role::Dentist, Action::Propose(OTHER), NOW).unwrap();
        assert_eq!((next.take, next.release), (Some(OTHER), vec![]));
        let proposed = after(&requested(), Role::Dentist, Action::Propose(OTHER));
        assert!(!proposed.confirmed, "nobody agreed to anything yet");
        let taken = proposed.decide(Role::Patient, Action::AcceptProposal, NOW).unwrap();
        assert_eq!((taken.status, taken.starts_at), (Status::Accepted, OTHER));
        assert_eq!((taken.confirmed, taken.release), (true, vec![FIRST]));
        let refused = proposed.decide(Role::Patient, Action::DeclineProposal, NOW).unwrap();
        assert_eq!((refused.status, refused.release), (Status::Cancelled, vec![FIRST, OTHER]));
    }

    #[test]
    fn a_confirmed_appointment_survives_a_refused_proposal() {
        let agreed = after(&requested(), Role::Dentist, Action::Accept);
        let proposed = after(&agreed, Role::Dentist, Action::Propose(OTHER));
        assert!(proposed.confirmed);
        let refused = proposed.decide(Role::Patient, Action::DeclineProposal, NOW).unwrap();
        assert_eq!((refused.status, refused.starts_at), (Status::Accepted, FIRST));
        assert_eq!((refused.confirmed, refused.release), (true, vec![OTHER]));
    }

    #[test]
    fn a_new_proposal_replaces_the_old_one() {
        let proposed = after(&requested(), Role::Dentist, Action::Propose(OTHER));
        let next = proposed.decide(Role::Dentist, Action::Propose(Micros(9_000)), NOW).unwrap();
        assert_eq!((next.take, next.release), (Some(Micros(9_000)), vec![OTHER]));
        for same in [FIRST, OTHER] {
            let again = proposed.decide(Role::Dentist, Action::Propose(same), NOW);
            assert_eq!(again, Err(Refusal::SameTime));
        }
    }

    #[test]
    fn what_is_over_stays_as_it_is() {
        let late = Micros(FIRST.0 + 1);
        let asked = requested();
        assert_eq!(asked.decide(Role::Dentist, Action::Accept, late), Err(Refusal::Past));
        assert_eq!(asked.decide(Role::Patient, Action::Cancel, late), Err(Refusal::Past));
        assert_eq!(asked.decide(Role::Dentist, Action::Propose(NOW), NOW), Err(Refusal::Past));
        assert_eq!(asked.decide(Role::Patient, Action::Accept, NOW), Err(Refusal::NotPossible));
    }
}
