//! What remains of slots whose fate is known: two bits for each delivery and one for each slot.
//! For the newest slots the recipient is kept as well, so that a copy that reaches somebody else
//! is told from a repeat; older ones forget it. Pure.

use std::collections::BTreeMap;

use crate::intake::Channel;

/// Slots in a chunk.
const CHUNK: u64 = 512;
/// Chunks of a step that remember recipients: more than 100,000 slots.
const CHUNKS_WITH_RECIPIENTS: usize = 256;

/// The two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Never received: refused, unknown or lost.
    Unseen = 0,
    Delivered = 1,
    Late = 2,
    /// Counted as duplicate, corrupt or a straggler already.
    Spoilt = 3,
}

impl Fate {
    fn of(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Unseen,
            1 => Self::Delivered,
            2 => Self::Late,
            _ => Self::Spoilt,
        }
    }
}

/// Where a delivery lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the step.
    pub step: u32,
    slot: u64,
    cell: usize,
}

/// What is known about a receipt's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It was never settled: not sent yet, open, or invented.
    Unknown,
    /// It was sent, but not on this channel or not to this recipient.
    Elsewhere {
        step: u32,
    },
    Here(Place, Fate),
}

/// The first recipient of each slot of a chunk.
enum Recipients {
    Same(u32),
    Each(Box<[u32]>),
    Forgotten,
}

struct Chunk {
    known: [u64; CHUNK as usize / 64],
    recipients: Recipients,
    cells: Box<[u64]>,
}

struct StepBits {
    number: u32,
    channels: Vec<Channel>,
    fan_out: usize,
    chunks: BTreeMap<u64, Chunk>,
    /// Slots below this one are of the warm-up.
    measured_from: u64,
    /// Keys of the chunks that remember recipients, oldest first.
    remembering: std::collections::VecDeque<u64>,
}

/// All steps of a run.
#[derive(Default)]
pub(super) struct Settled {
    steps: Vec<StepBits>,
}

impl Settled {
    /// A new step, into which everything is written from now on.
    pub fn begin(&mut self, number: u32, channels: &[Channel], fan_out: u32) {
        self.steps.push(StepBits {
            number,
            channels: channels.to_vec(),
            fan_out: fan_out.max(1) as usize,
            chunks: BTreeMap::new(),
            measured_from: u64::MAX,
            remembering: std::collections::VecDeque::new(),
        });
    }

    /// Writes a slot of the newest step; fates by channel, then recipient.
    pub fn write(&mut self, slot: u64, recipient: u32, fates: impl Iterator<Item = Fate>) {
        let Some(step) = self.steps.last_mut() else { return };
        let per_slot = step.per_slot();
        let chunk = step.chunk(slot, recipient);
        let at = (slot % CHUNK) as usize;
        chunk.known[at / 64] |= 1 << (at % 64);
        chunk.recipients.set(at, recipient);
        for (cell, fate) in fates.take(per_slot).enumerate() {
            put(&mut chunk.cells, at * per_slot + cell, fate);
        }
    }

    /// The newest step measures this slot, and all that follow it.
    pub fn measured(&mut self, slot: u64) {
        if let Some(step) = self.steps.last_mut() {
            step.measured_from = step.measured_from.min(slot);
        }
    }

    /// Whether a delivery is of its step's warm-up.
    pub fn is_warm_up(&self, place: Place) -> bool {
        let step = self.steps.iter().find(|step| step.number == place.step);
        step.is_some_and(|step| place.slot < step.measured_from)
    }

    /// Looks a receipt up in every step, the newest first.
    pub fn find(&self, slot: u64, channel: Channel, recipient: u32) -> Found {
        for step in self.steps.iter().rev() {
            let Some(chunk) = step.chunks.get(&(slot / CHUNK)) else { continue };
            let at = (slot % CHUNK) as usize;
            if chunk.known[at / 64] & (1 << (at % 64)) == 0 {
                continue;
            }
            let Some(cell) = step.cell(chunk, at, channel, recipient) else {
                return Found::Elsewhere { step: step.number };
            };
            let fate = get(&chunk.cells, at * step.per_slot() + cell);
            return Found::Here(Place { step: step.number, slot, cell }, fate);
        }
        Found::Unknown
    }

    /// Changes the bits of a delivery.
    pub fn set(&mut self, place: Place, fate: Fate) {
        let Some(step) = self.steps.iter_mut().find(|step| step.number == place.step) else {
            return;
        };
        let at = (place.slot % CHUNK) as usize * step.per_slot() + place.cell;
        if let Some(chunk) = step.chunks.get_mut(&(place.slot / CHUNK)) {
            put(&mut chunk.cells, at, fate);
        }
    }

    /// Whether some step has settled this slot.
    pub fn knows(&self, slot: u64) -> bool {
        let at = (slot % CHUNK) as usize;
        self.steps.iter().any(|step| {
            step.chunks
                .get(&(slot / CHUNK))
                .is_some_and(|chunk| chunk.known[at / 64] & (1 << (at % 64)) != 0)
        })
    }

    /// Bytes held.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let chunks = self.steps.iter().flat_map(|step| step.chunks.values());
        chunks.map(Chunk::bytes).sum()
    }
}

impl StepBits {
    fn per_slot(&self) -> usize {
        self.channels.len() * self.fan_out
    }

    fn cell(&self, chunk: &Chunk, at: usize, channel: Channel, recipient: u32) -> Option<usize> {
        let lane = self.channels.iter().position(|known| *known == channel)?;
        let within = match &chunk.recipients {
            Recipients::Same(first) => recipient.checked_sub(*first)? as usize,
            Recipients::Each(firsts) => recipient.checked_sub(firsts[at])? as usize,
            // Too old to know: the reader gets the benefit of the doubt.
            Recipients::Forgotten => recipient as usize % self.fan_out,
        };
        (within < self.fan_out).then_some(lane * self.fan_out + within)
    }

    fn chunk(&mut self, slot: u64, recipient: u32) -> &mut Chunk {
        let key = slot / CHUNK;
        if !self.chunks.contains_key(&key) {
            self.remembering.push_back(key);
            if self.remembering.len() > CHUNKS_WITH_RECIPIENTS
                && let Some(oldest) = self.remembering.pop_front()
                && let Some(old) = self.chunks.get_mut(&oldest)
            {
                old.recipients = Recipients::Forgotten;
            }
        }
        let words = (CHUNK as usize * self.per_slot() * 2).div_ceil(64);
        self.chunks.entry(key).or_insert_with(|| Chunk {
            known: [0; CHUNK as usize / 64],
            recipients: Recipients::Same(recipient),
            cells: vec![0; words].into_boxed_slice(),
        })
    }
}

impl Recipients {
    fn set(&mut self, at: usize, recipient: u32) {
        match self {
            Self::Same(first) if *first == recipient => {}
            Self::Same(first) => {
                let mut each = vec![*first; CHUNK as usize].into_boxed_slice();
                each[at] = recipient;
                *self = Self::Each(each);
            }
            Self::Each(each) => each[at] = recipient,
            Self::Forgotten => {}
        }
    }
}

#[cfg(test)]
impl Chunk {
    fn bytes(&self) -> usize {
        let recipients =
            if let Recipients::Each(each) = &self.recipients { each.len() * 4 } else { 0 };
        size_of::<Self>() + size_of::<u64>() + self.cells.len() * 8 + recipients
    }
}

fn get(cells: &[u64], index: usize) -> Fate {
    Fate::of(cells[index / 32] >> (index % 32 * 2))
}

fn put(cells: &mut [u64], index: usize, fate: Fate) {
    let shift = index % 32 * 2;
    let word = &mut cells[index / 32];
    *word = *word & !(3 << shift) | (fate as u64) << shift;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_keeps_its_own_bits() {
        let mut settled = Settled::default();
        settled.begin(0, &[Channel::InApp, Channel::Email], 3);
        let fates =
            [Fate::Unseen, Fate::Delivered, Fate::Late, Fate::Spoilt, Fate::Late, Fate::Unseen];
        settled.write(1_030, 7, fates.into_iter());
        settled.write(1_031, 9, fates.into_iter().rev());
        for (index, expected) in fates.into_iter().enumerate() {
            let channel = [Channel::InApp, Channel::Email][index / 3];
            let Found::Here(place, fate) = settled.find(1_030, channel, 7 + index as u32 % 3)
            else {
                panic!("not found")
            };
            assert_eq!(fate, expected);
            settled.set(place, Fate::Spoilt);
        }
        let back = settled.find(1_031, Channel::Email, 9);
        assert!(matches!(back, Found::Here(_, Fate::Late)), "{back:?}");
        assert_eq!(settled.find(1_030, Channel::Sms, 7), Found::Elsewhere { step: 0 });
        assert_eq!(settled.find(1_030, Channel::Email, 10), Found::Elsewhere { step: 0 });
        assert_eq!(settled.find(1_032, Channel::Email, 7), Found::Unknown);
        settled.begin(1, &[Channel::InApp], 1);
        settled.write(1_040, 1, [Fate::Delivered].into_iter());
        assert!(settled.knows(1_030) && settled.knows(1_040) && !settled.knows(1_041));
    }

    #[test]
    fn old_slots_forget_their_recipient_and_keep_their_fate() {
        let mut settled = Settled::default();
        settled.begin(0, &[Channel::InApp], 1);
        for slot in 0..CHUNK * (CHUNKS_WITH_RECIPIENTS as u64 + 2) {
            settled.write(slot, (slot % 10) as u32, [Fate::Delivered].into_iter());
        }
        assert!(matches!(settled.find(5, Channel::InApp, 9), Found::Here(_, Fate::Delivered)));
        let newest = CHUNK * (CHUNKS_WITH_RECIPIENTS as u64 + 1);
        assert_eq!(settled.find(newest, Channel::InApp, 11), Found::Elsewhere { step: 0 });
    }
}
