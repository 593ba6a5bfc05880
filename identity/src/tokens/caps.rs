//! The claims `caps` and `allow`: what a token permits beyond the namespace's rules.
//! Reads: claims. Writes: nothing.
//! Never: skips an entry that it does not understand. The first entry that matches a channel decides, so with
//! one left out, a later and wider one would come to decide in its place.

use super::fault::TokenFault;
use super::object::Object;
use crate::permissions::{Action, Capability, Pattern};

/// Most entries of `caps`, and most channels of one entry.
const CAPS_MAX: usize = 64;
const CHANNELS_MAX: usize = 128;

pub(super) fn parse(body: &Object<'_>) -> Result<Vec<Capability>, TokenFault> {
    let raw = body.objects("caps", "caps")?;
    if raw.len() > CAPS_MAX {
        return Err(TokenFault::claim("caps", "at most 64 entries"));
    }
    raw.iter().map(capability).collect()
}

/// The short names of actions under this claim.
pub(super) fn actions(object: &Object<'_>, claim: &str) -> Result<Vec<Action>, TokenFault> {
    let path = if claim == "allow" { "allow" } else { "caps.*.allow" };
    let named = |name: &String| {
        Action::from_short(name).ok_or(TokenFault::claim(path, "names out of sub, pub, hst, prs"))
    };
    object.texts("allow", path)?.iter().map(named).collect()
}

fn capability(raw: &Object<'_>) -> Result<Capability, TokenFault> {
    const PATTERN: &str = "texts of 1 to 255 bytes with at most 8 `*`";
    let names = raw.texts("channels", "caps.*.channels")?;
    if names.is_empty() || names.len() > CHANNELS_MAX {
        return Err(TokenFault::claim("caps.*.channels", "1 to 128 channels"));
    }
    let parse = match raw.text("match", "caps.*.match")?.as_deref() {
        None | Some("" | "exact") => Pattern::exact,
        Some("wildcard") => Pattern::parse,
        Some(_) => {
            let expected = "`exact` or `wildcard` (regular expressions are not supported)";
            return Err(TokenFault::claim("caps.*.match", expected));
        }
    };
    let channels = names
        .iter()
        .map(|name| parse(name).map_err(|_| TokenFault::claim("caps.*.channels", PATTERN)))
        .collect::<Result<_, _>>()?;
    Ok(Capability { channels, allow: actions(raw, "caps")? })
}
