//! Counting by state: windows, prefixes, tenants and the limit.

use std::collections::BTreeMap;

use campana_notify::contracts::{Channel, DeliveryStatus, OutcomeEvent};
use campana_notify::store::Store;
use campana_notify::store::counts::{CountFilter, Counts};

use crate::at;
use crate::story::Story;

type Deliveries<'a> = &'a [(&'a str, Channel, DeliveryStatus)];

/// Records a notification that was accepted so many microseconds after the beginning of time.
async fn record(store: &Store, tenant: &str, accepted: i64, deliveries: Deliveries<'_>) {
    let story = Story::new(tenant, &format!("{tenant}-{accepted}"));
    let mut outcome = story.planned(deliveries);
    if let OutcomeEvent::Planned { summary, .. } = &mut outcome.event {
        summary.accepted_at = at(accepted);
    }
    store.apply_outcomes(&[outcome]).await.unwrap();
}

fn of(list: &[(&str, u64)]) -> BTreeMap<String, u64> {
    list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

pub async fn notifications_and_deliveries_are_counted_by_state(store: &Store, tenant: &str) {
    use Channel::{Email, InApp};
    use DeliveryStatus::{Delivered, Failed, Queued};
    let other = format!("{tenant}-other");
    record(store, tenant, 1, &[("lt-7-1", InApp, Delivered), ("lt-7-1", Email, Failed)]).await;
    record(store, tenant, 2, &[("lt-7-2", InApp, Delivered)]).await;
    record(store, tenant, 3, &[("lt-70-2", InApp, Delivered), ("lt-7-9", Email, Queued)]).await;
    // Neither a pattern nor a locale decides what a prefix is.
    record(store, tenant, 4, &[("lt%7-1", InApp, Delivered), ("LT-7-1", InApp, Failed)]).await;
    record(store, &other, 2, &[("lt-7-1", InApp, Failed)]).await;
    let all = CountFilter { from: at(0), to: at(100), recipient_prefix: None, limit: 10 };
    let counts = store.counts(tenant, &all).await.unwrap();
    let expected = Counts {
        notifications: of(&[("completed", 1), ("partially_failed", 2), ("planned", 1)]),
        deliveries: BTreeMap::from([
            ("email".to_owned(), of(&[("failed", 1), ("queued", 1)])),
            ("in_app".to_owned(), of(&[("delivered", 4), ("failed", 1)])),
        ]),
        complete: true,
    };
    assert_eq!(counts, expected);

    let run = CountFilter { recipient_prefix: Some("lt-7-".to_owned()), ..all.clone() };
    let counts = store.counts(tenant, &run).await.unwrap();
    assert_eq!(counts.notifications.values().sum::<u64>(), 3);
    assert_eq!(counts.deliveries["in_app"], of(&[("delivered", 2)]));
    assert_eq!(counts.deliveries["email"], of(&[("failed", 1), ("queued", 1)]));

    let window = CountFilter { from: at(2), to: at(4), ..all.clone() };
    let counts = store.counts(tenant, &window).await.unwrap();
    assert_eq!(counts.notifications.values().sum::<u64>(), 2, "from is in, to is not");

    for (limit, complete) in [(4, true), (3, false)] {
        let short = CountFilter { limit, ..all.clone() };
        let counts = store.counts(tenant, &short).await.unwrap();
        assert_eq!(counts.notifications.values().sum::<u64>(), u64::from(limit));
        assert_eq!(counts.complete, complete);
    }
    let nobody = CountFilter { recipient_prefix: Some("' OR 1=1 --".to_owned()), ..all };
    let counts = store.counts(tenant, &nobody).await.unwrap();
    assert_eq!(counts, Counts { complete: true, ..Counts::default() });
}
