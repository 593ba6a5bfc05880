//! Reminders a day and an hour before, as schedules of the bus: no timer runs in this process.
//! Reads: the clinic's events, its database. Writes: schedules; the notification API when one is due. Never: trusts a
//! schedule: when it fires, the database says whether the appointment still stands at that time.
//!
//! Each change of an appointment sets its two schedules to what the appointment says now, whatever they were: a moved
//! appointment replaces them under the same keys, a cancelled one removes them. Doing it twice changes nothing.

use campana_bus::consume::{ConsumeError, Failure, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::schedule::When;
use campana_bus::topology::EVENTS;
use campana_bus::{Bus, clock};

use crate::appointment::{Appointment, Role};
use crate::calendar::Reminder;
use crate::events::{AppointmentChanged, ReminderDue};
use crate::notifier::Notifier;
use crate::words::{self, Language};

const IN_HAND: usize = 16;
const ATTEMPTS: u32 = 12;
/// Looks at an appointment that changes while its schedules are set.
const LOOKS_MAX: usize = 4;

/// Sets reminders, and sends them when they are due; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reminders {
    notifier: Notifier,
    bus: Bus,
}

impl Reminders {
    /// Reminders of the appointments in the notifier's store.
    #[must_use]
    pub fn new(notifier: Notifier, bus: Bus) -> Self {
        Self { notifier, bus }
    }

    /// Brings the schedules of an appointment to what it says now. If it changes meanwhile, perhaps by another process
    /// that is faster with its newer event, what it says then is set once more: the last word is the newest version's.
    async fn set(&self, event: AppointmentChanged) -> Result<(), Failure> {
        let store = self.notifier.store();
        let mut now = store.appointment(&event.appointment).await?;
        for _ in 0..LOOKS_MAX {
            let Some(appointment) = now else { return Ok(()) };
            self.set_to(&appointment).await?;
            now = store.appointment(&event.appointment).await?;
            if now.as_ref().is_some_and(|now| now.version == appointment.version) {
                return Ok(());
            }
        }
        Err(Failure::retry("the appointment changes all the time"))
    }

    async fn set_to(&self, appointment: &Appointment) -> Result<(), Failure> {
        let zone = self.notifier.zone(&appointment.clinic_id).await?;
        let now = clock::now();
        for reminder in Reminder::ALL {
            let key = ReminderDue::key(&appointment.id, reminder);
            let due = reminder.due(&zone, appointment.starts_at);
            // Who books for this afternoon needs no reminder of it from yesterday.
            let done = if appointment.confirmed && due > now {
                let event = ReminderDue::of(appointment, reminder);
                self.bus.emit_at(&event, &When::At(due), &key).await.map(drop)
            } else {
                self.bus.unschedule(EVENTS, &key).await.map(drop)
            };
            done.map_err(Failure::retry)?;
        }
        Ok(())
    }

    /// Reminds, if the appointment still stands, and nothing that is due meanwhile says more.
    async fn due(&self, event: ReminderDue, meta: Meta) -> Result<(), Failure> {
        let found = self.notifier.store().appointment(&event.appointment).await?;
        let now = clock::now();
        let stands = found.filter(|appointment| {
            appointment.confirmed
                && appointment.starts_at.0 == event.starts_at
                && appointment.starts_at > now
        });
        let Some(appointment) = stands else { return Ok(()) };
        let (clinic, patient) = (&appointment.clinic_id, &appointment.patient_id);
        let people = self.notifier.people(clinic, patient, &appointment.dentist_id).await?;
        let next = Reminder::HourBefore.due(people.zone(), appointment.starts_at);
        if event.reminder == Reminder::DayBefore && next <= now {
            return Ok(());
        }
        let account = people.of(Role::Patient);
        let facts = people.facts(appointment.starts_at);
        let language = Language::of(&account.language);
        let words = words::of_reminder(language, event.reminder, &facts, now);
        let effect = format!("clinic-{}", event.id);
        let told = (account, Role::Patient);
        let about = (appointment.id.as_str(), words);
        self.notifier.tell((&effect, &meta), told, about, appointment.starts_at).await
    }

    /// Follows appointments until the soft stop.
    ///
    /// # Errors
    /// If the consumer cannot be made.
    pub async fn follow_appointments(self, lifecycle: Lifecycle) -> Result<(), ConsumeError> {
        let bus = self.bus.clone();
        let handler = move |event: AppointmentChanged, _: Meta| {
            let this = self.clone();
            async move { this.set(event).await }
        };
        let consumer = bus.consumer::<AppointmentChanged>("clinic-reminders");
        // In order for each appointment, so that its last change has the last word.
        let consumer =
            consumer.max_in_flight(IN_HAND).max_attempts(ATTEMPTS).ordered_by_key(IN_HAND);
        consumer.run(handler, async move { lifecycle.soft.cancelled().await }).await
    }

    /// Sends what is due until the soft stop.
    ///
    /// # Errors
    /// If the consumer cannot be made.
    pub async fn follow_due(self, lifecycle: Lifecycle) -> Result<(), ConsumeError> {
        let bus = self.bus.clone();
        let handler = move |event: ReminderDue, meta: Meta| {
            let this = self.clone();
            async move { this.due(event, meta).await }
        };
        let consumer = bus.consumer::<ReminderDue>("clinic-reminders-due");
        let consumer = consumer.max_in_flight(IN_HAND).max_attempts(ATTEMPTS);
        consumer.run(handler, async move { lifecycle.soft.cancelled().await }).await
    }
}
