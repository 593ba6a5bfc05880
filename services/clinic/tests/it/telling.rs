//! Who is told what: once each, whatever goes wrong on the way.

use std::collections::BTreeSet;

use campana_bus::lifecycle::Lifecycle;
use campana_bus::testing::NatsServer;
use campana_bus::{Bus, Durability, clock};
use campana_bus_sqlx::{Relay, RelayOptions};
use campana_clinic::appointment::{Action, Appointment, Role};
use campana_clinic::events::AppointmentChanged;
use campana_clinic::notifier::Notifier;
use campana_clinic::platform::Platform;
use campana_clinic::reminders::Reminders;
use campana_clinic::store::Store;
use campana_clinic::store::appointments::Booked;

use crate::world::{Recorder, asked, eventually, patient, populated, sqlite, time};

/// A clinic without its pages: relay and consumers.
pub struct Clinic {
    pub store: Store,
    pub bus: Bus,
    pub platform: Recorder,
    pub lifecycle: Lifecycle,
    _nats: NatsServer,
    _folder: tempfile::TempDir,
}

impl Clinic {
    pub async fn open() -> Self {
        let nats = NatsServer::start_with(Durability::Process).unwrap();
        let bus = nats.bus_with_topology("clinic-test").await.unwrap();
        let (folder, platform) = (tempfile::tempdir().unwrap(), Recorder::start().await);
        let store = populated(&sqlite(folder.path())).await;
        let lifecycle = Lifecycle::new();
        let clinic = Self { store, bus, platform, lifecycle, _nats: nats, _folder: folder };
        clinic.work();
        clinic
    }

    fn work(&self) {
        let Self { store, bus, lifecycle, .. } = self;
        let relay = Relay::new(store.outbox(), RelayOptions::default());
        let relaying = relay.run(store.pool().clone(), bus.clone(), lifecycle.clone());
        lifecycle.spawn("relay", async { relaying.await.unwrap() });
        let api = Platform::new(&self.platform.url.parse().unwrap(), "key".to_owned().into());
        let page = "http://clinic.example".to_owned();
        let notifier = Notifier::new(store.clone(), api.unwrap(), page);
        let reminders = Reminders::new(notifier.clone(), bus.clone());
        let (bus, ends) = (bus.clone(), lifecycle.clone());
        let accounts = notifier.clone().follow_accounts(bus.clone(), ends.clone());
        lifecycle.spawn("accounts", async { accounts.await.unwrap() });
        let changes = notifier.follow_appointments(bus, ends.clone());
        lifecycle.spawn("changes", async { changes.await.unwrap() });
        let schedules = reminders.clone().follow_appointments(ends.clone());
        lifecycle.spawn("schedules", async { schedules.await.unwrap() });
        let due = reminders.follow_due(ends);
        lifecycle.spawn("due", async { due.await.unwrap() });
    }

    pub async fn book(&self, new: &Appointment) -> Appointment {
        match self.store.book(new, &new.id).await.unwrap() {
            Booked::Done(appointment) => appointment,
            other => panic!("{other:?}"),
        }
    }

    pub async fn act(&self, before: &Appointment, by: Role, action: Action) -> Appointment {
        let now = clock::now();
        let next = before.decide(by, action, now).unwrap();
        match self.store.change(before, next, None, now).await.unwrap() {
            Booked::Done(appointment) => appointment,
            other => panic!("{other:?}"),
        }
    }

    pub async fn told(&self, to: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} notifications to {to}"), async || {
            self.platform.titles(to).len() >= count
        })
        .await;
        self.platform.titles(to)
    }

    pub async fn close(self) {
        assert!(self.lifecycle.stop(std::time::Duration::from_secs(60)).await);
        self.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_hears_of_what_the_other_did() {
    let clinic = Clinic::open().await;
    let appointment = clinic.book(&asked("apt_a", "den_1", &patient(1), time(3))).await;
    let to_dentist = clinic.told("den_1", 1).await;
    assert!(to_dentist[0].starts_with("Nueva cita: "), "{to_dentist:?}");
    let proposed = clinic.act(&appointment, Role::Dentist, Action::Propose(time(4))).await;
    let agreed = clinic.act(&proposed, Role::Patient, Action::AcceptProposal).await;
    let over = clinic.act(&agreed, Role::Dentist, Action::Cancel).await;
    assert!(over.actions(Role::Patient, clock::now()).is_empty());

    let to_patient = clinic.told(&patient(1), 2).await;
    assert!(to_patient[0].starts_with("Te proponen otra hora: "), "in order: {to_patient:?}");
    assert!(to_patient[1].starts_with("Cita anulada: "), "{to_patient:?}");
    let to_dentist = clinic.told("den_1", 2).await;
    assert!(to_dentist[1].starts_with("Nueva hora aceptada: "), "{to_dentist:?}");

    let told = clinic.platform.told();
    let body =
        |to: &str| told.notifications.iter().find(|(_, body)| body["to"] == to).unwrap().1.clone();
    assert_eq!(body("den_1")["channels"], serde_json::json!(["in_app", "email"]));
    let patient_body = body(&patient(1));
    let all = serde_json::json!(["in_app", "email", "sms", "whatsapp"]);
    assert_eq!(patient_body["channels"], all, "the platform knows what the patient wants");
    assert_eq!(patient_body["content"]["url"], "http://clinic.example/#/a/apt_a");
    let wishes = &told.recipients.iter().find(|(id, _)| *id == patient(1)).unwrap().1;
    assert_eq!(
        wishes["preferences"],
        serde_json::json!({"email": true, "sms": true, "whatsapp": false})
    );
    clinic.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_on_the_way_tells_nothing_twice() {
    let clinic = Clinic::open().await;
    // A full gateway, then one whose answer is lost after it stored the request.
    clinic.platform.told.lock().unwrap().troubles = vec![502, 429];
    let appointment = clinic.book(&asked("apt_b", "den_1", &patient(2), time(3))).await;
    clinic.told("den_1", 1).await;
    // The event once more, as a redrive would bring it.
    let event =
        AppointmentChanged::of(&appointment, None, campana_clinic::appointment::Change::Requested);
    let again = AppointmentChanged { id: format!("{}-1", appointment.id), ..event };
    let message = campana_bus::outgoing(&again, None).unwrap();
    let message = campana_bus::publish::Outgoing { message_id: "another".to_owned(), ..message };
    clinic.bus.publish(message).await.unwrap();
    clinic.act(&appointment, Role::Patient, Action::Cancel).await;
    clinic.told("den_1", 2).await;
    let keys: Vec<String> =
        clinic.platform.told().notifications.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), keys.iter().collect::<BTreeSet<_>>().len(), "{keys:?}");
    assert_eq!(keys, ["clinic-apt_b-1", "clinic-apt_b-2"]);
    assert_eq!(clinic.platform.told().repeats, 1, "asked for the lost answer, once");
    clinic.close().await;
}
