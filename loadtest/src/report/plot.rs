//! The chart: panels above each other on one horizontal axis, so that quantities with nothing in
//! common never share a field. Pure. Every chart is drawn twice, for wide pages and for phones; the
//! style sheet shows one of them.

use super::svg::{Anchor, Canvas, Scale, linear_ticks, log_ticks};

/// How an axis maps its values.
#[derive(Clone, Debug)]
pub enum Kind {
    /// From zero up.
    Linear,
    Log,
    /// Counts nines: 0.99 is two.
    Nines,
    /// Named places at 0, 1, 2, …
    Names(Vec<String>),
    /// From the first value to the last, for times.
    Span,
}

/// An axis and what stands beside it.
#[derive(Clone, Debug)]
pub struct Axis {
    pub kind: Kind,
    pub low: f64,
    pub high: f64,
    /// Values that must be named, instead of round ones.
    pub ticks: Vec<f64>,
}

impl Axis {
    /// Holds all values; those that are no number are passed over.
    pub fn of(kind: Kind, values: impl IntoIterator<Item = f64>) -> Self {
        let positive = matches!(kind, Kind::Log);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            if value.is_finite() && (!positive || value > 0.0) {
                (low, high) = (low.min(value), high.max(value));
            }
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        Self { kind, low, high, ticks: Vec::new() }
    }

    /// Named places.
    pub fn names(names: Vec<String>) -> Self {
        let high = names.len().max(1) as f64 - 0.5;
        Self { kind: Kind::Names(names), low: -0.5, high, ticks: Vec::new() }
    }

    /// With these ticks.
    pub fn at(mut self, ticks: Vec<f64>) -> Self {
        self.ticks = ticks;
        self
    }

    /// The ticks, and the ends that enclose them.
    fn ticks(&self) -> (Vec<f64>, f64, f64) {
        let ticks = match &self.kind {
            Kind::Names(names) => (0..names.len()).map(|index| index as f64).collect(),
            Kind::Nines => (0..=self.high.clamp(0.0, 9.0) as u32).map(f64::from).collect(),
            _ if !self.ticks.is_empty() => self.ticks.clone(),
            Kind::Linear => linear_ticks(self.high),
            Kind::Log => log_ticks(self.low, self.high),
            Kind::Span => {
                let offset = self.low;
                let steps = linear_ticks(self.high - offset);
                steps.into_iter().map(|tick| tick + offset).filter(|t| *t <= self.high).collect()
            }
        };
        let ends = match &self.kind {
            Kind::Names(_) | Kind::Span | Kind::Nines => (self.low, self.high),
            Kind::Linear => (0.0, ticks.last().copied().unwrap_or(1.0).max(self.high)),
            Kind::Log if self.ticks.is_empty() => {
                (ticks.first().copied().unwrap_or(1.0), ticks.last().copied().unwrap_or(10.0))
            }
            Kind::Log => (self.low, self.high),
        };
        (ticks, ends.0, ends.1)
    }

    fn name(&self, tick: f64) -> String {
        match &self.kind {
            Kind::Names(names) => names.get(tick as usize).cloned().unwrap_or_default(),
            Kind::Nines => NINES[(tick as usize).min(NINES.len() - 1)].to_owned(),
            _ => tick_text(tick),
        }
    }
}

const NINES: [&str; 8] = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999"];

/// What a panel shows. Colours are classes of the style sheet.
#[derive(Clone, Debug)]
pub enum Mark {
    /// A line, broken where a value is no number; `name` stands at its end where there is room.
    Line { class: String, points: Vec<(f64, f64)>, name: Option<String> },
    /// Marks with the text that appears when pointed at; hollow ones stand for tails.
    Dots { class: String, hollow: bool, points: Vec<(f64, f64, String)> },
    /// A range.
    Whisker { class: String, x: f64, low: f64, high: f64 },
    /// A box between values.
    Area { class: String, x: (f64, f64), y: (f64, f64), opacity: Option<f64>, title: String },
    /// Boxes of one shade: left, right, low, high.
    Cells { opacity: f64, boxes: Vec<(f64, f64, f64, f64)> },
    /// A horizontal line across the panel, for a limit.
    Level { class: String, y: f64, name: String },
    /// Words inside.
    Note { class: String, x: f64, y: f64, text: String },
}

/// One field.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    /// Share of a usual panel's height.
    pub height: f64,
    pub y: Axis,
    /// Draw no vertical axis: a strip.
    pub bare: bool,
    pub marks: Vec<Mark>,
}

/// A stretch of the horizontal axis, for example a fault, with its name.
#[derive(Clone, Debug)]
pub struct Stretch {
    pub class: &'static str,
    pub from: f64,
    pub to: f64,
    pub name: String,
}

/// One line of the legend above a picture.
#[derive(Clone, Debug)]
pub struct Key {
    /// Colour and shape: `line`, `line dash`, `dot`, `ring`, `box`.
    pub class: String,
    pub name: String,
}

/// Short for a key.
pub fn key(class: &str, name: &str) -> Key {
    Key { class: class.to_owned(), name: name.to_owned() }
}

/// A whole picture.
#[derive(Clone, Debug)]
pub struct Figure {
    pub title: String,
    /// What it shows, in words.
    pub description: String,
    pub x: Axis,
    pub x_name: String,
    pub panels: Vec<Panel>,
    pub stretches: Vec<Stretch>,
    pub keys: Vec<Key>,
}

/// Pixels of a drawing; one for screens and paper, one for phones.
pub struct Layout {
    pub class: &'static str,
    width: f64,
    left: f64,
    panel: f64,
    wide: bool,
}

pub const WIDE: Layout =
    Layout { class: "wide", width: 900.0, left: 58.0, panel: 240.0, wide: true };
pub const NARROW: Layout =
    Layout { class: "narrow", width: 340.0, left: 40.0, panel: 190.0, wide: false };

const TOP: f64 = 30.0;
const GAP: f64 = 38.0;
const BOTTOM: f64 = 46.0;
const LETTER: f64 = 6.6;
/// Smallest distance between the names at the lines' ends.
const NAME_HEIGHT: f64 = 15.0;
const NAME_ROOM_MAX: f64 = 130.0;

impl Figure {
    /// Both drawings.
    pub fn draw(&self) -> String {
        format!("{}{}", self.draw_as(&WIDE), self.draw_as(&NARROW))
    }

    fn draw_as(&self, layout: &Layout) -> String {
        let room = self.panels.iter().map(|panel| panel.height * layout.panel).sum::<f64>();
        let gaps = GAP * self.panels.len().saturating_sub(1) as f64;
        let height = TOP + room + gaps + BOTTOM;
        let right = layout.width - self.room_right(layout);
        let (ticks, low, high) = self.x.ticks();
        let inset = if matches!(self.x.kind, Kind::Log) { layout.left * 0.45 } else { 0.0 };
        let x = scale(&self.x.kind, low, high, layout.left + inset, right - inset);
        let mut pen = Pen { canvas: Canvas::new(layout.width, height), layout, x, right };
        let bottom = height - BOTTOM;
        pen.stretches(&self.stretches, bottom);
        pen.x_axis(&self.x, &ticks, bottom, &self.x_name);
        let mut top = TOP;
        for panel in &self.panels {
            let foot = top + panel.height * layout.panel;
            pen.panel(panel, top, foot);
            top = foot + GAP;
        }
        pen.canvas.finish(layout.class, &self.title, &self.description)
    }

    /// Room for the names at the ends of lines; phones have the legend only.
    fn room_right(&self, layout: &Layout) -> f64 {
        let longest = self.panels.iter().flat_map(|panel| &panel.marks).filter_map(|mark| {
            if let Mark::Line { name: Some(name), .. } = mark {
                Some(name.chars().count())
            } else {
                None
            }
        });
        match longest.max() {
            Some(letters) if layout.wide => (letters as f64 * LETTER + 16.0).min(NAME_ROOM_MAX),
            _ => 16.0,
        }
    }
}

/// A drawing under way.
struct Pen<'a> {
    canvas: Canvas,
    layout: &'a Layout,
    x: Scale,
    right: f64,
}

impl Pen<'_> {
    fn stretches(&mut self, stretches: &[Stretch], bottom: f64) {
        let top = TOP - 4.0;
        for stretch in stretches {
            let (from, to) = (self.x.at(stretch.from), self.x.at(stretch.to));
            let width = (to - from).max(1.5);
            self.canvas.rect(
                stretch.class,
                (from, top),
                (width, bottom - top),
                None,
                &stretch.name,
            );
            if self.layout.wide {
                let letters = stretch.name.chars().count() as f64 * LETTER;
                let (at, anchor) = if from + letters > self.layout.width {
                    (to, Anchor::End)
                } else {
                    (from, Anchor::Start)
                };
                self.canvas.text("small", (at + 2.0, top - 14.0), anchor, &stretch.name);
            }
        }
    }

    fn x_axis(&mut self, axis: &Axis, ticks: &[f64], bottom: f64, name: &str) {
        let names: Vec<String> = ticks.iter().map(|tick| axis.name(*tick)).collect();
        // The last one is the load that matters; what would touch it is left out.
        let mut free = f64::INFINITY;
        for (tick, text) in ticks.iter().zip(&names).rev() {
            let at = self.x.at(*tick);
            let half = text.chars().count() as f64 * LETTER / 2.0;
            if !matches!(axis.kind, Kind::Names(_)) {
                self.canvas.line("grid", (at, TOP), (at, bottom));
            }
            if at + half + 4.0 <= free {
                self.canvas.text("tick", (at, bottom + 17.0), Anchor::Middle, text);
                free = at - half - 4.0;
            }
        }
        let middle = f64::midpoint(self.layout.left, self.right);
        self.canvas.text("", (middle, bottom + 38.0), Anchor::Middle, name);
    }

    fn panel(&mut self, panel: &Panel, top: f64, bottom: f64) {
        let (ticks, low, high) = panel.y.ticks();
        let y = scale(&panel.y.kind, low, high, bottom, top);
        if !panel.bare {
            let mut free = f64::INFINITY;
            for tick in &ticks {
                let at = y.at(*tick);
                self.canvas.line("grid", (self.layout.left, at), (self.right, at));
                if at + 12.0 <= free {
                    let text = panel.y.name(*tick);
                    self.canvas.text("", (self.layout.left - 8.0, at + 4.0), Anchor::End, &text);
                    free = at;
                }
            }
        }
        self.canvas.text("strong", (self.layout.left, top - 10.0), Anchor::Start, &panel.title);
        for mark in &panel.marks {
            self.mark(mark, &y);
        }
        if self.layout.wide {
            self.names(&panel.marks, &y, (top, bottom));
        }
    }

    fn mark(&mut self, mark: &Mark, y: &Scale) {
        match mark {
            Mark::Line { class, points, .. } => {
                for part in points.split(|(x, y)| !x.is_finite() || !y.is_finite()) {
                    let pixels: Vec<_> =
                        part.iter().map(|(a, b)| (self.x.at(*a), y.at(*b))).collect();
                    match pixels.as_slice() {
                        [] => {}
                        // A value between two gaps would be a line without length.
                        [alone] => self.canvas.dot(&format!("dot {class}"), *alone, 2.0, ""),
                        _ => self.canvas.path(&format!("line {class}"), &pixels),
                    }
                }
            }
            Mark::Dots { class, hollow, points } => {
                let shape = if *hollow { "ring" } else { "dot" };
                let radius = if self.layout.wide { 4.5 } else { 3.5 };
                for (a, b, title) in
                    points.iter().filter(|(a, b, _)| a.is_finite() && b.is_finite())
                {
                    let centre = (self.x.at(*a), y.at(*b));
                    self.canvas.dot(&format!("{shape} {class}"), centre, radius, title);
                }
            }
            Mark::Whisker { class, x, low, high } => {
                let at = self.x.at(*x);
                let class = format!("whisker {class}");
                self.canvas.line(&class, (at, y.at(*low)), (at, y.at(*high)));
                for end in [y.at(*low), y.at(*high)] {
                    self.canvas.line(&class, (at - 4.0, end), (at + 4.0, end));
                }
            }
            Mark::Area { class, x, y: (low, high), opacity, title } => {
                let (left, right) = (self.x.at(x.0), self.x.at(x.1));
                let (top, foot) = (y.at(*high), y.at(*low));
                let size = (right - left, foot - top);
                self.canvas.rect(&format!("area {class}"), (left, top), size, *opacity, title);
            }
            Mark::Cells { opacity, boxes } => {
                let boxes: Vec<_> = boxes
                    .iter()
                    .map(|(left, right, low, high)| {
                        let (left, top) = (self.x.at(*left), y.at(*high));
                        (left, top, self.x.at(*right) - left, y.at(*low) - top)
                    })
                    .collect();
                self.canvas.boxes("cells p50", *opacity, &boxes);
            }
            Mark::Level { class, y: value, name } => {
                let at = y.at(*value);
                self.canvas.line(
                    &format!("level {class}"),
                    (self.layout.left, at),
                    (self.right, at),
                );
                self.canvas.text("note", (self.layout.left + 6.0, at - 5.0), Anchor::Start, name);
            }
            Mark::Note { class, x, y: value, text } => {
                let letters = text.chars().count() as f64 * LETTER;
                let end = self.right.max(self.layout.width - 10.0);
                let at = self.x.at(*x).min(end - letters).max(self.layout.left + 4.0);
                let class = format!("note {class}");
                if self.layout.wide || letters < end - self.layout.left {
                    self.canvas.text(&class, (at, y.at(*value)), Anchor::Start, text);
                }
            }
        }
    }

    /// Names at the ends of the lines, moved apart.
    fn names(&mut self, marks: &[Mark], y: &Scale, (top, bottom): (f64, f64)) {
        let mut names: Vec<(f64, f64, &str, &str)> = marks
            .iter()
            .filter_map(|mark| {
                let Mark::Line { class, points, name: Some(name) } = mark else { return None };
                let (a, b) = points.iter().rev().find(|(a, b)| a.is_finite() && b.is_finite())?;
                Some((y.at(*b) + 4.0, self.x.at(*a), class.as_str(), name.as_str()))
            })
            .collect();
        names.sort_by(|left, right| left.0.total_cmp(&right.0));
        let needed = NAME_HEIGHT * names.len() as f64;
        let mut free = f64::NEG_INFINITY;
        for (index, (level, at, class, name)) in names.iter().enumerate() {
            let below = (names.len() - 1 - index) as f64 * NAME_HEIGHT;
            let floor = if needed <= bottom - top { bottom + 4.0 - below } else { f64::INFINITY };
            let level = level.max(free + NAME_HEIGHT).min(floor).max(free + NAME_HEIGHT * 0.8);
            free = level;
            self.canvas.text(&format!("label {class}"), (at + 8.0, level), Anchor::Start, name);
        }
    }
}

fn scale(kind: &Kind, low: f64, high: f64, from: f64, to: f64) -> Scale {
    match kind {
        Kind::Log => Scale::log(low, high, from, to),
        _ => Scale::linear(low, high, from, to),
    }
}

/// How many nines a quantile has: 0.9 is one, 0.99 two.
pub fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

/// A tick without needless digits; thousands and millions by letters, as axes have little room.
pub fn tick_text(value: f64) -> String {
    let (scaled, letter) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text.is_empty() || text == "-" { "0" } else { text };
    let grouped = if scaled.abs() >= 1e3 && scaled.abs() < 1e15 {
        crate::table::grouped(scaled.abs() as u64)
    } else {
        text.to_owned()
    };
    format!("{grouped}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(kind: Kind, points: Vec<(f64, f64)>) -> Figure {
        Figure {
            title: "t".to_owned(),
            description: "d".to_owned(),
            x: Axis::of(kind, points.iter().map(|point| point.0)),
            x_name: "x".to_owned(),
            panels: vec![Panel {
                title: "p".to_owned(),
                height: 1.0,
                y: Axis::of(Kind::Log, points.iter().map(|point| point.1)),
                bare: false,
                marks: vec![
                    Mark::Line { class: "c1".to_owned(), points, name: Some("a line".to_owned()) },
                    Mark::Level { class: "limit".to_owned(), y: 3.0, name: "limit".to_owned() },
                ],
            }],
            stretches: Vec::new(),
            keys: Vec::new(),
        }
    }

    #[test]
    fn gaps_break_a_line_and_nothing_is_drawn_that_is_no_number() {
        let points =
            vec![(1.0, 2.0), (2.0, 3.0), (3.0, f64::NAN), (4.0, 5.0), (5.0, 6.0), (6.0, f64::NAN)];
        for kind in [Kind::Linear, Kind::Log, Kind::Span, Kind::Nines] {
            let svg = figure(kind, points.clone()).draw();
            assert_eq!(svg.matches("<path").count(), 4, "two parts, drawn twice");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert!(!figure(Kind::Log, Vec::new()).draw().contains("NaN"));
    }

    #[test]
    fn ticks_read_well() {
        let texts = [0.0, 0.05, 2.5, 100.0, 2_000.0, 20_000.0, 1.5e6].map(tick_text);
        assert_eq!(texts, ["0", "0.05", "2.5", "100", "2,000", "20k", "1.5M"]);
    }

    #[test]
    fn nines_count_nines() {
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
        assert!(nines(1.0).is_finite());
    }
}
