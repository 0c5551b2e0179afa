//! How one series looks: paths, bands, error bars, bars and markers, as SVG elements.

use super::axis::Extent;
use super::layout::Plot;
use super::svg::escape;
use super::{Mark, Series};

/// A line of more points is thinned to at most about this many in the drawing.
const MOST_POINTS: usize = 2000;
/// A line of at most this many points shows the exact values when the pointer is near one.
const MOST_HINTS: usize = 100;
/// A line of more points is drawn finer, as it is likely to be noisy.
const MOST_BOLD: usize = 500;
/// Dash patterns by colour index, so that dashed lines differ without colour too.
const DASHES: [&str; 8] = ["8 5", "3 4", "12 4 3 4", "16 6", "8 4 2 4 2 4", "5 8", "2 7", "18 4 6 4"];

/// The two axes and the rectangle they span.
pub(super) struct Frame<'a> {
    pub(super) x: &'a Extent,
    pub(super) y: &'a Extent,
    pub(super) plot: &'a Plot,
}

/// A point that can be drawn: its index in the series and its position.
#[derive(Clone, Copy)]
struct Dot {
    index: usize,
    x: f64,
    y: f64,
}

impl Frame<'_> {
    /// The points that have a position, in runs between those that have none.
    fn runs(&self, series: &Series) -> Vec<Vec<Dot>> {
        let mut runs = vec![Vec::new()];
        for (index, (&x, &y)) in series.x.iter().zip(&series.y).enumerate() {
            match (self.x.place(x), self.y.place(y)) {
                (Some(x), Some(y)) => {
                    let dot = Dot { index, x: self.plot.x(x), y: self.plot.y(y) };
                    runs.last_mut().expect("there is always a run").push(dot);
                }
                (None, _) | (_, None) => runs.push(Vec::new()),
            }
        }
        runs.retain(|run| !run.is_empty());
        thin(runs)
    }

    fn inside(&self, dot: &Dot) -> bool {
        // Rounding may leave a point at an end a hair outside.
        let near = 0.01;
        let across = self.plot.left - near..=self.plot.right + near;
        let along = self.plot.top - near..=self.plot.bottom + near;
        across.contains(&dot.x) && along.contains(&dot.y)
    }

    /// The vertical positions of a spread. An end that the scale has no place for, as zero on a logarithmic axis, is the
    /// end of the axis.
    fn spread(&self, (low, high): (f64, f64)) -> Option<(f64, f64)> {
        if low.is_nan() || high.is_nan() {
            return None;
        }
        let high = if high == f64::INFINITY { 1.0 } else { self.y.place(high)? };
        let low = self.y.place(low).unwrap_or(0.0);
        Some((self.plot.y(low), self.plot.y(high)))
    }

    /// The band of a line with a spread, if it has one.
    pub(super) fn band(&self, series: &Series) -> String {
        let banded = match series.mark {
            Mark::Line | Mark::Dashed | Mark::Steps => true,
            Mark::Points | Mark::LinePoints | Mark::Bars => false,
        };
        let Some(spread) = series.spread.as_ref().filter(|_| banded) else { return String::new() };
        let mut out = String::new();
        for run in self.runs(series) {
            let edges: Vec<(f64, f64, f64)> =
                run.iter().filter_map(|dot| self.spread(spread[dot.index]).map(|(low, high)| (dot.x, low, high))).collect();
            if edges.len() < 2 {
                continue;
            }
            let steps = series.mark == Mark::Steps;
            let upper = path(edges.iter().map(|&(x, _, high)| (x, high)), steps);
            // Backwards, the lower edge of steps goes along before it goes up, so corners are written out.
            let mut lower = corners(edges.iter().map(|&(x, low, _)| (x, low)), steps);
            lower.reverse();
            let back: String = lower.iter().map(|(x, y)| format!("L{x:.1} {y:.1}")).collect();
            out += &format!("<path class=\"band\" d=\"{upper}{back}Z\"/>");
        }
        out
    }

    /// The solid line of a series, broken where a point is missing; a point alone is a dot.
    pub(super) fn line(&self, series: &Series) -> String {
        let steps = match series.mark {
            Mark::Line | Mark::LinePoints => false,
            Mark::Steps => true,
            Mark::Dashed | Mark::Points | Mark::Bars => return String::new(),
        };
        let d = self.path(series, steps);
        let class = if series.x.len() > MOST_BOLD { "line fine" } else { "line" };
        if d.is_empty() { d } else { format!("<path class=\"{class}\" d=\"{d}\"/>") }
    }

    /// The dashed line of a series, on a strip of paper so that it can be followed across what lies below.
    pub(super) fn dashed(&self, series: &Series) -> String {
        let d = match series.mark {
            Mark::Dashed => self.path(series, false),
            Mark::Line | Mark::LinePoints | Mark::Steps | Mark::Points | Mark::Bars => String::new(),
        };
        let dash = dash(series.color);
        if d.is_empty() { d } else { format!("<path class=\"strip\" d=\"{d}\"/><path class=\"line\" d=\"{d}\"{dash}/>") }
    }

    fn path(&self, series: &Series, steps: bool) -> String {
        let draw = |run: Vec<Dot>| path(run.iter().map(|dot| (dot.x, dot.y)), steps);
        self.runs(series).into_iter().map(draw).collect()
    }

    /// The bars of the `rank`-th of `count` bar series; `slot` is the width that one place on the x axis has.
    pub(super) fn bars(&self, series: &Series, rank: usize, count: usize, slot: f64) -> String {
        let width = (0.8 * slot / count as f64).clamp(1.0, 60.0);
        let base = self.plot.y(self.y.base());
        let mut out = String::new();
        for dot in self.runs(series).into_iter().flatten() {
            let centre = dot.x + (rank as f64 + 0.5 - count as f64 / 2.0) * width;
            let (top, bottom) = (dot.y.min(base), dot.y.max(base));
            let (left, wide, tall) = (centre - 0.46 * width, 0.92 * width, bottom - top);
            let hint = self.hint(series, dot.index);
            out += &format!("<rect class=\"bar\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\">{hint}</rect>");
            if let Some(spread) = &series.spread {
                out += &self.whisker(centre, spread[dot.index], "whisker");
            }
        }
        out
    }

    /// The error bars of a series of points.
    pub(super) fn error_bars(&self, series: &Series) -> String {
        let pointed = match series.mark {
            Mark::Points | Mark::LinePoints => true,
            Mark::Line | Mark::Dashed | Mark::Steps | Mark::Bars => false,
        };
        let Some(spread) = series.spread.as_ref().filter(|_| pointed) else { return String::new() };
        let dots = self.runs(series).into_iter().flatten();
        dots.filter(|dot| self.inside(dot)).map(|dot| self.whisker(dot.x, spread[dot.index], "error")).collect()
    }

    fn whisker(&self, x: f64, ends: (f64, f64), class: &str) -> String {
        let Some((low, high)) = self.spread(ends) else { return String::new() };
        let (left, right) = (x - 4.0, x + 4.0);
        format!("<path class=\"{class}\" d=\"M{x:.1} {low:.1}V{high:.1}M{left:.1} {low:.1}H{right:.1}M{left:.1} {high:.1}H{right:.1}\"/>")
    }

    /// The markers of a series of points, or unseen places that tell the values of a short line.
    pub(super) fn markers(&self, series: &Series) -> String {
        let seen = match series.mark {
            Mark::Points | Mark::LinePoints => true,
            Mark::Line | Mark::Dashed | Mark::Steps => false,
            Mark::Bars => return String::new(),
        };
        if !seen && series.x.len() > MOST_HINTS {
            return String::new();
        }
        let mut out = String::new();
        for dot in self.runs(series).into_iter().flatten().filter(|dot| self.inside(dot)) {
            let hint = self.hint(series, dot.index);
            out += &if seen {
                marker("dot", series.color, dot.x, dot.y, &hint)
            } else {
                format!("<circle class=\"hint\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"7\">{hint}</circle>", dot.x, dot.y)
            };
        }
        out
    }

    /// Hollow markers at four places along a solid line, to tell it from others without colour; they are not data points.
    pub(super) fn tags(&self, series: &Series) -> String {
        let dots: Vec<Dot> = self.runs(series).into_iter().flatten().filter(|dot| self.inside(dot)).collect();
        // Colours start at different places, so that tags of lines close together do not hide each other.
        let shift = 0.03 * (series.color % 8) as f64;
        let nearest = |part: f64| {
            let x = self.plot.x(part + shift);
            dots.iter().min_by(|a, b| (a.x - x).abs().total_cmp(&(b.x - x).abs()))
        };
        let mut tags: Vec<&Dot> = [0.05, 0.29, 0.53, 0.77].into_iter().filter_map(nearest).collect();
        tags.dedup_by_key(|dot| dot.index);
        tags.into_iter().map(|dot| marker("tag", series.color, dot.x, dot.y, "")).collect()
    }

    /// The exact values of a point, shown when the pointer rests on it.
    fn hint(&self, series: &Series, index: usize) -> String {
        let (x, y) = (self.x.exact(series.x[index]), self.y.exact(series.y[index]));
        let between = match &series.spread {
            Some(spread) if spread[index].0.is_finite() && spread[index].1.is_finite() => {
                format!(" ({} to {})", self.y.exact(spread[index].0), self.y.exact(spread[index].1))
            }
            Some(_) | None => String::new(),
        };
        let name = if series.name.is_empty() { String::new() } else { format!("{}: ", series.name) };
        format!("<title>{}</title>", escape(&format!("{name}{x}, {y}{between}")))
    }
}

/// The sample of a series in the legend, `width` long, centred on (`x` + `width`/2, `y`); `tagged` if its line has tags.
pub(super) fn sample(series: &Series, tagged: bool, x: f64, y: f64, width: f64) -> String {
    let end = x + width;
    let line = |dash: &str| format!("<path class=\"line\" d=\"M{x:.1} {y:.1}H{end:.1}\"{dash}/>");
    let middle = marker(if tagged { "tag" } else { "dot" }, series.color, x + width / 2.0, y, "");
    let (top, bottom) = (y - 6.0, y + 6.0);
    match series.mark {
        Mark::Line if tagged => line("") + &middle,
        Mark::Line => line(""),
        Mark::Dashed => line(&dash(series.color)),
        Mark::Points => middle,
        Mark::LinePoints => line("") + &middle,
        Mark::Bars => format!("<rect class=\"bar\" x=\"{:.1}\" y=\"{top:.1}\" width=\"14\" height=\"12\"/>", x + width / 2.0 - 7.0),
        Mark::Steps => {
            let (a, b) = (x + width / 3.0, x + 2.0 * width / 3.0);
            format!("<path class=\"line\" d=\"M{x:.1} {bottom:.1}H{a:.1}V{y:.1}H{b:.1}V{top:.1}H{end:.1}\"/>")
        }
    }
}

fn dash(color: usize) -> String {
    format!(" stroke-dasharray=\"{}\"", DASHES[color % DASHES.len()])
}

/// A marker of the shape that goes with a colour, with areas about equal.
fn marker(class: &str, color: usize, x: f64, y: f64, hint: &str) -> String {
    let d = match color % 8 {
        0 => return format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.8\">{hint}</circle>"),
        1 => "m-4.4 -4.4h8.8v8.8h-8.8z",
        2 => "m0 -6l5.6 9.8h-11.2z",
        3 => "m0 -6.2l5.6 6.2l-5.6 6.2l-5.6 -6.2z",
        4 => "m0 6l5.6 -9.8h-11.2z",
        5 => "m-1.8 -5.8h3.6v4h4v3.6h-4v4h-3.6v-4h-4v-3.6h4z",
        6 => "m0 -3l3.4 -3.4l3 3l-3.4 3.4l3.4 3.4l-3 3l-3.4 -3.4l-3.4 3.4l-3 -3l3.4 -3.4l-3.4 -3.4l3 -3z",
        _ => "m-2.6 -5.4h5.2l3.2 5.4l-3.2 5.4h-5.2l-3.2 -5.4z",
    };
    format!("<path class=\"{class}\" d=\"M{x:.1} {y:.1}{d}\">{hint}</path>")
}

/// A path through points; one point alone gets a length of zero, which round caps show as a dot.
fn path(points: impl Iterator<Item = (f64, f64)>, steps: bool) -> String {
    let corners = corners(points, steps);
    let mut d = String::new();
    for (i, (x, y)) in corners.iter().enumerate() {
        d += &format!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
    }
    if corners.len() == 1 { d + "h0" } else { d }
}

/// The corners of a line: the points, for steps also (next x, this y).
fn corners(points: impl Iterator<Item = (f64, f64)>, steps: bool) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::new();
    for (x, y) in points {
        if let Some(&(_, before)) = corners.last().filter(|_| steps) {
            corners.push((x, before));
        }
        corners.push((x, y));
    }
    corners
}

/// Keeps the highest and lowest point of equal stretches, and both ends, where there are too many points to see.
fn thin(runs: Vec<Vec<Dot>>) -> Vec<Vec<Dot>> {
    let count: usize = runs.iter().map(Vec::len).sum();
    if count <= MOST_POINTS {
        return runs;
    }
    let stretch = (2 * count).div_ceil(MOST_POINTS);
    runs.into_iter().map(|run| thin_run(&run, stretch)).collect()
}

fn thin_run(run: &[Dot], stretch: usize) -> Vec<Dot> {
    let mut kept = vec![run[0]];
    for part in run.chunks(stretch) {
        let by_height = |a: &&Dot, b: &&Dot| a.y.total_cmp(&b.y);
        let (Some(&a), Some(&b)) = (part.iter().min_by(by_height), part.iter().max_by(by_height)) else { continue };
        kept.extend(if a.index < b.index { [a, b] } else { [b, a] });
    }
    kept.push(run[run.len() - 1]);
    kept.dedup_by_key(|dot| dot.index);
    kept
}
