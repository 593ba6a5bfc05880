//! What people are told, in Spanish and English.
//! Reads: what happened, and how everybody is called. Writes: nothing. Never: sends anything, reads a clock.

use campana_bus::clock::Micros;
use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::appointment::Change;
use crate::calendar::{self, Reminder};

/// The languages that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Español.
    Spanish,
    /// English.
    English,
}

impl Language {
    /// From a language tag; English for what is not Spanish.
    #[must_use]
    pub fn of(tag: &str) -> Self {
        let first = tag.split(['-', '_']).next().unwrap_or_default();
        if first.eq_ignore_ascii_case("es") { Self::Spanish } else { Self::English }
    }

    /// Its tag.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Spanish => "es",
            Self::English => "en",
        }
    }
}

/// Names and times of one appointment.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The patient's name.
    pub patient: &'a str,
    /// The dentist's name.
    pub dentist: &'a str,
    /// The clinic's name.
    pub clinic: &'a str,
    /// Where it is.
    pub address: &'a str,
    /// The clinic's time zone: all times are told in it.
    pub zone: &'a TimeZone,
    /// When it begins.
    pub starts_at: Micros,
    /// The other time that is or was proposed.
    pub proposed_at: Option<Micros>,
    /// When it began before it was moved.
    pub moved_from: Option<Micros>,
}

/// A title and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
}

const DAYS: [[&str; 7]; 2] = [
    ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
];
const MONTHS: [[&str; 12]; 2] = [
    [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
    [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
];

/// Between these two, in microseconds, people say "in an hour".
const HOUR_AT_LEAST: i64 = 50 * 60 * 1_000_000;
const HOUR_AT_MOST: i64 = 70 * 60 * 1_000_000;

/// A time as people say it: "martes 3 de marzo, 09:30", "Tuesday 3 March, 09:30".
#[must_use]
pub fn spoken(language: Language, at: &Zoned) -> String {
    let row = match language {
        Language::Spanish => 0,
        Language::English => 1,
    };
    let weekday = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or_default();
    let month = usize::try_from(at.month()).unwrap_or(1).saturating_sub(1);
    let (weekday, month) = (DAYS[row][weekday % 7], MONTHS[row][month % 12]);
    let (day, hour, minute) = (at.day(), at.hour(), at.minute());
    match language {
        Language::Spanish => format!("{weekday} {day} de {month}, {hour:02}:{minute:02}"),
        Language::English => format!("{weekday} {day} {month}, {hour:02}:{minute:02}"),
    }
}

/// The times of an appointment as they are spoken.
struct Times {
    when: String,
    other: String,
    was: String,
}

/// What the other side is told about a change.
#[must_use]
pub fn of_change(language: Language, change: Change, facts: &Facts<'_>) -> Words {
    let say = |at: Option<Micros>| {
        spoken(language, &calendar::local(facts.zone, at.unwrap_or(facts.starts_at)))
    };
    let times =
        Times { when: say(None), other: say(facts.proposed_at), was: say(facts.moved_from) };
    let (title, body) = match language {
        Language::Spanish => in_spanish(change, facts, &times),
        Language::English => in_english(change, facts, &times),
    };
    Words { title, body }
}

fn in_spanish(change: Change, facts: &Facts<'_>, times: &Times) -> (String, String) {
    let Facts { patient, dentist, clinic, address, .. } = *facts;
    let Times { when, other, was } = times;
    match change {
        Change::Requested => (
            format!("Nueva cita: {when}"),
            format!("{patient} pide una cita en {clinic}. Acéptala, propón otra hora o recházala."),
        ),
        Change::Accepted => (
            format!("Cita confirmada: {when}"),
            format!("{dentist} te espera en {clinic}, {address}."),
        ),
        Change::Declined => (
            format!("Cita rechazada: {when}"),
            format!("{dentist} no puede atenderte a esa hora. Puedes pedir otra."),
        ),
        Change::Proposed => (
            format!("Te proponen otra hora: {other}"),
            format!("{dentist} propone {other} en lugar de {when}. Responde en la página."),
        ),
        Change::ProposalAccepted => (
            format!("Nueva hora aceptada: {when}"),
            format!("{patient} acepta la nueva hora. Antes: {was}."),
        ),
        Change::ProposalDeclined => (
            format!("Nueva hora rechazada: {other}"),
            format!("{patient} no acepta la hora que propusiste."),
        ),
        Change::CancelledByPatient => (
            format!("Cita anulada: {when}"),
            format!("{patient} anuló la cita en {clinic}. La hora vuelve a estar libre."),
        ),
        Change::CancelledByDentist => (
            format!("Cita anulada: {when}"),
            format!("{dentist} tuvo que anular tu cita en {clinic}. Puedes pedir otra."),
        ),
    }
}

fn in_english(change: Change, facts: &Facts<'_>, times: &Times) -> (String, String) {
    let Facts { patient, dentist, clinic, address, .. } = *facts;
    let Times { when, other, was } = times;
    match change {
        Change::Requested => (
            format!("New appointment: {when}"),
            format!(
                "{patient} asks for an appointment at {clinic}. Accept it, propose another time, or decline."
            ),
        ),
        Change::Accepted => (
            format!("Appointment confirmed: {when}"),
            format!("{dentist} expects you at {clinic}, {address}."),
        ),
        Change::Declined => (
            format!("Appointment declined: {when}"),
            format!("{dentist} cannot see you at that time. You can ask for another one."),
        ),
        Change::Proposed => (
            format!("Another time is proposed: {other}"),
            format!("{dentist} proposes {other} instead of {when}. Answer on the page."),
        ),
        Change::ProposalAccepted => (
            format!("New time accepted: {when}"),
            format!("{patient} takes the new time. Before: {was}."),
        ),
        Change::ProposalDeclined => (
            format!("New time refused: {other}"),
            format!("{patient} does not take the time that you proposed."),
        ),
        Change::CancelledByPatient => (
            format!("Appointment cancelled: {when}"),
            format!("{patient} cancelled the appointment at {clinic}. The time is free again."),
        ),
        Change::CancelledByDentist => (
            format!("Appointment cancelled: {when}"),
            format!(
                "{dentist} had to cancel your appointment at {clinic}. You can ask for another one."
            ),
        ),
    }
}

/// What the patient is reminded of. A reminder that is late says what is true when it is told.
#[must_use]
pub fn of_reminder(
    language: Language,
    reminder: Reminder,
    facts: &Facts<'_>,
    now: Micros,
) -> Words {
    let starts = calendar::local(facts.zone, facts.starts_at);
    let today = calendar::local(facts.zone, now).date();
    let when = spoken(language, &starts);
    let Facts { dentist, clinic, address, .. } = *facts;
    let (spanish, english) = match reminder {
        Reminder::DayBefore if today == starts.date() => ("es hoy", "is today"),
        Reminder::DayBefore if today.tomorrow().is_ok_and(|next| next == starts.date()) => {
            ("es mañana", "is tomorrow")
        }
        Reminder::HourBefore if facts.starts_at.since(now) <= HOUR_AT_LEAST => {
            ("empieza dentro de poco", "begins soon")
        }
        Reminder::HourBefore if facts.starts_at.since(now) <= HOUR_AT_MOST => {
            ("es en una hora", "is in an hour")
        }
        _ => ("se acerca", "is coming"),
    };
    let (title, body) = match language {
        Language::Spanish => (
            format!("Tu cita {spanish}: {when}"),
            format!("{dentist} te espera en {clinic}, {address}."),
        ),
        Language::English => (
            format!("Your appointment {english}: {when}"),
            format!("{dentist} expects you at {clinic}, {address}."),
        ),
    };
    Words { title, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_the_clinic_s_clock_shows_them() {
        let madrid = calendar::zone("Europe/Madrid").unwrap();
        let at = Micros::from_rfc3339("2026-03-03T08:30:00Z").unwrap();
        let local = calendar::local(&madrid, at);
        assert_eq!(spoken(Language::Spanish, &local), "martes 3 de marzo, 09:30");
        assert_eq!(spoken(Language::English, &local), "Tuesday 3 March, 09:30");
        let facts = Facts {
            patient: "Ana",
            dentist: "Dra. Ruiz",
            clinic: "Centro",
            address: "Calle Mayor 1",
            zone: &madrid,
            starts_at: at,
            proposed_at: Some(at.plus_seconds(3_600)),
            moved_from: None,
        };
        let proposed = of_change(Language::Spanish, Change::Proposed, &facts);
        assert_eq!(proposed.title, "Te proponen otra hora: martes 3 de marzo, 10:30");
        assert!(
            proposed.body.contains("en lugar de martes 3 de marzo, 09:30"),
            "{}",
            proposed.body
        );
    }

    #[test]
    fn a_late_reminder_says_what_is_true() {
        let madrid = calendar::zone("Europe/Madrid").unwrap();
        let at = |text: &str| Micros::from_rfc3339(text).unwrap();
        let starts_at = at("2026-03-03T08:30:00Z");
        let facts = Facts {
            patient: "Ana",
            dentist: "Dra. Ruiz",
            clinic: "Centro",
            address: "Calle Mayor 1",
            zone: &madrid,
            starts_at,
            proposed_at: None,
            moved_from: None,
        };
        let told = |language, reminder, now: &str| of_reminder(language, reminder, &facts, at(now));
        let title = |reminder, now: &str| told(Language::English, reminder, now).title;
        let (day, hour) = (Reminder::DayBefore, Reminder::HourBefore);
        assert_eq!(
            title(hour, "2026-03-03T07:30:02Z"),
            "Your appointment is in an hour: Tuesday 3 March, 09:30"
        );
        assert!(title(hour, "2026-03-03T08:10:00Z").starts_with("Your appointment begins soon: "));
        // Tomorrow and today are those of the clinic: 22:59 and 23:01 in UTC lie on two days of it.
        assert!(title(day, "2026-03-02T22:59:00Z").starts_with("Your appointment is tomorrow: "));
        assert!(title(day, "2026-03-02T23:01:00Z").starts_with("Your appointment is today: "));
        let spanish = told(Language::Spanish, day, "2026-03-02T08:30:01Z");
        assert_eq!(spanish.title, "Tu cita es mañana: martes 3 de marzo, 09:30");
    }

    #[test]
    fn a_tag_has_a_language() {
        assert_eq!(Language::of("es-MX"), Language::Spanish);
        assert_eq!(Language::of("en-GB"), Language::English);
        assert_eq!(Language::of(""), Language::English);
    }
}
