//! Where the parts of a figure stand. Sizes are for the largest font the style sheet uses, so smaller text fits too.

use super::axis::{Extent, Tick};
use super::{Figure, Scale};

/// Width of every figure, in SVG units. On a phone 360 pixels wide, one unit is about half a pixel.
pub(super) const WIDTH: f64 = 640.0;
/// The largest font size, used on phones.
pub(super) const FONT: f64 = 18.0;
/// The distance of two lines of text.
pub(super) const LINE: f64 = 23.0;
/// The length of a sample of a line in the legend, and its distance from the name.
pub(super) const SAMPLE: (f64, f64) = (30.0, 8.0);
const PLOT_HEIGHT: f64 = 300.0;
const EDGE: f64 = 6.0;
const GAP: f64 = 8.0;

/// The rectangle of the data, in SVG units from the upper left.
pub(super) struct Plot {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// A line of text: the anchor point of its baseline, and the text.
pub(super) struct Line {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) text: String,
}

/// A legend entry: the upper left of its sample, and the lines of its name.
pub(super) struct Entry {
    pub(super) series: usize,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) name: Vec<Line>,
}

/// How the labels of the horizontal axis are written.
pub(super) enum Labels {
    /// Centred below their ticks.
    Level(Vec<Line>),
    /// Ending below their ticks, rising at 45°: names too long for their slots.
    Slanted(Vec<Line>),
}

/// Everything of a figure but its data.
pub(super) struct Layout {
    pub(super) height: f64,
    pub(super) title: Vec<Line>,
    pub(super) legend: Vec<Entry>,
    pub(super) y_title: Vec<Line>,
    pub(super) plot: Plot,
    pub(super) x_labels: Labels,
    pub(super) y_labels: Vec<Line>,
    pub(super) x_title: Vec<Line>,
}

impl Layout {
    /// From top to bottom: title, legend, name of the vertical axis, plot, tick labels, name of the horizontal axis.
    pub(super) fn new(figure: &Figure, x: &[Tick], y_extent: &Extent, with_title: bool) -> Layout {
        let y = y_extent.ticks();
        let full = WIDTH - 2.0 * EDGE;
        let mut cursor = EDGE;
        let lines = |text: &str, width: f64, x: f64, cursor: &mut f64| -> Vec<Line> {
            let lines = wrap(text, width).into_iter();
            lines.map(|text| Line { x, y: advance(cursor), text }).collect()
        };
        // The title is bold, hence wider than what `wrap` reckons with.
        let title = if with_title { lines(&figure.title, 0.9 * full, EDGE, &mut cursor) } else { Vec::new() };
        if with_title {
            cursor += GAP;
        }
        let legend = legend(figure, &mut cursor);
        let y_title = lines(&figure.y.label, full, EDGE, &mut cursor);
        let top = cursor + GAP + LINE / 4.0;

        let y_names: Vec<String> = y.iter().map(|tick| shorten(&tick.label, 200.0)).collect();
        let y_width = y_names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let mut plot = Plot { left: EDGE + y_width + GAP + 4.0, right: WIDTH - 14.0, top, bottom: top + PLOT_HEIGHT };
        cursor = plot.bottom + GAP;
        let x_labels = match &figure.x.scale {
            Scale::Category(_) => category_labels(x, &mut plot, &mut cursor),
            Scale::Linear | Scale::Log10 | Scale::Log2 => Labels::Level(number_labels(x, &plot, &mut cursor)),
        };
        let y_line = |(tick, text): (&Tick, String)| Line { x: plot.left - GAP, y: plot.y(tick.place) + FONT * 0.35, text };
        let y_labels = thin_rows(y.iter().zip(y_names).map(y_line).collect());
        let x_title = lines(&figure.x.label, full, (plot.left + plot.right) / 2.0, &mut cursor);
        // A centred title wider than the plot is centred on the figure instead.
        let widest = x_title.iter().map(|line| text_width(&line.text)).fold(0.0, f64::max);
        let margin = widest / 2.0 + EDGE;
        let place = |line: Line| Line { x: line.x.min(WIDTH - margin).max(margin.min(WIDTH / 2.0)), ..line };
        let x_title = x_title.into_iter().map(place).collect();
        Layout { height: cursor + EDGE, title, legend, y_title, plot, x_labels, y_labels, x_title }
    }
}

impl Plot {
    /// The horizontal coordinate of a place between 0 and 1.
    pub(super) fn x(&self, place: f64) -> f64 {
        self.left + place * (self.right - self.left)
    }

    /// The vertical coordinate of a place between 0 and 1.
    pub(super) fn y(&self, place: f64) -> f64 {
        self.bottom - place * (self.bottom - self.top)
    }
}

/// The baseline of the next line of text.
fn advance(cursor: &mut f64) -> f64 {
    *cursor += LINE;
    *cursor - LINE + FONT
}

/// Entries side by side while they fit, each name wrapped to the width of the figure.
fn legend(figure: &Figure, cursor: &mut f64) -> Vec<Entry> {
    let indent = SAMPLE.0 + SAMPLE.1;
    let mut entries: Vec<Entry> = Vec::new();
    let (mut x, mut row_height) = (EDGE, 0.0);
    for (series, name) in figure.series.iter().map(|s| s.name.as_str()).enumerate().filter(|(_, name)| !name.is_empty()) {
        let lines = wrap(name, WIDTH - 2.0 * EDGE - indent);
        let width = indent + lines.iter().map(|line| text_width(line)).fold(0.0, f64::max);
        if x > EDGE && x + width > WIDTH - EDGE {
            *cursor += row_height;
            (x, row_height) = (EDGE, 0.0);
        }
        let mut below = *cursor;
        let name = lines.into_iter().map(|text| Line { x: x + indent, y: advance(&mut below), text }).collect();
        entries.push(Entry { series, x, y: *cursor, name });
        row_height = f64::max(row_height, below - *cursor);
        x += width + 22.0;
    }
    *cursor += row_height;
    if !entries.is_empty() {
        *cursor += GAP;
    }
    entries
}

/// Labels of numbers, centred, moved inwards at the ends, every k-th where they would touch.
fn number_labels(ticks: &[Tick], plot: &Plot, cursor: &mut f64) -> Vec<Line> {
    let y = advance(cursor);
    let line = |tick: &Tick| {
        let half = text_width(&tick.label) / 2.0;
        let x = plot.x(tick.place).min(WIDTH - EDGE / 2.0 - half).max(half);
        Line { x, y, text: tick.label.clone() }
    };
    let lines: Vec<Line> = ticks.iter().map(line).collect();
    let clear = |a: &Line, b: &Line| b.x - a.x > (text_width(&a.text) + text_width(&b.text)) / 2.0 + FONT * 0.6;
    every_clear(lines, clear)
}

fn thin_rows(lines: Vec<Line>) -> Vec<Line> {
    every_clear(lines, |a, b| (a.y - b.y).abs() > FONT)
}

/// The least k such that every k-th line is clear of the one before it.
fn every_clear(lines: Vec<Line>, clear: impl Fn(&Line, &Line) -> bool) -> Vec<Line> {
    let fits = |k: usize| (k..lines.len()).step_by(k).all(|i| clear(&lines[i - k], &lines[i]));
    let stride = (1..lines.len().max(2)).find(|&k| fits(k)).unwrap_or(lines.len().max(1));
    lines.into_iter().step_by(stride).collect()
}

/// Names of categories: on up to three lines if they fit their slots, else slanted.
fn category_labels(ticks: &[Tick], plot: &mut Plot, cursor: &mut f64) -> Labels {
    let slot = (plot.right - plot.left) / ticks.len().max(1) as f64;
    let room = slot - FONT * 0.5;
    let words_fit = ticks.iter().all(|tick| tick.label.split_whitespace().all(|word| text_width(word) <= room));
    let wrapped: Vec<Vec<String>> = if words_fit { ticks.iter().map(|tick| wrap(&tick.label, room)).collect() } else { Vec::new() };
    let rows = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    if words_fit && rows <= 3 {
        let top = *cursor;
        *cursor += rows as f64 * LINE;
        let place = |(tick, texts): (&Tick, Vec<String>)| {
            let (mut below, x) = (top, plot.x(tick.place));
            texts.into_iter().map(|text| Line { x, y: advance(&mut below), text }).collect::<Vec<Line>>()
        };
        return Labels::Level(ticks.iter().zip(wrapped).flat_map(place).collect());
    }
    let texts: Vec<String> = ticks.iter().map(|tick| shorten(&tick.label, 190.0)).collect();
    let reach = texts.iter().map(|text| text_width(text)).fold(0.0, f64::max) / 2f64.sqrt();
    // The first name reaches to the left of its slot, so the plot gives way.
    plot.left = plot.left.max(reach + EDGE - slot / 3.0);
    let y = *cursor + FONT * 0.6;
    *cursor += reach + LINE;
    let place = |(tick, text): (&Tick, String)| Line { x: plot.x(tick.place) + FONT * 0.3, y, text };
    Labels::Slanted(every_clear(ticks.iter().zip(texts).map(place).collect(), |a, b| b.x - a.x > FONT * 1.5))
}

/// Breaks text into lines of at most `width`, between words where possible. Empty text has no lines.
pub(super) fn wrap(text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let joined = if line.is_empty() { word.to_string() } else { format!("{line} {word}") };
        if text_width(&joined) <= width {
            line = joined;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for c in word.chars() {
            if !line.is_empty() && text_width(&line) + char_width(c) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The text, with an ellipsis for its middle where it is longer than `width`: names often differ at the end.
fn shorten(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_string();
    }
    let half = (width - char_width('…')) / 2.0;
    let (head, tail) = (prefix(text.chars(), half), prefix(text.chars().rev(), half));
    head.into_iter().chain(['…']).chain(tail.into_iter().rev()).collect()
}

/// As many of the characters as `width` holds.
fn prefix(chars: impl Iterator<Item = char>, width: f64) -> Vec<char> {
    let mut used = 0.0;
    let fits = |c: &char| {
        used += char_width(*c);
        used <= width
    };
    chars.take_while(fits).collect()
}

/// A cautious estimate of the width of text at the largest font size; the font itself is the reader's own.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> f64 {
    let em = match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '(' | ')' | ' ' => 0.36,
        '⁰'..='⁹' | '¹' | '²' | '³' | '⁻' => 0.44,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '—' | '…' => 0.96,
        c if c.is_ascii_uppercase() => 0.7,
        c if c as u32 >= 0x2E80 => 1.1,
        _ => 0.58,
    };
    em * FONT
}
