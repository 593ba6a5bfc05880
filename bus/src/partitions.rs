//! Partitioned streams: strict order by key over any number of processes.
//! Reads: `EVENTS`, through a stream that the server fills from it. Writes: that stream's definition.
//! Never: changes a partitioned stream that is there: with another number of partitions a key's messages
//! would lie in two of them, and nobody could tell which come first.
//!
//! Keyed events go to `EVENTS` as all events do. A partitioned stream takes chosen kinds of them over, in
//! order, and its subject transform puts each key into one of N partitions. Each partition has one durable
//! consumer with one message in hand at a time (`max_ack_pending = 1`), whose order no crash can break: the
//! server has nothing else to give away before that message has ended. The processes share the partitions
//! through the server's priority groups with pinned clients. docs/adr/0017-order-by-key.md says what is
//! promised in each case.
//!
//! ```no_run
//! # use campana_bus::{Bus, Event, stop_on_signal, consume::{Failure, Meta}};
//! # #[derive(serde::Serialize, serde::Deserialize)] struct OrderChanged;
//! # impl Event for OrderChanged { const SERVICE: &'static str = "shop"; const NAME: &'static str = "order_changed"; }
//! # async fn bill(event: OrderChanged, meta: Meta) -> Result<(), Failure> { Ok(()) }
//! # async fn main_() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = Bus::from_env("billing").await?;
//! let orders = bus.partitioned("ORDERS", 16).of::<OrderChanged>().open().await?;
//! orders.consumer::<OrderChanged>("billing").run(bill, stop_on_signal()).await?;
//! # Ok(()) }
//! ```

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, Source, StorageType, SubjectTransform};

use crate::connect::Bus;
use crate::consume::ConsumerSpec;
use crate::event::{Consumer, Event};
use crate::subjects;
use crate::topology::EVENTS;

/// Most partitions of one stream: each costs a consumer on the server and a pull request per process.
pub const PARTITIONS_MAX: u16 = 256;
/// Streams and durable names are part of subjects and of file names on the server.
const NAME_BYTES_MAX: usize = 64;
/// Where a partitioned stream's kinds of events and number of partitions are written down.
const METADATA: &str = "campana.partitions";

/// Why a partitioned stream cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The definition makes no sense.
    #[error("partitioned stream {stream}: {reason}")]
    Definition {
        /// Which stream.
        stream: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The stream is there with other partitions or other events.
    #[error(
        "partitioned stream {stream} is there as {found}, not as {wanted}: its partitions cannot be changed, \
         so use another name and move the consumers when the old stream is empty"
    )]
    Different {
        /// Which stream.
        stream: String,
        /// What the definition says.
        wanted: String,
        /// What the server has.
        found: String,
    },
    /// The server did not do it.
    #[error("partitioned stream {stream}: {reason}")]
    Server {
        /// Which stream.
        stream: String,
        /// What the server said.
        reason: String,
    },
}

/// The definition of a partitioned stream.
#[must_use = "a definition does nothing until it is opened"]
#[derive(Clone, Debug)]
pub struct Definition<'a> {
    bus: &'a Bus,
    stream: String,
    partitions: u16,
    /// Service and event.
    kinds: Vec<(&'static str, &'static str)>,
}

impl Bus {
    /// The definition of a partitioned stream: which is to be told which events it takes
    /// ([`Definition::of`]) and opened. The number of partitions is how many keys can be at work at the same
    /// time over all processes; it stays for the life of the stream, so choose 16 to 64.
    pub fn partitioned(&self, stream: &str, partitions: u16) -> Definition<'_> {
        Definition { bus: self, stream: stream.to_owned(), partitions, kinds: Vec::new() }
    }
}

impl<'a> Definition<'a> {
    /// Takes one more kind of keyed events; those without a key are left out. Events of all kinds of one
    /// stream keep their order among each other.
    pub fn of<E: Event>(mut self) -> Self {
        if !self.kinds.contains(&(E::SERVICE, E::NAME)) {
            self.kinds.push((E::SERVICE, E::NAME));
        }
        self
    }

    /// Creates the stream if it is not there; it starts with the events that `EVENTS` has.
    ///
    /// # Errors
    /// If the definition makes no sense, the stream is there with another one, or the server refuses.
    pub async fn open(self) -> Result<Partitioned<'a>, PartitionError> {
        self.check()?;
        let wanted = self.config();
        match self.bus.jetstream().get_stream(&self.stream).await {
            Ok(stream) => self.compare(&stream.cached_info().config)?,
            Err(error)
                if matches!(error.kind(), GetStreamErrorKind::JetStream(inner)
                    if inner.error_code() == ErrorCode::STREAM_NOT_FOUND) =>
            {
                let events = self.bus.jetstream().get_stream(EVENTS).await.map_err(|error| {
                    self.server(format!("its source {EVENTS} cannot be read: {error}"))
                })?;
                let events = &events.cached_info().config;
                let config = Config {
                    max_age: events.max_age,
                    num_replicas: events.num_replicas,
                    duplicate_window: events.duplicate_window,
                    ..wanted
                };
                // Another process may have been faster; then it must have meant the same.
                let stream = self
                    .bus
                    .jetstream()
                    .get_or_create_stream(config)
                    .await
                    .map_err(|error| self.server(error))?;
                self.compare(&stream.cached_info().config)?;
            }
            Err(error) => return Err(self.server(error)),
        }
        Ok(Partitioned { bus: self.bus, stream: self.stream, partitions: self.partitions })
    }

    fn check(&self) -> Result<(), PartitionError> {
        let wrong = |reason: &str| {
            Err(PartitionError::Definition {
                stream: self.stream.clone(),
                reason: reason.to_owned(),
            })
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.stream.is_empty()
            || self.stream.len() > NAME_BYTES_MAX
            || !self.stream.chars().all(allowed)
        {
            return wrong("the name has 1 to 64 ASCII letters, digits, \"-\" and \"_\"");
        }
        if self.partitions == 0 || self.partitions > PARTITIONS_MAX {
            return wrong("it has 1 to 256 partitions");
        }
        if self.kinds.is_empty() {
            return wrong("it takes no events: name at least one kind with of::<Event>()");
        }
        Ok(())
    }

    fn config(&self) -> Config {
        let transform = |(service, event): &(&str, &str)| SubjectTransform {
            source: subjects::app_event_keyed_filter(service, event),
            destination: subjects::partition_transform(
                &self.stream,
                self.partitions,
                service,
                event,
            ),
        };
        Config {
            name: self.stream.clone(),
            description: Some(
                "events in partitions by key, for consumers that keep order".to_owned(),
            ),
            // Only what comes back to its consumers is published to it; the rest comes from its source.
            subjects: vec![subjects::retry_filter_all(&self.stream)],
            sources: Some(vec![Source {
                name: EVENTS.to_owned(),
                subject_transforms: self.kinds.iter().map(transform).collect(),
                ..Source::default()
            }]),
            storage: StorageType::File,
            allow_direct: true,
            metadata: [(METADATA.to_owned(), self.described())].into(),
            ..Config::default()
        }
    }

    fn compare(&self, found: &Config) -> Result<(), PartitionError> {
        let wanted = self.described();
        let found = found.metadata.get(METADATA).cloned();
        if found.as_ref() == Some(&wanted) {
            return Ok(());
        }
        Err(PartitionError::Different {
            stream: self.stream.clone(),
            wanted,
            found: found.unwrap_or_else(|| "a stream without partitions".to_owned()),
        })
    }

    /// The same text for the same definition, whatever the order of its kinds.
    fn described(&self) -> String {
        let mut kinds: Vec<String> =
            self.kinds.iter().map(|(service, event)| format!("{service}.{event}")).collect();
        kinds.sort_unstable();
        format!("{} partitions of {}", self.partitions, kinds.join(", "))
    }

    fn server(&self, reason: impl std::fmt::Display) -> PartitionError {
        PartitionError::Server { stream: self.stream.clone(), reason: reason.to_string() }
    }
}

/// A partitioned stream that is there.
#[derive(Clone, Debug)]
pub struct Partitioned<'a> {
    bus: &'a Bus,
    stream: String,
    partitions: u16,
}

impl<'a> Partitioned<'a> {
    /// A consumer of one kind of event. There is one durable for each partition, `{durable}-{partition}`;
    /// processes with the same name share the partitions.
    pub fn consumer<E: Event>(&self, durable: &str) -> Consumer<'a, E> {
        self.with_filter(durable, |partition| {
            subjects::partition_filter(&self.stream, partition, E::SERVICE, E::NAME)
        })
    }

    /// A consumer of all kinds of events of the stream, in order among each other; to be run with
    /// [`Consumer::run_raw`], which can tell them by the header `ce-type`.
    pub fn consumer_of_all(&self, durable: &str) -> Consumer<'a, ()> {
        self.with_filter(durable, |partition| {
            subjects::partition_filter_all(&self.stream, partition)
        })
    }

    fn with_filter<E>(&self, durable: &str, filter: impl Fn(u16) -> String) -> Consumer<'a, E> {
        let partitions = (0..self.partitions)
            .map(|partition| (format!("{durable}-{partition}"), vec![filter(partition)]))
            .collect();
        let spec = ConsumerSpec {
            // Also how long the messages of a process that died wait for another one.
            ack_wait: Duration::from_secs(15),
            ..ConsumerSpec::new(&self.stream, durable, "")
        };
        Consumer::partitioned(self.bus, spec, partitions)
    }
}
