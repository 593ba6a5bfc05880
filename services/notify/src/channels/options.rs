//! Configuration of the channels, with a default for everything that has one.
//! Reads: nothing. Writes: nothing. Never: shows a secret; `Debug` redacts them.

use secrecy::SecretString;
use serde::Deserialize;

/// All channels.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelOptions {
    /// Where the outside world reaches the gateway: providers call back there.
    pub public_url: String,
    /// E-mail.
    pub email: EmailOptions,
    /// SMS and WhatsApp.
    pub twilio: TwilioOptions,
    /// Webhooks.
    pub webhook: WebhookOptions,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:8080".to_owned(),
            email: EmailOptions::default(),
            twilio: TwilioOptions::default(),
            webhook: WebhookOptions::default(),
        }
    }
}

/// How the connection to the relay is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// STARTTLS, or nothing is sent (ports 587 and 25).
    #[default]
    Required,
    /// TLS from the first byte (port 465).
    Implicit,
    /// STARTTLS if it is offered: an attacker in between can take the offer away.
    Opportunistic,
    /// Plain text: for a relay on the same machine.
    None,
}

/// The SMTP relay.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmailOptions {
    /// Name or address of the relay.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Protection of the connection.
    pub tls: SmtpTls,
    /// A PEM file with the certificate authority of a private relay.
    pub ca_file: Option<std::path::PathBuf>,
    /// User name; empty for none.
    pub username: String,
    /// Password.
    pub password: SecretString,
    /// The sender, as in `Campana <bell@example.com>`. Its domain also names the messages.
    pub from: String,
    /// What this host calls itself; the system's name if empty.
    pub hello_name: String,
    /// Deliveries in hand at the same time: those that wait for a connection, and those whose outcome is being
    /// stored, included.
    pub max_in_flight: usize,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Messages before a connection is replaced.
    pub messages_per_connection: u32,
    /// Seconds before a connection is replaced.
    pub connection_seconds: u64,
    /// Seconds after which an unused connection is closed.
    pub idle_seconds: u64,
    /// Seconds to connect, and for each of greeting, EHLO, TLS and AUTH.
    pub connect_timeout_seconds: u64,
    /// Seconds for MAIL and for RCPT.
    pub command_timeout_seconds: u64,
    /// Seconds for DATA.
    pub data_timeout_seconds: u64,
    /// Seconds for the text and the answer to its final dot.
    pub body_timeout_seconds: u64,
    /// Pauses between attempts.
    pub retry_seconds: Vec<u64>,
}

impl Default for EmailOptions {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 587,
            tls: SmtpTls::Required,
            ca_file: None,
            username: String::new(),
            password: SecretString::from(String::new()),
            from: "Campana <bell@campana.invalid>".to_owned(),
            hello_name: String::new(),
            max_in_flight: 256,
            max_connections: 8,
            messages_per_connection: 100,
            connection_seconds: 300,
            idle_seconds: 30,
            connect_timeout_seconds: 10,
            command_timeout_seconds: 10,
            data_timeout_seconds: 30,
            body_timeout_seconds: 60,
            retry_seconds: vec![5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600],
        }
    }
}

/// The Twilio account, or a service that speaks like it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TwilioOptions {
    /// Where the API is.
    pub base_url: String,
    /// The account.
    pub account_sid: String,
    /// The account's token; it also signs the callbacks.
    pub auth_token: SecretString,
    /// The number that SMS come from.
    pub sms_from: String,
    /// A messaging service instead of a number.
    pub messaging_service_sid: String,
    /// The number that WhatsApp messages come from.
    pub whatsapp_from: String,
    /// Deliveries in hand at the same time, waiting ones included.
    pub max_in_flight: usize,
    /// Requests at the same time.
    pub max_requests: usize,
    /// Seconds to connect.
    pub connect_timeout_seconds: u64,
    /// Seconds for the whole request.
    pub timeout_seconds: u64,
    /// Pauses between attempts.
    pub retry_seconds: Vec<u64>,
}

impl Default for TwilioOptions {
    fn default() -> Self {
        Self {
            base_url: "https://api.twilio.com".to_owned(),
            account_sid: String::new(),
            auth_token: SecretString::from(String::new()),
            sms_from: String::new(),
            messaging_service_sid: String::new(),
            whatsapp_from: String::new(),
            max_in_flight: 64,
            max_requests: 16,
            connect_timeout_seconds: 5,
            timeout_seconds: 20,
            retry_seconds: vec![10, 60, 300, 1_800],
        }
    }
}

/// Webhooks to addresses that users gave us.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookOptions {
    /// Signs for recipients without a secret of their own: `whsec_` and the base64 of 24 to 64 bytes.
    pub default_secret: SecretString,
    /// Networks that may be called although they are private, for example `127.0.0.1/32`.
    pub allow_networks: Vec<String>,
    /// Whether `http:` is allowed too; always is for addresses inside `allow_networks`.
    pub allow_http: bool,
    /// Ports that may be called; any port is allowed for addresses inside `allow_networks`.
    pub allow_ports: Vec<u16>,
    /// Deliveries in hand at the same time, waiting ones included.
    pub max_in_flight: usize,
    /// Requests to one host at the same time, so that a slow one does not hold all places.
    pub max_per_host: usize,
    /// Seconds to connect.
    pub connect_timeout_seconds: u64,
    /// Seconds for the whole request.
    pub timeout_seconds: u64,
    /// Pauses between attempts: the example of the Standard Webhooks specification.
    pub retry_seconds: Vec<u64>,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            default_secret: SecretString::from(String::new()),
            allow_networks: Vec::new(),
            allow_http: false,
            allow_ports: vec![80, 443, 8080, 8443],
            max_in_flight: 256,
            max_per_host: 8,
            connect_timeout_seconds: 5,
            timeout_seconds: 15,
            retry_seconds: vec![5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400],
        }
    }
}
