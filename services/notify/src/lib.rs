//! The notification platform. Its roles (gateway, dispatcher, channels, recorder) meet on subjects only;
//! what they say to each other is in [`contracts`].

pub(crate) mod cache;
pub mod channels;
pub mod contracts;
pub mod dispatcher;
pub mod gateway;
pub mod plan;
pub mod recorder;
pub mod render;
pub mod store;
pub mod telemetry;
