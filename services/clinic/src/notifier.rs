//! Tells people: a consumer of appointments that calls the notification API, and one that tells it who people are.
//! Reads: the clinic's events, its database. Writes: the notification API, through the attempt ledger. Never: tells
//! somebody the same thing twice, however often an event comes, nor the one who did it.

use campana_bus::Bus;
use campana_bus::clock::Micros;
use campana_bus::consume::{ConsumeError, Failure, Meta};
use campana_bus::lifecycle::Lifecycle;
use campana_bus_sqlx::{Call, Ledger, Sent};
use jiff::tz::TimeZone;
use serde_json::json;

use crate::appointment::Role;
use crate::calendar;
use crate::events::{AccountSaved, AppointmentChanged};
use crate::platform::{Content, Notification, Platform};
use crate::store::Store;
use crate::store::accounts::Account;
use crate::store::clinics::Clinic;
use crate::words::{self, Facts, Language, Words};

/// The name under which the ledger keeps our calls.
const LEDGER: &str = "clinic-notifications";
/// Events in hand; those of one appointment wait for each other.
const IN_HAND: usize = 16;
/// The attempts span hours, since a platform may be upgraded.
const ATTEMPTS: u32 = 12;
/// Patients are told wherever they want; dentists at work, by bell and e-mail.
const TO_PATIENT: [&str; 4] = ["in_app", "email", "sms", "whatsapp"];
const TO_DENTIST: [&str; 2] = ["in_app", "email"];
/// News about an appointment is of no use long after it.
const USEFUL_SECONDS: i64 = 86_400;

/// Everything that is needed to tell somebody something; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notifier {
    store: Store,
    platform: Platform,
    /// Where a click in a mail leads.
    page: String,
}

/// Everybody and everything in an appointment.
#[derive(Debug)]
pub struct People {
    clinic: Clinic,
    zone: TimeZone,
    patient: Account,
    dentist: Account,
}

impl People {
    /// What the words are made of.
    pub fn facts(&self, starts_at: Micros) -> Facts<'_> {
        Facts {
            patient: &self.patient.name,
            dentist: &self.dentist.name,
            clinic: &self.clinic.name,
            address: &self.clinic.address,
            zone: &self.zone,
            starts_at,
            proposed_at: None,
            moved_from: None,
        }
    }

    /// One of the two.
    #[must_use]
    pub fn of(&self, role: Role) -> &Account {
        match role {
            Role::Patient => &self.patient,
            Role::Dentist => &self.dentist,
        }
    }

    /// The clinic's time zone.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl Notifier {
    /// A notifier; `page` is the address of the clinic's page.
    #[must_use]
    pub fn new(store: Store, platform: Platform, page: String) -> Self {
        Self { store, platform, page }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who belongs to an appointment.
    ///
    /// # Errors
    /// If the database does not answer, or somebody is missing, which foreign keys forbid.
    pub async fn people(
        &self,
        clinic: &str,
        patient: &str,
        dentist: &str,
    ) -> Result<People, Failure> {
        let clinic = self.store.clinic(clinic).await?.ok_or_else(|| missing("clinic"))?;
        let zone = zone_of(&clinic)?;
        let patient = self.store.account(patient).await?.ok_or_else(|| missing("patient"))?;
        let dentist = self.store.account(dentist).await?.ok_or_else(|| missing("dentist"))?;
        Ok(People { clinic, zone, patient, dentist })
    }

    /// The time zone of a clinic.
    ///
    /// # Errors
    /// If the database does not answer, or the clinic is missing, which foreign keys forbid.
    pub async fn zone(&self, clinic: &str) -> Result<TimeZone, Failure> {
        zone_of(&self.store.clinic(clinic).await?.ok_or_else(|| missing("clinic"))?)
    }

    /// Tells one person one thing, once for each `effect`.
    ///
    /// # Errors
    /// What the consumer should do with the message.
    pub async fn tell(
        &self,
        (effect, meta): (&str, &Meta),
        (account, role): (&Account, Role),
        (appointment, words): (&str, Words),
        expires_at: Micros,
    ) -> Result<(), Failure> {
        let channels = match role {
            Role::Patient => TO_PATIENT.to_vec(),
            Role::Dentist => TO_DENTIST.to_vec(),
        };
        let Words { title, body } = words;
        let notification = Notification {
            to: account.id.clone(),
            content: Content { title, body, url: format!("{}/#/a/{appointment}", self.page) },
            channels,
            expires_at: expires_at.to_rfc3339(),
            metadata: json!({"category": "appointments", "appointment": appointment}),
        };
        let send = async |_| self.platform.notify(effect, &notification, account).await;
        // The platform takes the same key as idempotency key: what was lost may be sent again.
        let ask = async |_| Sent::No;
        let call = Call::new(effect, meta);
        Ledger::new(LEDGER).call(self.store.pool(), call, send, ask).await.map(drop)
    }

    /// Tells the other side what happened to an appointment.
    async fn changed(&self, event: AppointmentChanged, meta: Meta) -> Result<(), Failure> {
        let at = |text: &str| {
            Micros::from_rfc3339(text)
                .ok_or_else(|| Failure::dead("bad_time", "a time that is not RFC 3339"))
        };
        let starts_at = at(&event.starts_at)?;
        let proposed_at = event.proposed_at.as_deref().map(at).transpose()?;
        let moved_from = event.moved_from.as_deref().map(at).transpose()?;
        let useful = starts_at.max(proposed_at.unwrap_or(starts_at)).plus_seconds(USEFUL_SECONDS);
        if useful <= campana_bus::clock::now() {
            return Ok(());
        }
        let people = self.people(&event.clinic, &event.patient, &event.dentist).await?;
        let role = event.change.audience();
        let account = people.of(role);
        let facts = Facts { proposed_at, moved_from, ..people.facts(starts_at) };
        let words = words::of_change(Language::of(&account.language), event.change, &facts);
        let effect = format!("clinic-{}", event.id);
        self.tell((&effect, &meta), (account, role), (&event.appointment, words), useful).await
    }

    /// Tells the platform how somebody can be reached, as it stands now: whichever event comes last, it is right.
    async fn saved(&self, event: AccountSaved) -> Result<(), Failure> {
        match self.store.account(&event.account).await? {
            Some(account) => self.platform.save_recipient(&account).await,
            None => Ok(()),
        }
    }

    /// Follows appointments until the soft stop.
    ///
    /// # Errors
    /// If the consumer cannot be made.
    pub async fn follow_appointments(
        self,
        bus: Bus,
        lifecycle: Lifecycle,
    ) -> Result<(), ConsumeError> {
        let handler = move |event: AppointmentChanged, meta: Meta| {
            let this = self.clone();
            async move { this.changed(event, meta).await }
        };
        let consumer = bus.consumer::<AppointmentChanged>("clinic-notifier");
        let consumer =
            consumer.max_in_flight(IN_HAND).max_attempts(ATTEMPTS).ordered_by_key(IN_HAND);
        consumer.run(handler, async move { lifecycle.soft.cancelled().await }).await
    }

    /// Follows accounts until the soft stop.
    ///
    /// # Errors
    /// If the consumer cannot be made.
    pub async fn follow_accounts(self, bus: Bus, lifecycle: Lifecycle) -> Result<(), ConsumeError> {
        let handler = move |event: AccountSaved, _: Meta| {
            let this = self.clone();
            async move { this.saved(event).await }
        };
        let consumer = bus.consumer::<AccountSaved>("clinic-accounts");
        let consumer =
            consumer.max_in_flight(IN_HAND).max_attempts(ATTEMPTS).ordered_by_key(IN_HAND);
        consumer.run(handler, async move { lifecycle.soft.cancelled().await }).await
    }
}

fn missing(what: &str) -> Failure {
    Failure::dead("missing_row", format!("no {what} of this id"))
}

fn zone_of(clinic: &Clinic) -> Result<TimeZone, Failure> {
    calendar::zone(&clinic.time_zone).map_err(|error| Failure::dead("bad_time_zone", error))
}
