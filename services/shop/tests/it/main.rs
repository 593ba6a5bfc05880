//! The shop with a real nats-server, on both databases, its page's requests included.
#![cfg(test)]

mod books;
mod guide;
mod harness;
mod hostile;
mod later;
mod once;
mod ways;
