//! The commands that measure. Each turns its arguments into steps, lets the engine run them, and
//! tells how it went: results on stdout, exit code for scripts.

pub mod agent;
pub mod common;
pub mod run;
pub mod saturate;
mod search;
pub mod selftest;
pub mod soak;
pub mod sweep;
