//! What the composition root may set: addresses come as bound listeners, everything else as plain values.
//!
//! Every limit of the sandbox is a field here or a named constant beside the code that enforces
//! it. This module reads no environment and no file: configuration is the binary's business.

use std::time::Duration;

use tokio::net::TcpListener;

/// Account that the Twilio-compatible endpoint answers for unless another is configured.
pub const DEFAULT_TWILIO_ACCOUNT_SID: &str = "AC00000000000000000000000000005b0c";
/// Auth token of that account: it signs callbacks and is the Basic password. Not a secret.
pub const DEFAULT_TWILIO_AUTH_TOKEN: &str = "sandbox-twilio-auth-token";

/// Sockets that were bound by the caller, so that port 0 works and a busy port fails early.
#[derive(Debug)]
pub struct SandboxListeners {
    pub smtp: TcpListener,
    pub web: TcpListener,
}

/// All settings of the sandbox.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Base URL under which people and services reach the web side, shown on the page and
    /// accepted as a `Host`. `None`: the page uses the address it was loaded from.
    pub public_web_url: Option<String>,
    pub twilio_account_sid: String,
    pub twilio_auth_token: String,
    /// Secrets of webhook names known from the start: `(name, whsec_…)`.
    pub webhook_secrets: Vec<(String, String)>,
    /// How many messages are kept; the oldest goes first.
    pub keep: usize,
    /// How many bytes of messages are kept, whatever their number.
    pub keep_bytes: usize,
    /// How many receipts are kept for readers of the feed; the oldest goes first.
    pub keep_receipts: usize,
    /// How many bytes of receipts are kept, whatever their number.
    pub keep_receipt_bytes: usize,
    pub smtp: SmtpLimits,
    pub web: WebLimits,
    pub callbacks: CallbackOptions,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            public_web_url: None,
            twilio_account_sid: DEFAULT_TWILIO_ACCOUNT_SID.to_owned(),
            twilio_auth_token: DEFAULT_TWILIO_AUTH_TOKEN.to_owned(),
            webhook_secrets: Vec::new(),
            keep: 2_000,
            keep_bytes: 128 * 1024 * 1024,
            keep_receipts: 200_000,
            keep_receipt_bytes: 32 * 1024 * 1024,
            smtp: SmtpLimits::default(),
            web: WebLimits::default(),
            callbacks: CallbackOptions::default(),
        }
    }
}

/// Limits of the SMTP receiver.
#[derive(Debug, Clone)]
pub struct SmtpLimits {
    /// Connections served at once; one more is told 421.
    pub connections: usize,
    /// Octets of a command line with its CRLF; RFC 4954 wants room for long AUTH answers.
    pub command_line: usize,
    /// Octets of one line of a message. RFC 5321 says 1,000; senders often exceed it.
    pub text_line: usize,
    /// Octets of one message, announced as SIZE.
    pub message_bytes: usize,
    /// Octets of messages being received at once over all connections.
    pub in_flight_bytes: usize,
    pub recipients: usize,
    /// Refused commands after which the connection is closed.
    pub bad_commands: u32,
    /// How long the client may be silent.
    pub idle: Duration,
}

impl Default for SmtpLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            command_line: 4_096,
            text_line: 64 * 1024,
            message_bytes: 10 * 1024 * 1024,
            in_flight_bytes: 256 * 1024 * 1024,
            recipients: 100,
            bad_commands: 20,
            idle: Duration::from_secs(300),
        }
    }
}

/// Limits of the web side (page, read API, Twilio and webhook endpoints).
#[derive(Debug, Clone)]
pub struct WebLimits {
    pub connections: usize,
    /// Octets of one request body.
    pub body_bytes: usize,
    /// Pages that may follow the live stream at once.
    pub live_viewers: usize,
    /// Webhook names that may have a secret.
    pub webhook_names: usize,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self { connections: 4_096, body_bytes: 1024 * 1024, live_viewers: 64, webhook_names: 1_000 }
    }
}

/// How status callbacks of the Twilio-compatible endpoint behave without faults.
#[derive(Debug, Clone)]
pub struct CallbackOptions {
    /// Time between two status changes (queued, sent, delivered, read).
    pub step: Duration,
    /// Deadline of one callback request.
    pub timeout: Duration,
    /// Tries of one callback when the target cannot be reached or answers 5xx.
    pub attempts: u32,
    /// Callback requests in flight at once.
    pub concurrency: usize,
    /// Messages whose status story is still running; one more gets no callbacks.
    pub pending: usize,
    /// Hosts that may be called besides the loopback ones.
    pub allowed_hosts: Vec<String>,
}

impl Default for CallbackOptions {
    fn default() -> Self {
        Self {
            step: Duration::from_millis(50),
            timeout: Duration::from_secs(5),
            attempts: 3,
            concurrency: 64,
            pending: 20_000,
            allowed_hosts: Vec::new(),
        }
    }
}
