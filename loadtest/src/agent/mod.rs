//! Load from several processes or machines as one run. A coordinator (the command that measures)
//! deals the load out to agents, agrees with them on instants, collects their books and joins
//! them; it makes no load itself. Agents are children of its own, spoken to over pipes, or
//! processes elsewhere, spoken to over TCP with a shared token.

pub mod fleet;
pub mod lead;
mod line;
mod member;
mod offset;
pub mod part;
pub mod protocol;
mod round;
pub mod secret;
pub mod serve;
mod whole;
mod work;
