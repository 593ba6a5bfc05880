//! The drawing kit: scales, ticks and a writer of SVG that cannot forget to escape. Pure. All
//! colours come from the page's style sheet, so that one drawing serves light, dark and print.

use std::fmt::Write;

/// Beyond these no measurement lies; a file that says otherwise must not freeze the drawing.
const SMALLEST: f64 = 1e-6;
const LARGEST: f64 = 1e15;

/// Maps values to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// Even distances for even differences.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = (sane(low), sane(high));
        Self { low, high: if high > low { high } else { low + 1.0 }, from, to, log: false }
    }

    /// Even distances for even ratios; both ends above zero.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = (sane(low).max(SMALLEST), sane(high));
        Self { low, high: if high > low { high } else { low * 10.0 }, from, to, log: true }
    }

    /// The pixel of a value, clamped to the ends.
    pub fn at(&self, value: f64) -> f64 {
        let value = if value.is_nan() { self.low } else { value.clamp(self.low, self.high) };
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }
}

fn sane(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) }
}

/// 1, 2, 5, 10, 20, 50 … around a range, with the range widened to such numbers; only powers of ten
/// when there would be too many.
pub fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let low = sane(low).max(SMALLEST);
    let high = sane(high).max(low * 1.01);
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let digits: &[f64] =
        if last - first > DECADES_WITH_ALL_DIGITS { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all: Vec<f64> = (first..=last)
        .flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)))
        .collect();
    let start = all.iter().rposition(|tick| *tick <= low * 1.000_001).unwrap_or(0);
    let end = all.iter().position(|tick| *tick >= high * 0.999_999).unwrap_or(all.len() - 1);
    all[start..=end.max(start)].to_vec()
}

const DECADES_WITH_ALL_DIGITS: i32 = 4;

/// Round steps from 0 to at least `high`, at most about five.
pub fn linear_ticks(high: f64) -> Vec<f64> {
    let high = if high > 0.0 { sane(high) } else { 1.0 };
    let raw = high / 4.0;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|step| *step >= raw)
        .unwrap_or(10.0 * power);
    (0..=8)
        .map(|index| f64::from(index) * step)
        .take_while(|tick| *tick < high + step * 0.999)
        .collect()
}

/// Where a text stands against its point.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// An SVG under construction.
pub struct Canvas {
    body: String,
    width: f64,
    height: f64,
}

impl Canvas {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { body: String::new(), width, height }
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.add(format_args!(
            r#"<line class="{class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through points.
    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut data = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            push(&mut data, format_args!("{command}{x:.1} {y:.1}"));
        }
        self.add(format_args!(r#"<path class="{class}" d="{data}"/>"#));
    }

    /// A filled box, with a text that appears when pointed at if it is not empty.
    pub fn rect(
        &mut self,
        class: &str,
        corner: (f64, f64),
        size: (f64, f64),
        opacity: Option<f64>,
        title: &str,
    ) {
        let opacity =
            opacity.map_or_else(String::new, |share| format!(r#" fill-opacity="{share:.2}""#));
        let end = if title.is_empty() {
            "/>".to_owned()
        } else {
            format!("><title>{}</title></rect>", escape(title))
        };
        self.add(format_args!(
            r#"<rect class="{class}" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"{opacity}{end}"#,
            corner.0,
            corner.1,
            size.0.max(0.0),
            size.1.max(0.0)
        ));
    }

    /// Many boxes (left, top, width, height) of one shade as a single path.
    pub fn boxes(&mut self, class: &str, opacity: f64, boxes: &[(f64, f64, f64, f64)]) {
        if boxes.is_empty() {
            return;
        }
        let mut data = String::new();
        for (left, top, width, height) in boxes {
            push(
                &mut data,
                format_args!("M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z"),
            );
        }
        self.add(format_args!(r#"<path class="{class}" fill-opacity="{opacity:.2}" d="{data}"/>"#));
    }

    /// A round mark, with a text that appears when pointed at.
    pub fn dot(&mut self, class: &str, centre: (f64, f64), radius: f64, title: &str) {
        self.add(format_args!(
            r#"<circle class="{class}" cx="{:.1}" cy="{:.1}" r="{radius}"><title>{}</title></circle>"#,
            centre.0,
            centre.1,
            escape(title)
        ));
    }

    /// A text.
    pub fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.add(format_args!(
            r#"<text class="{class}" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            at.0,
            at.1,
            escape(text)
        ));
    }

    /// The whole picture; `class` tells the page when to show it. `title` names it, `description`
    /// says in words what it shows.
    pub fn finish(self, class: &str, title: &str, description: &str) -> String {
        let (width, height) = (self.width, self.height);
        let label = escape(&format!("{title}. {description}"));
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             aria-label=\"{label}\">\n{}</svg>",
            self.body
        )
    }

    fn add(&mut self, part: std::fmt::Arguments<'_>) {
        push(&mut self.body, part);
        self.body.push('\n');
    }
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("writing to a String cannot fail");
}

/// Text for HTML and SVG, in elements and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Neither HTML nor XML may hold them, and a terminal obeys them.
            '\n' | '\t' => safe.push(' '),
            control if control.is_control() => safe.push('\u{FFFD}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_map_their_ends_and_clamp() {
        let log = Scale::log(1.0, 100.0, 0.0, 200.0);
        assert!((log.at(10.0) - 100.0).abs() < 1e-9);
        assert!((log.at(0.0) - 0.0).abs() < 1e-9);
        assert!((log.at(1e9) - 200.0).abs() < 1e-9);
        let linear = Scale::linear(0.0, 50.0, 100.0, 0.0);
        assert!((linear.at(25.0) - 50.0).abs() < 1e-9);
        assert!(Scale::linear(3.0, 3.0, 0.0, 1.0).at(3.0).is_finite());
    }

    #[test]
    fn ticks_enclose_the_range() {
        assert_eq!(log_ticks(1.3, 180.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]);
        assert_eq!(linear_ticks(87.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert!(log_ticks(0.0, 0.0).len() > 1);
        assert!(linear_ticks(0.0).len() > 1);
        assert_eq!(linear_ticks(0.4), [0.0, 0.1, 0.2, 0.30000000000000004, 0.4]);
        for wild in [f64::MAX, f64::INFINITY, f64::NAN, -5.0, 1e-300] {
            assert!(linear_ticks(wild).len() < 10);
            assert!((1..40).contains(&log_ticks(wild, wild).len()), "{wild}");
            assert!(Scale::log(wild, wild, 0.0, 9.0).at(wild).is_finite());
        }
    }

    #[test]
    fn nothing_escapes_the_escape() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.text("x", (0.0, 0.0), Anchor::Middle, "<script>\"&'");
        canvas.dot("x", (0.0, 0.0), 1.0, "</title>");
        let svg = canvas.finish("wide", "\"a\"", "");
        assert!(!svg.contains("<script>") && !svg.contains("</title></title>"), "{svg}");
        assert!(svg.contains("&lt;script&gt;&quot;&amp;&#39;"));
    }
}
