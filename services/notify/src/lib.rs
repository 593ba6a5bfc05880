//! The notification platform. Its roles (gateway, dispatcher, channels, recorder) meet on subjects only;
//! what they say to each other is in [`contracts`].

pub mod contracts;
