//! The chat beside a whole platform: one target, each file one promise.
//! Reads: the programs beside the test. Writes: temporary folders. Never: uses anything of the chat but what a browser or
//! an operator has.

mod away;
mod browser;
mod flood;
mod world;
