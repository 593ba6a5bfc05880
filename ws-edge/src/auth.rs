//! Who connects, by what, and for how long: everything around tokens that a session cannot know by itself.
//! Reads: requests, revocations, answers of services. Writes: revocations, questions.
//! Never: decides for a session; it hands over what the session decides by.

pub(crate) mod handshake;
pub(crate) mod origin;
pub(crate) mod proxy;
pub(crate) mod revocations;
pub(crate) mod revoked;

pub use revocations::{RevokeFailure, revoke};

use std::sync::Arc;

use anyhow::Context as _;
use campana_bus::lifecycle::Lifecycle;

use crate::mailbox::{Mailbox, Push};
use crate::server::Node;

/// A connection uses a token with this mark.
pub(crate) fn uses(node: &Node, mailbox: &Mailbox, mark: u64) {
    mailbox.uses(mark);
    // What was revoked since the session looked went to those who had said what they use.
    if !node.rules.revoked.is_empty() {
        mailbox.push(Push::Revoked);
    }
}

/// Learns what was revoked, before anybody is let in.
///
/// # Errors
/// If the bucket of revocations is not there or cannot be read.
pub(crate) async fn start(node: &Arc<Node>, lifecycle: &Lifecycle) -> anyhow::Result<()> {
    if node.rules.options.tokens.allow_short_secret {
        tracing::warn!(
            "tokens.allow_short_secret is on: whoever has one token can find a short secret by trying; \
             move issuers to a long one and switch it off"
        );
    }
    revocations::start(node, lifecycle)
        .await
        .context("revocations cannot be read; `campana topology apply` makes what is missing")
}
