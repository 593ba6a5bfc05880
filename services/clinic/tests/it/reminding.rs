//! Reminders: set, moved, cancelled, and sent when they are due. No test waits for a day: what is scheduled is looked
//! at where the server keeps it, and what is due is told as the server would.

use campana_bus::clock::{self, Micros};
use campana_bus::topology::EVENTS;
use campana_clinic::appointment::{Action, Role};
use campana_clinic::calendar::{self, Reminder};
use campana_clinic::events::ReminderDue;

use crate::telling::Clinic;
use crate::world::{asked, eventually, patient, time};

/// Key and time of every schedule, in the order of time.
async fn schedules(clinic: &Clinic) -> Vec<(String, Micros)> {
    let all = clinic.bus.schedules(EVENTS, 0, 100).await.unwrap();
    let mut all: Vec<_> = all.into_iter().map(|one| (one.key, one.next_at.unwrap())).collect();
    all.sort_by_key(|(_, at)| *at);
    all
}

fn wanted(appointment: &str, starts_at: Micros) -> Vec<(String, Micros)> {
    let madrid = calendar::zone("Europe/Madrid").unwrap();
    let of = |reminder: Reminder| {
        (ReminderDue::key(appointment, reminder), reminder.due(&madrid, starts_at))
    };
    Reminder::ALL.map(of).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn reminders_follow_the_appointment() {
    let clinic = Clinic::open().await;
    let (first, other) = (time(10), time(12));
    let appointment = clinic.book(&asked("apt_r", "den_1", &patient(1), first)).await;
    clinic.told("den_1", 1).await;
    assert!(schedules(&clinic).await.is_empty(), "nobody agreed yet");

    let agreed = clinic.act(&appointment, Role::Dentist, Action::Accept).await;
    let set = wanted("apt_r", first);
    eventually("both reminders", async || schedules(&clinic).await == set).await;

    let proposed = clinic.act(&agreed, Role::Dentist, Action::Propose(other)).await;
    clinic.told(&patient(1), 2).await;
    assert_eq!(schedules(&clinic).await, set, "a proposal alone moves nothing");
    let moved = clinic.act(&proposed, Role::Patient, Action::AcceptProposal).await;
    let set = wanted("apt_r", other);
    eventually("moved reminders", async || schedules(&clinic).await == set).await;

    clinic.act(&moved, Role::Patient, Action::Cancel).await;
    eventually("no reminders", async || schedules(&clinic).await.is_empty()).await;
    clinic.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_books_late_gets_the_reminder_that_is_left() {
    let clinic = Clinic::open().await;
    // In two to two and a half hours: yesterday is over, the hour before is not.
    let half_hour = 1_800_000_000;
    let soon = Micros(clock::now().plus_seconds(7_200).0 / half_hour * half_hour + half_hour);
    let appointment = clinic.book(&asked("apt_s", "den_1", &patient(1), soon)).await;
    clinic.act(&appointment, Role::Dentist, Action::Accept).await;
    let left = vec![wanted("apt_s", soon).remove(1)];
    eventually("one reminder", async || schedules(&clinic).await == left).await;
    clinic.close().await;
}

/// The next two changes of the clocks lie within a year, one in each direction, whenever this runs.
#[tokio::test(flavor = "multi_thread")]
async fn on_days_when_clocks_change_a_day_before_is_the_same_time_of_day() {
    let clinic = Clinic::open().await;
    let madrid = calendar::zone("Europe/Madrid").unwrap();
    let now = jiff::Timestamp::from_microsecond(clock::now().0).unwrap();
    let mut hours = Vec::new();
    let mut set = Vec::new();
    for (number, change) in madrid.following(now).take(2).enumerate() {
        // Ten in the morning after the change. On the eve of a change the reminder may be over.
        let day = change.timestamp().to_zoned(madrid.clone()).date();
        let ten = day.at(10, 0, 0, 0).to_zoned(madrid.clone()).unwrap();
        let starts_at = Micros(ten.timestamp().as_microsecond());
        let id = format!("apt_dst_{number}");
        let appointment = clinic.book(&asked(&id, "den_1", &patient(1), starts_at)).await;
        clinic.act(&appointment, Role::Dentist, Action::Accept).await;
        let [day_before, hour_before] = Reminder::ALL.map(|one| one.due(&madrid, starts_at));
        assert_eq!(calendar::local(&madrid, day_before).strftime("%H:%M").to_string(), "10:00");
        hours.push(starts_at.since(day_before) / 3_600_000_000);
        assert_eq!(starts_at.since(hour_before), 3_600_000_000);
        let ahead = |(_, due): &(String, Micros)| *due > clock::now();
        set.extend(wanted(&id, starts_at).into_iter().filter(ahead));
    }
    hours.sort_unstable();
    assert_eq!(hours, [23, 25]);
    set.sort_by_key(|(_, at)| *at);
    eventually("what the server keeps", async || schedules(&clinic).await == set).await;
    clinic.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_reminder_is_told_once_and_only_if_the_appointment_stands() {
    let clinic = Clinic::open().await;
    let starts_at = time(3);
    let appointment = clinic.book(&asked("apt_t", "den_1", &patient(1), starts_at)).await;
    let agreed = clinic.act(&appointment, Role::Dentist, Action::Accept).await;
    clinic.told(&patient(1), 1).await;

    let due = ReminderDue::of(&agreed, Reminder::DayBefore);
    let emit = async |event: &ReminderDue, id: &str| {
        let message = campana_bus::outgoing(event, None).unwrap();
        let message = campana_bus::publish::Outgoing { message_id: id.to_owned(), ..message };
        clinic.bus.publish(message).await.unwrap();
    };
    emit(&due, "first").await;
    emit(&due, "repeat").await;
    // One that was scheduled for a time that the appointment does not have any more.
    let stale = ReminderDue { id: "stale".to_owned(), starts_at: starts_at.0 - 1, ..due.clone() };
    emit(&stale, "stale").await;
    let hour = ReminderDue::of(&agreed, Reminder::HourBefore);
    emit(&hour, "hour").await;
    clinic.told(&patient(1), 3).await;
    settled(&clinic).await;
    let told = clinic.platform.told().notifications;
    let of = |name: &str| told.iter().filter(|(key, _)| key.contains(name)).count();
    assert_eq!((of("-day_before-"), of("-hour_before-")), (1, 1), "{told:?}");

    clinic.act(&agreed, Role::Patient, Action::Cancel).await;
    clinic.told("den_1", 2).await;
    emit(&ReminderDue { id: "late".to_owned(), ..due }, "late").await;
    settled(&clinic).await;
    assert_eq!(clinic.platform.titles(&patient(1)).len(), 3, "nobody is reminded of what is off");
    clinic.close().await;
}

/// The clinic was closed for a while: of two reminders that are due by then, one is enough, and it is true.
#[tokio::test(flavor = "multi_thread")]
async fn late_reminders_are_one_and_true() {
    let clinic = Clinic::open().await;
    let soon = clock::now().plus_seconds(1_200);
    let appointment = clinic.book(&asked("apt_u", "den_1", &patient(1), soon)).await;
    let agreed = clinic.act(&appointment, Role::Dentist, Action::Accept).await;
    clinic.told(&patient(1), 1).await;
    for reminder in Reminder::ALL {
        let event = ReminderDue::of(&agreed, reminder);
        clinic.bus.publish(campana_bus::outgoing(&event, None).unwrap()).await.unwrap();
    }
    settled(&clinic).await;
    let titles = clinic.platform.titles(&patient(1)).split_off(1);
    assert_eq!(titles.len(), 1, "{titles:?}");
    assert!(titles.iter().all(|title| title.starts_with("Tu cita empieza dentro de poco: ")));
    clinic.close().await;
}

/// The consumer of due reminders has nothing left.
async fn settled(clinic: &Clinic) {
    let stream = clinic.bus.jetstream().get_stream(EVENTS).await.unwrap();
    eventually("a consumer without work", async || {
        let info = stream.consumer_info("clinic-reminders-due").await.unwrap();
        info.num_pending == 0 && info.num_ack_pending == 0
    })
    .await;
}
