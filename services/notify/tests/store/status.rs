//! Outcomes in, status out: in any order, any number of times.

use campana_notify::contracts::{Channel, DeliveryStatus, OutcomeEvent};
use campana_notify::store::{DeliveryRow, ListFilter, NotificationRow, OutcomeRow, Store};

use crate::story::Story;
use crate::{T0, at};

type Rows = (NotificationRow, Vec<DeliveryRow>, Vec<OutcomeRow>);

pub async fn outcomes_in_any_order_give_the_same_rows(store: &Store) {
    use Channel::{Email, InApp, Sms};
    let of = |tenant: &str| {
        let story = Story::new(tenant, "order");
        let outcomes = vec![
            story.planned(&[
                ("a", InApp, DeliveryStatus::Delivered),
                ("a", Email, DeliveryStatus::Queued),
                ("b", Sms, DeliveryStatus::Queued),
            ]),
            story.attempt("a", Email, 0, 1, DeliveryStatus::Retrying),
            story.attempt("a", Email, 0, 2, DeliveryStatus::Failed),
            story.attempt("a", Email, 1, 1, DeliveryStatus::Sent),
            story.attempt("b", Sms, 0, 1, DeliveryStatus::Sent),
            story.confirmed("b", Sms, DeliveryStatus::Delivered, 0),
            story.read("a", InApp),
        ];
        (story, outcomes)
    };
    let mut reference = None;
    for seed in 0..12_usize {
        let tenant = format!("order-{seed}");
        let (story, mut outcomes) = of(&tenant);
        let count = outcomes.len();
        // Some other order for every seed, and some other cut into batches.
        for step in 0..count {
            outcomes.swap(step, (step * 5 + seed * 3 + 1) % count);
        }
        let size = seed % 4 + 1;
        let mut fresh = 0;
        for chunk in outcomes.chunks(size) {
            fresh += store.apply_outcomes(chunk).await.unwrap().fresh;
        }
        assert_eq!(fresh, count);
        let more = Story::new(&tenant, "more").planned(&[("a", InApp, DeliveryStatus::Delivered)]);
        let mixed = [outcomes[0].clone(), more.clone(), more];
        let applied = store.apply_outcomes(&mixed).await.unwrap();
        let counts = (applied.fresh, applied.repeated, applied.completed.len());
        assert_eq!(counts, (1, 2, 1), "new beside repeated");
        let again = store.apply_outcomes(&outcomes).await.unwrap();
        assert_eq!(
            (again.fresh, again.repeated, again.completed.len()),
            (0, count, 0),
            "a repeat changes nothing"
        );

        let id = story.id.to_string();
        let notification = store.notification(&tenant, &id).await.unwrap().unwrap();
        let deliveries = store.deliveries(&tenant, &id).await.unwrap();
        let timeline = store.timeline(&tenant, &id).await.unwrap();
        assert_eq!(notification.status, "completed");
        assert_eq!(notification.metadata["order"], "7");
        let rows = (notification, deliveries, timeline);
        match &reference {
            None => reference = Some(rows),
            Some(first) => assert_eq!(&rows, first, "order {seed}"),
        }
    }
    check_rows(&reference.unwrap());
}

fn check_rows((_, deliveries, timeline): &Rows) {
    let statuses: Vec<_> = deliveries
        .iter()
        .map(|row| (row.channel.as_deref().unwrap(), row.status.as_str()))
        .collect();
    assert_eq!(statuses, [("email", "sent"), ("in_app", "delivered"), ("sms", "delivered")]);
    assert_eq!(deliveries[1].read_at, Some(at(6_000)));
    let events: Vec<_> = timeline.iter().map(|row| row.event.as_str()).collect();
    assert_eq!(
        events,
        ["planned", "attempted", "attempted", "attempted", "attempted", "confirmed", "read"]
    );
    assert!(timeline[3].possible_duplicate && !timeline[1].possible_duplicate);
}

pub async fn an_attempt_before_its_plan_is_kept(store: &Store, tenant: &str) {
    let story = Story::new(tenant, "early");
    let applied = store
        .apply_outcomes(&[story.attempt("a", Channel::Email, 0, 1, DeliveryStatus::Sent)])
        .await
        .unwrap();
    assert_eq!(applied.completed.len(), 1);
    let first = &applied.completed[0];
    assert_eq!((first.channel, first.micros), (Some(Channel::Email), 100), "before its plan");
    assert_eq!(story.status(store).await, "accepted");
    store
        .apply_outcomes(&[story.planned(&[("a", Channel::Email, DeliveryStatus::Queued)])])
        .await
        .unwrap();
    assert_eq!(story.status(store).await, "completed");
    assert_eq!(story.delivery_status(store, "a").await, "sent");
    let row = store.notification(tenant, &story.id.to_string()).await.unwrap().unwrap();
    assert_eq!(
        (row.created_at, row.priority.as_str(), row.template.as_deref()),
        (at(0), "critical", Some("welcome"))
    );
    assert_eq!(row.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
}

pub async fn a_status_moves_forward_only_and_a_redrive_reopens_it(store: &Store, tenant: &str) {
    let story = Story::new(tenant, "forward");
    let email = Channel::Email;
    store.apply_outcomes(&[story.planned(&[("a", email, DeliveryStatus::Queued)])]).await.unwrap();
    assert_eq!(story.status(store).await, "planned");
    for (outcome, delivery, notification) in [
        (story.attempt("a", email, 0, 2, DeliveryStatus::Failed), "failed", "failed"),
        (story.attempt("a", email, 0, 1, DeliveryStatus::Retrying), "failed", "failed"),
        (story.attempt("a", email, 1, 1, DeliveryStatus::Retrying), "retrying", "planned"),
        (story.attempt("a", email, 1, 2, DeliveryStatus::Sent), "sent", "completed"),
        (story.confirmed("a", email, DeliveryStatus::Delivered, 1), "delivered", "completed"),
        (story.attempt("a", email, 1, 3, DeliveryStatus::Sent), "delivered", "completed"),
    ] {
        store.apply_outcomes(std::slice::from_ref(&outcome)).await.unwrap();
        assert_eq!(story.delivery_status(store, "a").await, delivery, "{:?}", outcome.event);
        assert_eq!(story.status(store).await, notification, "{:?}", outcome.event);
    }
}

pub async fn notification_statuses_follow_the_deliveries(store: &Store, tenant: &str) {
    use DeliveryStatus::{Delivered, Expired, Failed, Queued, Retrying, Suppressed};
    for (name, statuses, expected) in [
        ("nobody", vec![], "completed"),
        ("waiting", vec![Delivered, Queued], "planned"),
        ("trying", vec![Failed, Retrying], "planned"),
        ("good", vec![Delivered, Suppressed], "completed"),
        ("bad", vec![Failed, Expired], "failed"),
        ("mixed", vec![Failed, Delivered], "partially_failed"),
    ] {
        let story = Story::new(tenant, name);
        let names: Vec<String> = (0..statuses.len()).map(|at| format!("r{at}")).collect();
        let deliveries: Vec<_> = names
            .iter()
            .zip(&statuses)
            .map(|(name, status)| (name.as_str(), Channel::InApp, *status))
            .collect();
        store.apply_outcomes(&[story.planned(&deliveries)]).await.unwrap();
        assert_eq!(story.status(store).await, expected, "{name}");
    }
}

pub async fn scheduled_and_rejected_requests_have_statuses_of_their_own(
    store: &Store,
    tenant: &str,
) {
    use DeliveryStatus::Delivered;
    let scheduled = Story::new(tenant, "scheduled");
    let event = OutcomeEvent::Scheduled { summary: Story::summary(), until: at(9_000) };
    store.apply_outcomes(&[scheduled.outcome("s", 1, event)]).await.unwrap();
    assert_eq!(scheduled.status(store).await, "scheduled");
    store.apply_outcomes(&[scheduled.planned(&[("a", Channel::InApp, Delivered)])]).await.unwrap();
    assert_eq!(scheduled.status(store).await, "completed");
    let row = store.notification(tenant, &scheduled.id.to_string()).await.unwrap().unwrap();
    assert_eq!(row.scheduled_at, Some(at(9_000)));

    let rejected = Story::new(tenant, "rejected");
    let event =
        OutcomeEvent::Rejected { summary: Story::summary(), reason: "unknown_template".to_owned() };
    store.apply_outcomes(&[rejected.outcome("r", 1, event)]).await.unwrap();
    assert_eq!(rejected.status(store).await, "failed");
    let row = store.notification(tenant, &rejected.id.to_string()).await.unwrap().unwrap();
    assert_eq!(row.reason.as_deref(), Some("unknown_template"));
    store.apply_outcomes(&[rejected.planned(&[("a", Channel::InApp, Delivered)])]).await.unwrap();
    assert_eq!(
        rejected.status(store).await,
        "completed",
        "a redriven request can still be planned"
    );
}

pub async fn pages_are_complete_and_do_not_overlap(store: &Store, tenant: &str) {
    let mut expected = Vec::new();
    let mut batch = Vec::new();
    for number in 0..23_i64 {
        let story = Story::new(tenant, &format!("page-{number}"));
        let status =
            if number % 2 == 0 { DeliveryStatus::Delivered } else { DeliveryStatus::Failed };
        let recipient = if number % 3 == 0 { "x" } else { "y" };
        let mut outcome = story.planned(&[(recipient, Channel::InApp, status)]);
        if let OutcomeEvent::Planned { summary, .. } = &mut outcome.event {
            // Several share a time, so that the id has to decide.
            summary.accepted_at = at(number / 4);
        }
        expected.push((number / 4, story.id.to_string()));
        batch.push(outcome);
    }
    store.apply_outcomes(&batch).await.unwrap();
    expected.sort();
    expected.reverse();
    let mut seen = Vec::new();
    let mut filter = ListFilter::default();
    loop {
        let page = store.list_notifications(tenant, &filter, 5).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some((last.created_at, last.id.clone()));
        seen.extend(page.into_iter().map(|row| (row.created_at.0 - T0, row.id)));
    }
    assert_eq!(seen, expected);
    let count = async |status: Option<&str>, recipient: Option<&str>| {
        let filter = ListFilter {
            status: status.map(str::to_owned),
            recipient: recipient.map(str::to_owned),
            before: None,
        };
        store.list_notifications(tenant, &filter, 100).await.unwrap().len()
    };
    assert_eq!(count(Some("failed"), None).await, 11);
    assert_eq!(count(None, Some("x")).await, 8);
    assert_eq!(count(Some("failed"), Some("x")).await, 4);
    assert_eq!(count(None, Some("' OR 1=1 --")).await, 0);
}

pub async fn tenants_are_apart(store: &Store) {
    let mine = Story::new("tenant-a", "shared");
    store
        .apply_outcomes(&[mine.planned(&[("alice", Channel::InApp, DeliveryStatus::Delivered)])])
        .await
        .unwrap();
    let id = mine.id.to_string();
    assert!(store.notification("tenant-a", &id).await.unwrap().is_some());
    assert!(store.notification("tenant-b", &id).await.unwrap().is_none());
    assert!(store.deliveries("tenant-b", &id).await.unwrap().is_empty());
    assert!(store.timeline("tenant-b", &id).await.unwrap().is_empty());
    let delivery = vec![mine.delivery("alice", Channel::InApp).to_string()];
    assert_eq!(store.deliveries_of("tenant-a", "alice", &delivery).await.unwrap().len(), 1);
    assert!(store.deliveries_of("tenant-b", "alice", &delivery).await.unwrap().is_empty());
    assert!(
        store.deliveries_of("tenant-a", "bob", &delivery).await.unwrap().is_empty(),
        "not bob's"
    );
    store.ensure_recipient("tenant-a", "alice", at(0)).await.unwrap();
    assert!(store.recipient("tenant-b", "alice").await.unwrap().is_none());
    assert!(!store.delete_recipient("tenant-b", "alice").await.unwrap());
}

pub async fn a_large_batch_is_one_transaction(store: &Store, tenant: &str) {
    let names: Vec<String> = (0..100).map(|at| format!("r{at}")).collect();
    let deliveries: Vec<_> =
        names.iter().map(|name| (name.as_str(), Channel::Email, DeliveryStatus::Queued)).collect();
    let mut batch = Vec::new();
    for number in 0..12 {
        let story = Story::new(tenant, &format!("large-{number}"));
        batch.push(story.planned(&deliveries));
        batch.extend(
            names
                .iter()
                .map(|name| story.attempt(name, Channel::Email, 0, 1, DeliveryStatus::Sent)),
        );
    }
    let applied = store.apply_outcomes(&batch).await.unwrap();
    assert_eq!(applied.fresh, 12 * 101);
    assert_eq!(applied.completed.len(), 1_200);
    assert!(applied.completed.iter().all(|done| done.channel == Some(Channel::Email)));
    let story = Story::new(tenant, "large-3");
    assert_eq!(store.deliveries(tenant, &story.id.to_string()).await.unwrap().len(), 100);
    assert_eq!(story.status(store).await, "completed");
}
