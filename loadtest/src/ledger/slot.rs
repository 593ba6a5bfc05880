//! One request whose fate is still open: what was sent, what was answered, and a cell for each
//! of its deliveries. Pure data with the cell's own rule.

use super::after::Echo;
use crate::intake::Channel;
use crate::stamps::Stamps;

/// A receipt as it came.
#[derive(Debug)]
pub(super) struct Receipt {
    pub slot: u64,
    pub channel: Channel,
    pub recipient: u32,
    pub at_ns: u64,
    pub offset: Option<u64>,
    pub intact: bool,
    pub recovered: bool,
    pub stamps: Option<Box<Stamps>>,
    /// How many later ones had been read before, if that is known already.
    pub depth: Option<u16>,
}

impl Receipt {
    /// What steps that are over need to know of it.
    pub fn echo(&self) -> Echo {
        let Self { slot, channel, recipient, intact, .. } = *self;
        Echo { slot, channel, recipient, intact }
    }
}

/// What has become of a delivery so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Seen {
    #[default]
    Not,
    Once,
    Again,
    Damaged,
}

impl Seen {
    /// The rule of classes: the first thing that goes wrong decides.
    pub fn then(self, intact: bool) -> Self {
        match (self, intact) {
            (Self::Not, true) => Self::Once,
            (Self::Not | Self::Once, false) => Self::Damaged,
            (Self::Once, true) => Self::Again,
            (decided, _) => decided,
        }
    }
}

/// One delivery.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    /// When it was first read.
    pub at_ns: u64,
    pub stamps: Option<Box<Stamps>>,
    /// How often it was read.
    pub receipts: u32,
    /// How many later ones had been read before.
    pub depth: u16,
    pub seen: Seen,
    pub recovered: bool,
}

/// The cells of a slot, by channel, then recipient; one needs no list.
#[derive(Debug)]
pub(super) enum Cells {
    One(Cell),
    Many(Box<[Cell]>),
}

impl Cells {
    pub fn new(count: usize) -> Self {
        if count == 1 {
            Self::One(Cell::default())
        } else {
            Self::Many(vec![Cell::default(); count].into_boxed_slice())
        }
    }

    pub fn all(&self) -> &[Cell] {
        match self {
            Self::One(cell) => std::slice::from_ref(cell),
            Self::Many(cells) => cells,
        }
    }

    pub fn all_mut(&mut self) -> &mut [Cell] {
        match self {
            Self::One(cell) => std::slice::from_mut(cell),
            Self::Many(cells) => cells,
        }
    }
}

/// What is known of the answer.
#[derive(Debug)]
pub(super) enum Answer {
    None,
    Accepted(Option<Box<Stamps>>),
    Unknown,
}

/// An open request.
#[derive(Debug)]
pub(super) struct Slot {
    pub wave: u32,
    pub recipient: u32,
    pub intended_ns: u64,
    pub sent_ns: u64,
    pub answer: Answer,
    pub warm_up: bool,
    /// Cells that nobody has read.
    pub missing: u32,
    pub cells: Cells,
}

#[cfg(test)]
impl Slot {
    /// Bytes held, with an entry of a map around it.
    pub fn bytes(&self) -> usize {
        let cells = if let Cells::Many(cells) = &self.cells { size_of_val(&**cells) } else { 0 };
        let stamps = self.cells.all().iter().filter(|cell| cell.stamps.is_some()).count();
        size_of::<Self>() + 16 + cells + stamps * size_of::<Stamps>()
    }
}
