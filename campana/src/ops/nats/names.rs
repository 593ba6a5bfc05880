//! The names of what the collector emits, and where each number stands in the server's answers.
//! Reads: nothing. Writes: nothing. Never: invents a name where prometheus-nats-exporter has one: as run by the
//! official Helm chart (`-prefix=nats -jsz=all`) it and this collector can be exchanged.
//!
//! Left out of the exporter's families: `nats_stream_consumer_count`, a gauge whose name ends like a part of a
//! histogram, which `promtool check metrics` refuses (`campana_stream_consumers` has the number); and the labels
//! `consumer_desc` and `consumer_created`, free text and a time.

/// A metric and where its number stands in the JSON, as a pointer (RFC 6901).
pub type Number = (&'static str, &'static str);

/// Almost everything is a gauge, as the exporter has it. `cargo xtask gen` reads the kind from here.
const fn gauge(name: &'static str, place: &'static str) -> Number {
    (name, place)
}

/// What ends in `_total` is a counter, or `promtool check metrics` refuses it.
const fn counter(name: &'static str, place: &'static str) -> Number {
    (name, place)
}

/// Open client connections of a server.
const VARZ_CONNECTIONS: &str = "nats_varz_connections";
/// Client connections that a server had since it started.
const VARZ_TOTAL_CONNECTIONS: &str = "nats_varz_total_connections";
/// Client connections that a server takes at most.
const VARZ_MAX_CONNECTIONS: &str = "nats_varz_max_connections";
/// Routes to other servers of the cluster.
const VARZ_ROUTES: &str = "nats_varz_routes";
/// Servers of the cluster that a server is connected to.
const VARZ_REMOTES: &str = "nats_varz_remotes";
/// Leaf nodes that are connected to a server.
const VARZ_LEAFNODES: &str = "nats_varz_leafnodes";
/// Messages that came to a server since it started.
const VARZ_IN_MSGS: &str = "nats_varz_in_msgs";
/// Messages that a server sent since it started.
const VARZ_OUT_MSGS: &str = "nats_varz_out_msgs";
/// Bytes of messages that came to a server since it started.
const VARZ_IN_BYTES: &str = "nats_varz_in_bytes";
/// Bytes of messages that a server sent since it started.
const VARZ_OUT_BYTES: &str = "nats_varz_out_bytes";
/// Connections that a server cut because they read too slowly, since it started.
const VARZ_SLOW_CONSUMERS: &str = "nats_varz_slow_consumers";
/// Clients among the connections that were cut because they read too slowly.
const VARZ_SLOW_CLIENTS: &str = "nats_varz_slow_consumer_stats_clients";
/// Routes among the connections that were cut because they read too slowly.
const VARZ_SLOW_ROUTES: &str = "nats_varz_slow_consumer_stats_routes";
/// Connections that a server closed because nothing came from them any more, since it started.
const VARZ_STALE_CONNECTIONS: &str = "nats_varz_stale_connections";
/// Subscriptions of a server.
const VARZ_SUBSCRIPTIONS: &str = "nats_varz_subscriptions";
/// Resident memory of a server in bytes.
const VARZ_MEM: &str = "nats_varz_mem";
/// CPU that a server uses, in percent of one core.
const VARZ_CPU: &str = "nats_varz_cpu";
/// Cores of the machine that a server runs on.
const VARZ_CORES: &str = "nats_varz_cores";
/// Largest message in bytes that a server takes.
const VARZ_MAX_PAYLOAD: &str = "nats_varz_max_payload";
/// Bytes that may wait for one connection before it counts as too slow.
const VARZ_MAX_PENDING: &str = "nats_varz_max_pending";
/// Bytes of memory that a server gives JetStream.
const VARZ_JS_MAX_MEMORY: &str = "nats_varz_jetstream_config_max_memory";
/// Bytes of disk that a server gives JetStream.
const VARZ_JS_MAX_STORAGE: &str = "nats_varz_jetstream_config_max_storage";
/// Bytes of memory that JetStream uses on a server.
const VARZ_JS_MEMORY: &str = "nats_varz_jetstream_stats_memory";
/// Bytes of disk that JetStream uses on a server.
pub const VARZ_JS_STORAGE: &str = "nats_varz_jetstream_stats_storage";
/// Bytes of memory that streams with a limit reserve on a server.
const VARZ_JS_RESERVED_MEMORY: &str = "nats_varz_jetstream_stats_reserved_memory";
/// Bytes of disk that streams with a limit reserve on a server.
const VARZ_JS_RESERVED_STORAGE: &str = "nats_varz_jetstream_stats_reserved_storage";
/// Replicated streams and consumers that a server holds.
const VARZ_JS_HA_ASSETS: &str = "nats_varz_jetstream_stats_ha_assets";
/// Requests to JetStream's API that a server answered since it started.
const VARZ_JS_API_TOTAL: &str = "nats_varz_jetstream_stats_api_total";
/// Requests to JetStream's API that a server refused since it started.
const VARZ_JS_API_ERRORS: &str = "nats_varz_jetstream_stats_api_errors";

/// What `/varz` says of a server.
pub const VARZ: [Number; 29] = [
    gauge(VARZ_CONNECTIONS, "/connections"),
    gauge(VARZ_TOTAL_CONNECTIONS, "/total_connections"),
    gauge(VARZ_MAX_CONNECTIONS, "/max_connections"),
    gauge(VARZ_ROUTES, "/routes"),
    gauge(VARZ_REMOTES, "/remotes"),
    gauge(VARZ_LEAFNODES, "/leafnodes"),
    gauge(VARZ_IN_MSGS, "/in_msgs"),
    gauge(VARZ_OUT_MSGS, "/out_msgs"),
    gauge(VARZ_IN_BYTES, "/in_bytes"),
    gauge(VARZ_OUT_BYTES, "/out_bytes"),
    gauge(VARZ_SLOW_CONSUMERS, "/slow_consumers"),
    gauge(VARZ_SLOW_CLIENTS, "/slow_consumer_stats/clients"),
    gauge(VARZ_SLOW_ROUTES, "/slow_consumer_stats/routes"),
    gauge(VARZ_STALE_CONNECTIONS, "/stale_connections"),
    gauge(VARZ_SUBSCRIPTIONS, "/subscriptions"),
    gauge(VARZ_MEM, "/mem"),
    gauge(VARZ_CPU, "/cpu"),
    gauge(VARZ_CORES, "/cores"),
    gauge(VARZ_MAX_PAYLOAD, "/max_payload"),
    gauge(VARZ_MAX_PENDING, "/max_pending"),
    gauge(VARZ_JS_MAX_MEMORY, "/jetstream/config/max_memory"),
    gauge(VARZ_JS_MAX_STORAGE, "/jetstream/config/max_storage"),
    gauge(VARZ_JS_MEMORY, "/jetstream/stats/memory"),
    gauge(VARZ_JS_STORAGE, "/jetstream/stats/storage"),
    gauge(VARZ_JS_RESERVED_MEMORY, "/jetstream/stats/reserved_memory"),
    gauge(VARZ_JS_RESERVED_STORAGE, "/jetstream/stats/reserved_storage"),
    gauge(VARZ_JS_HA_ASSETS, "/jetstream/stats/ha_assets"),
    counter(VARZ_JS_API_TOTAL, "/jetstream/stats/api/total"),
    gauge(VARZ_JS_API_ERRORS, "/jetstream/stats/api/errors"),
];

/// 1 if a server has no JetStream.
const SERVER_DISABLED: &str = "nats_server_jetstream_disabled";
/// Streams that a server holds, copies included.
const SERVER_STREAMS: &str = "nats_server_total_streams";
/// Consumers that a server holds, copies included.
const SERVER_CONSUMERS: &str = "nats_server_total_consumers";
/// Messages that a server holds, copies included.
const SERVER_MESSAGES: &str = "nats_server_total_messages";
/// Bytes of messages that a server holds, copies included.
const SERVER_BYTES: &str = "nats_server_total_message_bytes";
/// Bytes of memory that a server gives JetStream, as `/jsz` says.
const SERVER_MAX_MEMORY: &str = "nats_server_max_memory";
/// Bytes of disk that a server gives JetStream, as `/jsz` says.
const SERVER_MAX_STORAGE: &str = "nats_server_max_storage";

/// What `/jsz` says of a server.
pub const SERVER: [Number; 7] = [
    gauge(SERVER_DISABLED, "/disabled"),
    gauge(SERVER_STREAMS, "/streams"),
    gauge(SERVER_CONSUMERS, "/consumers"),
    gauge(SERVER_MESSAGES, "/messages"),
    gauge(SERVER_BYTES, "/bytes"),
    gauge(SERVER_MAX_MEMORY, "/config/max_memory"),
    gauge(SERVER_MAX_STORAGE, "/config/max_storage"),
];

/// Messages in a stream.
const STREAM_MESSAGES: &str = "nats_stream_total_messages";
/// Bytes in a stream.
const STREAM_BYTES: &str = "nats_stream_total_bytes";
/// Sequence of the oldest message of a stream.
const STREAM_FIRST: &str = "nats_stream_first_seq";
/// Sequence of the newest message of a stream; grows by one a message.
const STREAM_LAST: &str = "nats_stream_last_seq";
/// Consumers of a stream.
const STREAM_CONSUMERS: &str = "campana_stream_consumers";
/// Messages that a stream holds at most; absent without such a limit.
const STREAM_MAX_MESSAGES: &str = "campana_stream_max_messages";
/// Bytes that a stream holds at most; absent without such a limit.
const STREAM_MAX_BYTES: &str = "campana_stream_max_bytes";
/// Copies of a stream that there should be.
const STREAM_REPLICAS: &str = "campana_stream_replicas";
/// Copies of a stream that are there and not behind, the leader included.
const STREAM_CURRENT_REPLICAS: &str = "campana_stream_current_replicas";

/// What there is to know of a stream.
pub const STREAM: [Number; 6] = [
    gauge(STREAM_MESSAGES, "/state/messages"),
    gauge(STREAM_BYTES, "/state/bytes"),
    gauge(STREAM_FIRST, "/state/first_seq"),
    gauge(STREAM_LAST, "/state/last_seq"),
    gauge(STREAM_CONSUMERS, "/state/consumer_count"),
    gauge(STREAM_REPLICAS, "/config/num_replicas"),
];

/// Copies that count as current are counted, not read.
pub const STREAM_CURRENT: Number = gauge(STREAM_CURRENT_REPLICAS, "/cluster/replicas");

/// Limits of a stream: no series where the number is not above 0.
pub const STREAM_LIMITS: [Number; 2] =
    [gauge(STREAM_MAX_MESSAGES, "/config/max_msgs"), gauge(STREAM_MAX_BYTES, "/config/max_bytes")];

/// How many messages a consumer was given, repeats included.
const CONSUMER_DELIVERED: &str = "nats_consumer_delivered_consumer_seq";
/// Sequence in the stream of the last message that a consumer was given.
const CONSUMER_DELIVERED_STREAM: &str = "nats_consumer_delivered_stream_seq";
/// Sequence among its deliveries up to which a consumer has settled everything.
const CONSUMER_FLOOR: &str = "nats_consumer_ack_floor_consumer_seq";
/// Sequence in the stream up to which a consumer has settled everything.
const CONSUMER_FLOOR_STREAM: &str = "nats_consumer_ack_floor_stream_seq";
/// Messages that a consumer was given and has not settled.
pub const CONSUMER_ACK_PENDING: &str = "nats_consumer_num_ack_pending";
/// Messages in hand that a consumer was given more than once.
const CONSUMER_REDELIVERED: &str = "nats_consumer_num_redelivered";
/// Requests of a consumer's processes that wait for messages.
const CONSUMER_WAITING: &str = "nats_consumer_num_waiting";
/// Messages that a consumer was never given.
pub const CONSUMER_PENDING: &str = "nats_consumer_num_pending";
/// 1 while a consumer is paused.
const CONSUMER_PAUSED: &str = "campana_consumer_paused";
/// Messages that a consumer may have in hand; absent without such a limit.
const CONSUMER_MAX_ACK_PENDING: &str = "campana_consumer_max_ack_pending";

/// What there is to know of a consumer.
pub const CONSUMER: [Number; 9] = [
    gauge(CONSUMER_DELIVERED, "/delivered/consumer_seq"),
    gauge(CONSUMER_DELIVERED_STREAM, "/delivered/stream_seq"),
    gauge(CONSUMER_FLOOR, "/ack_floor/consumer_seq"),
    gauge(CONSUMER_FLOOR_STREAM, "/ack_floor/stream_seq"),
    gauge(CONSUMER_ACK_PENDING, "/num_ack_pending"),
    gauge(CONSUMER_REDELIVERED, "/num_redelivered"),
    gauge(CONSUMER_WAITING, "/num_waiting"),
    gauge(CONSUMER_PENDING, "/num_pending"),
    gauge(CONSUMER_PAUSED, "/paused"),
];

/// Limits of a consumer: no series where the number is not above 0.
pub const CONSUMER_LIMITS: [Number; 1] =
    [gauge(CONSUMER_MAX_ACK_PENDING, "/config/max_ack_pending")];

/// 1 if the last reading of NATS worked; only the process that reads has it.
pub const COLLECTOR_UP: &str = "campana_nats_collector_up";
/// How long the last reading of NATS took, in seconds.
pub const COLLECTOR_TOOK: &str = "campana_nats_collector_last_duration_seconds";
/// Streams and consumers without series of their own, because there are too many.
pub const LEFT_OUT: &str = "campana_nats_collector_left_out";
/// 1 if the monitoring port of a server answered, by address.
pub const MONITOR_UP: &str = "campana_nats_monitor_up";
/// Streams without a leader: nothing can be stored in them.
pub const LEADERLESS: &str = "campana_nats_leaderless_streams";
/// Bytes of disk that the account uses; only where no monitoring port is configured.
pub const ACCOUNT_STORAGE: &str = "campana_nats_account_storage_bytes";
/// Bytes of disk that the account may use; absent without such a limit.
const ACCOUNT_MAX_STORAGE: &str = "campana_nats_account_max_storage_bytes";

/// What the API says of the account.
pub const ACCOUNT: [Number; 1] = [gauge(ACCOUNT_STORAGE, "/storage")];
/// Its limits.
pub const ACCOUNT_LIMITS: [Number; 1] = [gauge(ACCOUNT_MAX_STORAGE, "/limits/max_storage")];
