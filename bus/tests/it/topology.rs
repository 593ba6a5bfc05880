//! Streams as data: applying is idempotent, differences are found and mended.

use async_nats::jetstream::stream;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, CHANNELS, TopologyOptions};

#[tokio::test]
async fn applying_twice_changes_nothing_and_leaves_no_difference() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus("test").await.unwrap();
    let wanted = topology::platform(TopologyOptions::default());
    let before = topology::diff(&bus, &wanted).await.unwrap();
    assert_eq!(before.len(), wanted.streams.len() + wanted.buckets.len());
    topology::apply(&bus, &wanted).await.unwrap();
    assert_eq!(topology::diff(&bus, &wanted).await.unwrap(), Vec::new());
    let epoch = bus.position(CHANNELS).await.unwrap().epoch;
    topology::apply(&bus, &wanted).await.unwrap();
    assert_eq!(bus.position(CHANNELS).await.unwrap().epoch, epoch);
}

#[tokio::test]
async fn a_changed_stream_is_found_and_mended() {
    let server = NatsServer::start().unwrap();
    let bus = server.bus_with_topology("test").await.unwrap();
    let found = bus.jetstream().get_stream(CHANNELS).await.unwrap().cached_info().config.clone();
    bus.jetstream()
        .update_stream(stream::Config { max_messages_per_subject: 5, ..found })
        .await
        .unwrap();
    let wanted = topology::platform(TopologyOptions::default());
    let differences = topology::diff(&bus, &wanted).await.unwrap();
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert_eq!(differences[0].field, "max_messages_per_subject");
    topology::apply(&bus, &wanted).await.unwrap();
    assert_eq!(topology::diff(&bus, &wanted).await.unwrap(), Vec::new());
}
