//! When one message reached each stage of its way, as the platform tells it in the text
//! `boot=<8 hexadecimal digits>;accepted=<ns>;dispatched=<ns>;…` (the header `Campana-Stamps` of
//! an answer, the tag `campana-stamps` of a publication). Pure; never fails on a hostile value:
//! what cannot be read or belongs to another machine's clock is not there.

/// The request header that asks for stamps (value `1`), and the answer's that has them.
pub const HEADER: &str = "Campana-Stamps";
/// Longer texts are not read; all stages take less than half of it.
const TEXT_BYTES_MAX: usize = 512;

/// A place on the way, in the order of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Accepted,
    Stored,
    Dispatched,
    Worker,
    Provider,
    Edge,
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
    pub const fn name(self) -> &'static str {
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
}

/// The stamps of one message on this machine's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamps([u64; Stage::ALL.len()]);

impl Stamps {
    /// Reads a text; nothing if it is no such text, or of another machine or start than `boot`.
    pub fn parse(text: &str, boot: u32) -> Option<Box<Self>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut members = text.split(';').map(str::trim);
        let named = members.next()?.strip_prefix("boot=")?;
        if named.len() != 8 || u32::from_str_radix(named, 16).ok()? != boot {
            return None;
        }
        let mut stamps = Self::default();
        for member in members {
            let Some((name, value)) = member.split_once('=') else { continue };
            let stage = Stage::ALL.into_iter().find(|stage| stage.name() == name);
            if let (Some(stage), Ok(ns)) = (stage, value.parse()) {
                stamps.0[stage as usize] = ns;
            }
        }
        Some(Box::new(stamps))
    }

    /// Nanoseconds at this stage, if it was stamped.
    pub fn get(&self, stage: Stage) -> Option<u64> {
        Some(self.0[stage as usize]).filter(|ns| *ns > 0)
    }

    /// Both together: the answer knows when the message was stored, the receipt the rest.
    pub fn or(&self, other: &Self) -> Self {
        let mut both = *self;
        for (mine, theirs) in both.0.iter_mut().zip(other.0) {
            if *mine == 0 {
                *mine = theirs;
            }
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_read_and_another_machine_is_not() {
        let text = "boot=000000ab;accepted=5;dispatched=9;later=7;worker=x";
        let stamps = Stamps::parse(text, 0xab).unwrap();
        assert_eq!(stamps.get(Stage::Accepted), Some(5));
        assert_eq!(stamps.get(Stage::Dispatched), Some(9));
        assert_eq!((stamps.get(Stage::Worker), stamps.get(Stage::Stored)), (None, None));
        for other in ["boot=000000ac;accepted=5", "accepted=5", "", "boot=ab;accepted=5"] {
            assert_eq!(Stamps::parse(other, 0xab), None, "{other}");
        }
        let answer = Stamps::parse("boot=000000ab;accepted=6;stored=8", 0xab).unwrap();
        let both = stamps.or(&answer);
        assert_eq!((both.get(Stage::Accepted), both.get(Stage::Stored)), (Some(5), Some(8)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(boot=000000ab;)?([a-z]{0,9}=?[0-9]{0,22};?|.{0,9}){0,9}") {
            let _ = Stamps::parse(&text, 0xab);
        }
    }
}
