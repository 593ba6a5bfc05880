//! What the clinic tells the bus. Other services may listen; the clinic's own consumers do.
//! Reads and writes: nothing. Never: a name, address or note of a person; ids and times are enough, and whoever may
//! see more asks the clinic.

use campana_bus::Event;
use campana_bus::clock::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::appointment::{Appointment, Change};
use crate::calendar::Reminder;

/// An appointment was asked for, answered or called off. One event for each version of it, in their order.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.default.clinic.appointment_changed.{appointment}", id = "id")]
pub struct AppointmentChanged {
    /// `{appointment}-{version}`: told twice, it is one event.
    pub id: String,
    /// Which appointment.
    pub appointment: String,
    /// How often it has changed, from 1.
    pub version: i64,
    /// What happened.
    pub change: Change,
    /// At which clinic.
    pub clinic: String,
    /// With whom.
    pub dentist: String,
    /// For whom.
    pub patient: String,
    /// When it begins, RFC 3339.
    pub starts_at: String,
    /// When it was to begin before, if that changed.
    #[serde(default)]
    pub moved_from: Option<String>,
    /// The time that the dentist proposes or proposed.
    #[serde(default)]
    pub proposed_at: Option<String>,
    /// Whether both sides agreed to `starts_at` now.
    #[serde(default)]
    pub confirmed: bool,
}

impl AppointmentChanged {
    /// What became of an appointment.
    #[must_use]
    pub fn of(now: &Appointment, before: Option<&Appointment>, change: Change) -> Self {
        let moved = before.filter(|before| before.starts_at != now.starts_at);
        let proposed = now.proposed_at.or_else(|| before.and_then(|before| before.proposed_at));
        Self {
            id: format!("{}-{}", now.id, now.version),
            appointment: now.id.clone(),
            version: now.version,
            change,
            clinic: now.clinic_id.clone(),
            dentist: now.dentist_id.clone(),
            patient: now.patient_id.clone(),
            starts_at: now.starts_at.to_rfc3339(),
            moved_from: moved.map(|before| before.starts_at.to_rfc3339()),
            proposed_at: proposed.map(Micros::to_rfc3339),
            confirmed: now.confirmed,
        }
    }
}

/// The addresses, language or wishes of somebody changed, so the notification platform must learn them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.default.clinic.account_saved.{account}", id = "id")]
pub struct AccountSaved {
    /// `{account}-{version}`.
    pub id: String,
    /// Whose.
    pub account: String,
}

/// A reminder is due. Scheduled by the server, so it comes although the clinic was restarted meanwhile.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Event)]
#[event(subject = "app.default.clinic.reminder_due.{appointment}", id = "id")]
pub struct ReminderDue {
    /// `{appointment}-{reminder}-{starts_at}`: a moved appointment has reminders of its own.
    pub id: String,
    /// Which appointment.
    pub appointment: String,
    /// Which reminder.
    pub reminder: Reminder,
    /// When the appointment was to begin when this was scheduled, in microseconds.
    pub starts_at: i64,
}

impl ReminderDue {
    /// A reminder of an appointment as it stands.
    #[must_use]
    pub fn of(appointment: &Appointment, reminder: Reminder) -> Self {
        let (id, starts_at) = (&appointment.id, appointment.starts_at.0);
        Self {
            id: format!("{id}-{}-{starts_at}", reminder.as_str()),
            appointment: id.clone(),
            reminder,
            starts_at,
        }
    }

    /// The schedule's key: one for each appointment and reminder, so that a new time takes the place of the old.
    #[must_use]
    pub fn key(appointment: &str, reminder: Reminder) -> String {
        format!("clinic-{appointment}-{}", reminder.as_str())
    }
}
