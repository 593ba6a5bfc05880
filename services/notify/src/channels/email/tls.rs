//! How the connection to the relay is encrypted.
//! Reads: the certificate file of a private relay, once at the start. Writes: nothing. Never: accepts a
//! certificate that does not verify.

use std::path::Path;

use lettre::transport::smtp::client::{Certificate, TlsParameters};

use crate::channels::SmtpTls;

/// The mode and what it needs.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) mode: SmtpTls,
    /// Absent only for [`SmtpTls::None`].
    pub(super) parameters: Option<TlsParameters>,
}

impl Tls {
    pub(super) fn new(mode: SmtpTls, host: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        if mode == SmtpTls::None {
            return Ok(Self { mode, parameters: None });
        }
        let mut builder = TlsParameters::builder(host.to_owned());
        if let Some(path) = ca_file {
            let pem = std::fs::read(path)
                .map_err(|error| format!("ca_file {}: {error}", path.display()))?;
            let certificate = Certificate::from_pem(&pem)
                .map_err(|error| format!("ca_file {}: {error}", path.display()))?;
            builder = builder.add_root_certificate(certificate);
        }
        let parameters = builder.build().map_err(|error| format!("TLS: {error}"))?;
        Ok(Self { mode, parameters: Some(parameters) })
    }
}
