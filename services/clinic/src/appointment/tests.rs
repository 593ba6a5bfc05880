//! What each side can do, and what becomes of the times.

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
