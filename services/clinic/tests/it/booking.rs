//! Nobody books twice: on both engines, with everybody at once.

use at_once::join_all;
use campana_bus::clock;
use campana_bus_sqlx::testing::Postgres;
use campana_clinic::appointment::{Action, Role, Status};
use campana_clinic::store::Store;
use campana_clinic::store::appointments::{Booked, OPEN_MAX};
use campana_clinic::store::lists::Which;

use crate::world::{PATIENTS, asked, number, patient, populated, sqlite, time};

/// Many tasks side by side.
mod at_once {
    pub async fn join_all<T: Send + 'static>(
        all: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        let handles: Vec<_> = all.map(tokio::spawn).collect();
        let mut done = Vec::new();
        for handle in handles {
            done.push(handle.await.unwrap());
        }
        done
    }
}

async fn everybody_wants_one_time(store: &Store) {
    let starts_at = time(3);
    // The first ten have their own parts below.
    let all = (10..PATIENTS).map(|number| {
        let store = store.clone();
        let new = asked(&format!("apt_{number}"), "den_1", &patient(number), starts_at);
        async move { store.book(&new, "form-1").await.unwrap() }
    });
    let answers = join_all(all).await;
    let done = answers.iter().filter(|answer| matches!(answer, Booked::Done(_))).count();
    let taken = answers.iter().filter(|answer| **answer == Booked::Taken).count();
    assert_eq!((done, taken), (1, PATIENTS - 11), "{answers:?}");
    assert_eq!(number(store, "SELECT COUNT(*) FROM appointments").await, 1);
    assert_eq!(number(store, "SELECT COUNT(*) FROM held_times").await, 1);
    let events = "SELECT COUNT(*) FROM campana_outbox WHERE subject LIKE '%.appointment_changed.%'";
    assert_eq!(number(store, events).await, 1, "one booking, one event");
}

async fn a_form_sent_many_times_books_once(store: &Store) {
    let starts_at = time(4);
    let all = (0..20).map(|number| {
        let store = store.clone();
        let new = asked(&format!("apt_again_{number}"), "den_1", &patient(1), starts_at);
        async move { store.book(&new, "form-again").await.unwrap() }
    });
    let answers = join_all(all).await;
    let mut ids: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            Booked::Done(appointment) | Booked::Before(appointment) => appointment.id.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "every answer names the one appointment: {ids:?}");
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Booked::Done(_))).count(), 1);
}

async fn a_patient_is_in_one_place(store: &Store) {
    let starts_at = time(5);
    let all = ["den_1", "den_2"].into_iter().enumerate().map(|(number, dentist)| {
        let store = store.clone();
        let new = asked(&format!("apt_two_{number}"), dentist, &patient(2), starts_at);
        async move { store.book(&new, &format!("form-two-{number}")).await.unwrap() }
    });
    let answers = join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Booked::Done(_))).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Booked::Busy).count(), 1);
}

async fn a_patient_has_so_many_and_no_more(store: &Store) {
    let all = (0..20).map(|number| {
        let store = store.clone();
        let new = asked(&format!("apt_many_{number}"), "den_2", &patient(8), time(40 + number));
        async move { store.book(&new, &format!("form-many-{number}")).await.unwrap() }
    });
    let answers = join_all(all).await;
    let done = answers.iter().filter(|answer| matches!(answer, Booked::Done(_))).count();
    let refused = answers.iter().filter(|answer| **answer == Booked::TooMany).count();
    assert_eq!((done as i64, refused), (OPEN_MAX, 20 - done));
    // A form sent again is answered as before, also with no place left.
    let number = answers.iter().position(|answer| matches!(answer, Booked::Done(_))).unwrap();
    let again = asked("apt_many_again", "den_2", &patient(8), time(40 + number as i64));
    let answer = store.book(&again, &format!("form-many-{number}")).await.unwrap();
    assert!(matches!(answer, Booked::Before(_)), "{answer:?}");
}

/// Two pages show one version; both press a button.
async fn one_of_two_answers_counts(store: &Store) {
    let asked = asked("apt_both", "den_2", &patient(3), time(6));
    assert!(matches!(store.book(&asked, "form-both").await.unwrap(), Booked::Done(_)));
    let now = clock::now();
    let both = [(Role::Dentist, Action::Accept), (Role::Patient, Action::Cancel)];
    let all = both.into_iter().map(|(role, action)| {
        let (store, asked) = (store.clone(), asked.clone());
        let next = asked.decide(role, action, now).unwrap();
        async move { store.change(&asked, next, None, now).await.unwrap() }
    });
    let answers = join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Booked::Done(_))).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Booked::Stale).count(), 1);
    assert_eq!(store.appointment("apt_both").await.unwrap().unwrap().version, 2);
}

async fn a_proposal_takes_a_free_time_and_lets_go(store: &Store) {
    let (first, other, taken) = (time(7), time(8), time(9));
    let mine = asked("apt_mine", "den_1", &patient(4), first);
    let theirs = asked("apt_theirs", "den_1", &patient(5), taken);
    for one in [&mine, &theirs] {
        assert!(matches!(store.book(one, &one.id).await.unwrap(), Booked::Done(_)));
    }
    let now = clock::now();
    let propose = |at| mine.decide(Role::Dentist, Action::Propose(at), now).unwrap();
    assert_eq!(store.change(&mine, propose(taken), None, now).await.unwrap(), Booked::Taken);
    assert_eq!(store.appointment("apt_mine").await.unwrap().unwrap().version, 1, "rolled back");
    let Booked::Done(proposed) =
        store.change(&mine, propose(other), Some("Better for me"), now).await.unwrap()
    else {
        panic!("the time is free");
    };
    assert_eq!(proposed.message, "Better for me");
    let held = store.held("den_1", first.0, other.0 + 1).await.unwrap();
    assert_eq!(held, [first.0, other.0]);
    let accept = proposed.decide(Role::Patient, Action::AcceptProposal, now).unwrap();
    assert!(matches!(store.change(&proposed, accept, None, now).await.unwrap(), Booked::Done(_)));
    assert_eq!(store.held("den_1", first.0, other.0 + 1).await.unwrap(), [other.0]);
    let again = asked("apt_next", "den_1", &patient(6), first);
    assert!(matches!(store.book(&again, "form-next").await.unwrap(), Booked::Done(_)));
}

async fn lists_have_their_order_and_their_owner(store: &Store) {
    let now = clock::now();
    let list = async |role, id: &str, which| {
        let all = store.appointments((role, id), which, now, None).await.unwrap();
        all.into_iter().map(|listed| listed.appointment.id).collect::<Vec<_>>()
    };
    assert_eq!(list(Role::Patient, &patient(4), Which::Ahead).await, ["apt_mine"]);
    let of_dentist = list(Role::Dentist, "den_1", Which::Ahead).await;
    assert!(of_dentist.ends_with(&["apt_next", "apt_mine", "apt_theirs"].map(str::to_owned)));
    assert!(list(Role::Patient, &patient(4), Which::Over).await.is_empty());
    let listed = store.listed("apt_mine").await.unwrap().unwrap();
    assert_eq!(listed.patient_name, "Name of pat_4");
    assert_eq!((listed.appointment.status, listed.appointment.confirmed), (Status::Accepted, true));
}

async fn conform(url: &str) {
    let store = populated(url).await;
    everybody_wants_one_time(&store).await;
    a_form_sent_many_times_books_once(&store).await;
    a_patient_is_in_one_place(&store).await;
    a_patient_has_so_many_and_no_more(&store).await;
    one_of_two_answers_counts(&store).await;
    a_proposal_takes_a_free_time_and_lets_go(&store).await;
    lists_have_their_order_and_their_owner(&store).await;
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_books_each_time_once() {
    let folder = tempfile::tempdir().unwrap();
    conform(&sqlite(folder.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_books_each_time_once() {
    let server = Postgres::start().unwrap();
    conform(&server.url()).await;
}
