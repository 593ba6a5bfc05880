//! The address of a webhook, checked before anything is resolved.
//! Reads: one text. Writes: nothing. Never: resolves a name; names are checked again after resolution.

use std::net::IpAddr;

use url::{Host, Url};

use super::ssrf::Filter;

/// Longest address.
const URL_BYTES_MAX: usize = 2_048;

/// An address that may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As it is called.
    pub url: Url,
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL with a host.
    #[error("not a web address")]
    Malformed,
    /// Neither https nor an allowed http.
    #[error("the scheme must be https")]
    Scheme,
    /// User name or password inside.
    #[error("the address must not hold a user name or password")]
    Credentials,
    /// Not a port that may be called.
    #[error("the port is not allowed")]
    Port,
    /// Not a public address.
    #[error("the address is not public")]
    Address,
}

impl EndpointError {
    /// The machine-readable reason.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "webhook_bad_url",
            Self::Scheme => "webhook_bad_scheme",
            Self::Credentials => "webhook_credentials",
            Self::Port => "webhook_bad_port",
            Self::Address => "webhook_blocked",
        }
    }
}

impl Endpoint {
    /// Checks an address. The URL parser turns every spelling of an IPv4 address (decimal, octal,
    /// hexadecimal, short) into the same one, so the literal that is checked is the one that is called.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str, filter: &Filter) -> Result<Self, EndpointError> {
        if text.len() > URL_BYTES_MAX {
            return Err(EndpointError::Malformed);
        }
        let url = Url::parse(text.trim()).map_err(|_| EndpointError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        let literal = match url.host().ok_or(EndpointError::Malformed)? {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            Host::Domain(name) => {
                check_name(name)?;
                None
            }
        };
        if literal.is_some_and(|address| !filter.permits(address)) {
            return Err(EndpointError::Address);
        }
        // An operator who lists a network takes it as it is, with its ports and without TLS.
        if literal.is_some_and(|address| filter.is_listed(address)) {
            return Ok(Self { url });
        }
        if url.scheme() == "http" && !filter.permits_http() {
            return Err(EndpointError::Scheme);
        }
        let port = url.port_or_known_default().ok_or(EndpointError::Malformed)?;
        if !filter.permits_port(port) {
            return Err(EndpointError::Port);
        }
        Ok(Self { url })
    }
}

/// Names that never lead to a public host. What they resolve to is checked as well; this only answers
/// sooner and in plainer words.
fn check_name(name: &str) -> Result<(), EndpointError> {
    let name = name.trim_end_matches('.');
    let last = name.rsplit('.').next().unwrap_or(name);
    let numeric = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if name.is_empty() || numeric {
        return Err(EndpointError::Malformed);
    }
    let local = ["localhost", "local", "internal", "home.arpa", "localdomain"].iter().any(|end| {
        name.eq_ignore_ascii_case(end) || name.to_ascii_lowercase().ends_with(&format!(".{end}"))
    });
    if local || !name.contains('.') { Err(EndpointError::Address) } else { Ok(()) }
}
