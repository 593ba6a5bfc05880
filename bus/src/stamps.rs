//! Stage stamps: when one message reached each stage of its way, on the machine's monotonic clock.
//! Reads: texts and headers that others wrote. Writes: texts. Never: reads a clock, fails on a hostile value.
//!
//! The text form is `boot=<8 hexadecimal digits>;accepted=<ns>;dispatched=<ns>;…`. It travels in the header
//! [`crate::headers::STAMPS`], so that a stamp cannot come apart from what it is about. Nanoseconds of two
//! machines, or of two starts of one, say nothing about each other: `boot` tells them apart, and a process that
//! runs elsewhere passes the text on without a stamp of its own.

use std::fmt;

use async_nats::HeaderMap;

use crate::clock::Tick;
use crate::headers;

/// Bytes of the longest text that is read; all stages take less than half of it.
pub const TEXT_BYTES_MAX: usize = 512;
/// Name of the tag in which clients of the edge find the text.
pub const TAG: &str = "campana-stamps";

/// A place on the way, in the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The gateway has checked the notification.
    Accepted,
    /// The stream has acknowledged it. Known to the gateway alone, so only its answer has it.
    Stored,
    /// The dispatcher has the notification.
    Dispatched,
    /// The channel's worker has the delivery.
    Worker,
    /// The worker calls the provider.
    Provider,
    /// The edge has the publication.
    Edge,
    /// The edge encodes it for one connection, just before it goes to the socket.
    Socket,
}

impl Stage {
    /// Every stage, in the order of the way.
    pub const ALL: [Self; 7] = [
        Self::Accepted,
        Self::Stored,
        Self::Dispatched,
        Self::Worker,
        Self::Provider,
        Self::Edge,
        Self::Socket,
    ];

    /// The name in the text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stored => "stored",
            Self::Dispatched => "dispatched",
            Self::Worker => "worker",
            Self::Provider => "provider",
            Self::Edge => "edge",
            Self::Socket => "socket",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

/// The stamps of one message; never empty, and in the order of the way also in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    boot: u32,
    /// Nanoseconds by stage; 0 for none.
    at: [u64; Stage::ALL.len()],
}

impl Stamps {
    /// The first stamp.
    #[must_use]
    pub fn begin(stage: Stage, tick: Tick) -> Self {
        Self { boot: tick.boot, at: [0; Stage::ALL.len()] }.with(stage, tick)
    }

    /// One more. The stages behind it are forgotten, because a message that comes to a stage again has them still
    /// to come, and so are earlier ones that claim a later time. Nothing changes if this is another machine.
    #[must_use]
    pub fn with(mut self, stage: Stage, tick: Tick) -> Self {
        if self.boot != tick.boot {
            return self;
        }
        let here = stage as usize;
        for (index, at) in self.at.iter_mut().enumerate() {
            if index >= here || *at > tick.ns {
                *at = 0;
            }
        }
        // The clock counts from the start of the machine: 0 was before there was a process.
        self.at[here] = tick.ns.max(1);
        self
    }

    /// Nanoseconds at this stage.
    #[must_use]
    pub fn get(&self, stage: Stage) -> Option<u64> {
        Some(self.at[stage as usize]).filter(|at| *at > 0)
    }

    /// Which start of which machine the clock belongs to; see [`Tick::boot`].
    #[must_use]
    pub const fn boot(&self) -> u32 {
        self.boot
    }

    /// Reads a text that anybody may have written. What is too long, names no machine or has no stamp is
    /// nothing; of the rest, values that are no numbers, stages that are not known here and times that run
    /// backwards are left out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut members = text.split(';').map(str::trim);
        let boot = hexadecimal(members.next()?.strip_prefix("boot=")?)?;
        let mut at = [0; Stage::ALL.len()];
        for member in members {
            let Some((name, value)) = member.split_once('=') else { continue };
            if let (Some(stage), Some(ns)) = (Stage::parse(name), decimal(value)) {
                let slot = &mut at[stage as usize];
                // The first one counts.
                *slot = if *slot == 0 { ns } else { *slot };
            }
        }
        let mut latest = 0;
        for ns in &mut at {
            if *ns < latest {
                *ns = 0;
            }
            latest = latest.max(*ns);
        }
        (latest > 0).then_some(Self { boot, at })
    }

    /// The stamps that a message carries.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers::get(headers, headers::STAMPS)?)
    }
}

/// Exactly eight digits.
fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

/// Digits only: the standard library would take a sign.
fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|ns| *ns > 0)
}

impl fmt::Display for Stamps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot={:08x}", self.boot)?;
        for stage in Stage::ALL {
            if let Some(ns) = self.get(stage) {
                write!(f, ";{}={ns}", stage.as_str())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tick(ns: u64) -> Tick {
        Tick { boot: 0xab, ns }
    }

    #[test]
    fn the_text_is_read_as_it_was_written() {
        let stamps = Stamps::begin(Stage::Accepted, tick(5)).with(Stage::Dispatched, tick(9));
        assert_eq!(stamps.to_string(), "boot=000000ab;accepted=5;dispatched=9");
        assert_eq!(Stamps::parse(&stamps.to_string()), Some(stamps));
        assert_eq!((stamps.get(Stage::Accepted), stamps.get(Stage::Worker)), (Some(5), None));
        let mut longest = Stamps::begin(Stage::Accepted, tick(u64::MAX));
        for stage in Stage::ALL {
            longest = longest.with(stage, tick(u64::MAX));
        }
        assert!(longest.to_string().len() < TEXT_BYTES_MAX / 2);
        assert_eq!(Stamps::parse(&longest.to_string()), Some(longest));
    }

    #[test]
    fn a_bad_value_is_left_out_and_the_rest_stays() {
        let kept = |text: &str| Stamps::parse(text).map(|stamps| stamps.to_string());
        let good = Some("boot=000000ab;accepted=5".to_owned());
        for text in [
            "boot=000000AB;accepted=5",
            " boot=000000ab ; accepted=5 ;",
            "boot=000000ab;accepted=5;accepted=6",
            "boot=000000ab;accepted=5;later_stage=7",
            "boot=000000ab;accepted=5;worker=-1;edge=+7;socket=1e3;provider=0",
            "boot=000000ab;accepted=5;worker=99999999999999999999999;socket;=;;edge=\u{ff15}",
            "boot=000000ab;worker=4;accepted=5",
        ] {
            assert_eq!(kept(text), good, "{text}");
        }
        for text in [
            "",
            "1",
            "accepted=5",
            "boot=ab;accepted=5",
            "boot=+00000ab;accepted=5",
            "boot=000000ab",
            "boot=000000ab;accepted=0",
            "accepted=5;boot=000000ab",
        ] {
            assert_eq!(kept(text), None, "{text}");
        }
        assert_eq!(kept(&format!("boot=000000ab;accepted=5{}", ";".repeat(600))), None);
    }

    #[test]
    fn a_stage_that_is_reached_again_forgets_what_came_behind_it() {
        let first = Stamps::begin(Stage::Accepted, tick(5))
            .with(Stage::Worker, tick(7))
            .with(Stage::Provider, tick(8));
        assert_eq!(
            first.with(Stage::Worker, tick(20)).to_string(),
            "boot=000000ab;accepted=5;worker=20"
        );
        // A forged time after now is no stamp.
        let forged = Stamps::parse("boot=000000ab;accepted=99;socket=100").unwrap();
        assert_eq!(forged.with(Stage::Edge, tick(20)).to_string(), "boot=000000ab;edge=20");
    }

    #[test]
    fn clocks_of_two_machines_are_not_mixed() {
        let stamps = Stamps::begin(Stage::Accepted, tick(5));
        assert_eq!(stamps.with(Stage::Edge, Tick { boot: 1, ns: 9 }), stamps);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_what_comes_of_it_is_in_order(text in "(boot=000000ab;)?([a-z]{0,9}=?[0-9]{0,22};?|accepted=[0-9]{1,4};|edge=[0-9]{1,4};|.{0,9}){0,9}") {
            if let Some(stamps) = Stamps::parse(&text) {
                let times: Vec<u64> = Stage::ALL.into_iter().filter_map(|stage| stamps.get(stage)).collect();
                prop_assert!(times.is_sorted() && !times.is_empty());
                prop_assert_eq!(Stamps::parse(&stamps.to_string()), Some(stamps));
            }
        }
    }
}
