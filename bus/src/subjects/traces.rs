//! Where edge nodes hear what they shall trace.

/// Every edge node hears here which connection or user somebody wants to watch; the answers go to the inbox of
/// who asks.
pub const EDGE_TRACE: &str = "edge.trace";
