//! One engine under every command: opens the target's receivers once, runs steps one after the
//! other, and makes of each a judged [`crate::model::Step`]. `run`, `sweep`, `saturate`, `soak`
//! and the peers differ only in which steps they ask for.

pub mod campaign;
pub mod faults;
pub mod growth;
pub mod health;
pub mod live;
pub mod null_target;
pub mod output;
pub mod probe;
mod pump;
pub mod session;
pub mod source;
pub mod step;
mod view;
pub mod waves;

pub use campaign::{Campaign, Finished, Options};
pub use session::{Session, SessionPlan};
