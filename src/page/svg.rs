//! A figure as SVG.

use super::axis::{Extent, Room};
use super::layout::{LINE, Labels, Layout, Line, SAMPLE, WIDTH};
use super::marks::{Frame, sample};
use super::{Figure, Mark, Scale, Series, names, style};
use std::fmt::Write;

impl Figure {
    /// The plot as an `<svg>` element for a page that carries the style sheet of [`Page::html`](super::Page::html).
    /// The title is not drawn, as the page writes it below.
    ///
    /// # Panics
    /// If a series has unequal numbers of x, y and spread.
    #[track_caller]
    pub fn svg(&self) -> String {
        self.draw(&names::slug(&self.id), None)
    }

    /// The plot as an SVG file of its own, with its title and with colours for light and dark screens.
    ///
    /// # Panics
    /// If a series has unequal numbers of x, y and spread.
    #[track_caller]
    pub fn standalone_svg(&self) -> String {
        self.draw(&names::slug(&self.id), Some(&style::figure_sheet()))
    }

    /// The `<svg>` element with ids `title-<stem>`, `desc-<stem>` and `clip-<stem>`; with a style sheet it is a file of its own.
    #[track_caller]
    pub(super) fn draw(&self, stem: &str, sheet: Option<&str>) -> String {
        self.series.iter().for_each(Series::check);
        let (x, y) = (self.x_extent(), self.y_extent());
        let (x_ticks, y_ticks) = (x.ticks(), y.ticks());
        let layout = Layout::new(self, &x_ticks, &y, sheet.is_some());
        let plot = &layout.plot;
        let frame = Frame { x: &x, y: &y, plot };
        let slot = plot.x(self.slot(&x)) - plot.x(0.0);

        let mut out = format!(
            "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" \
             aria-labelledby=\"title-{stem} desc-{stem}\">\
             <title id=\"title-{stem}\">{}</title><desc id=\"desc-{stem}\">{}</desc>",
            layout.height.ceil(),
            escape(&self.title),
            escape(&self.describe())
        );
        if let Some(sheet) = sheet {
            let _ = write!(out, "<style>{sheet}</style><rect class=\"paper\" width=\"100%\" height=\"100%\"/>");
        }
        let (width, height) = (plot.right - plot.left, plot.bottom - plot.top);
        let _ = write!(
            out,
            "<clipPath id=\"clip-{stem}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath>",
            plot.left - 1.0,
            plot.top - 1.0,
            width + 2.0,
            height + 2.0
        );

        text_lines(&mut out, "name", "start", &layout.title);
        for entry in &layout.legend {
            let series = &self.series[entry.series];
            let sample = sample(series, self.tagged(series), entry.x, entry.y + LINE / 2.0 - 1.0, SAMPLE.0);
            let _ = write!(out, "<g class=\"c{}\">{sample}</g>", series.color % style::COLORS);
            text_lines(&mut out, "", "start", &entry.name);
        }
        text_lines(&mut out, "axis-name", "start", &layout.y_title);

        self.grid(&mut out, &frame, &x_ticks, &y_ticks);
        let _ = write!(out, "<g clip-path=\"url(#clip-{stem})\">");
        // Bands lie below everything, bars below lines, and dashed theory on solid measurements; markers are on top and are
        // not cut at the edge.
        self.layer(&mut out, |series, _| frame.band(series));
        let count = self.bar_series().count();
        self.layer(&mut out, |series, rank| if series.mark == Mark::Bars { frame.bars(series, rank, count, slot) } else { String::new() });
        self.layer(&mut out, |series, _| frame.line(series));
        self.layer(&mut out, |series, _| frame.dashed(series));
        self.layer(&mut out, |series, _| frame.error_bars(series));
        out.push_str("</g>");
        self.layer(&mut out, |series, _| if self.tagged(series) { frame.tags(series) } else { String::new() });
        self.layer(&mut out, |series, _| frame.markers(series));

        text_lines(&mut out, "tick", "end", &layout.y_labels);
        match &layout.x_labels {
            Labels::Level(lines) => text_lines(&mut out, "tick", "middle", lines),
            Labels::Slanted(lines) => {
                for Line { x, y, text } in lines {
                    let text = escape(text);
                    let _ = write!(
                        out,
                        "<text class=\"tick\" text-anchor=\"end\" transform=\"translate({x:.1} {y:.1}) rotate(-45)\">{text}</text>"
                    );
                }
            }
        }
        text_lines(&mut out, "axis-name", "middle", &layout.x_title);
        out + "</svg>"
    }

    /// Whether a line needs tags: it is solid, there are solid lines of other colours, and no markers or steps to know it by.
    fn tagged(&self, series: &Series) -> bool {
        let color = |s: &Series| s.color % style::COLORS;
        let others = self.series.iter().any(|s| s.mark == Mark::Line && color(s) != color(series));
        let known = self.series.iter().any(|s| matches!(s.mark, Mark::Points | Mark::LinePoints) && color(s) == color(series));
        series.mark == Mark::Line && others && !known
    }

    /// Runs over the series in order, one group in the colour of each; `rank` counts the bar series before it.
    fn layer(&self, out: &mut String, draw: impl Fn(&Series, usize) -> String) {
        let mut rank = 0;
        for series in &self.series {
            let elements = draw(series, rank);
            if !elements.is_empty() {
                let _ = write!(out, "<g class=\"c{}\">{elements}</g>", series.color % style::COLORS);
            }
            rank += usize::from(series.mark == Mark::Bars);
        }
    }

    fn grid(&self, out: &mut String, frame: &Frame, x_ticks: &[super::axis::Tick], y_ticks: &[super::axis::Tick]) {
        let plot = frame.plot;
        let (mut minor, mut major) = (String::new(), String::new());
        let across = |y: f64| format!("M{:.1} {y:.1}H{:.1}", plot.left, plot.right);
        let along = |x: f64| format!("M{x:.1} {:.1}V{:.1}", plot.top, plot.bottom);
        minor.extend(frame.x.minor_places().into_iter().map(|p| along(plot.x(p))));
        minor.extend(frame.y.minor_places().into_iter().map(|p| across(plot.y(p))));
        let ruled = |scale: &Scale| match scale {
            Scale::Linear | Scale::Log10 | Scale::Log2 => true,
            Scale::Category(_) => false,
        };
        if ruled(&self.x.scale) {
            major.extend(x_ticks.iter().map(|tick| along(plot.x(tick.place))));
        }
        if ruled(&self.y.scale) {
            major.extend(y_ticks.iter().map(|tick| across(plot.y(tick.place))));
        }
        for (class, d) in [("minor", minor), ("grid", major)] {
            if !d.is_empty() {
                let _ = write!(out, "<path class=\"{class}\" d=\"{d}\"/>");
            }
        }
        let base = plot.y(frame.y.base());
        let _ = write!(
            out,
            "<path class=\"frame\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}M{left:.1} {base:.1}H{right:.1}\"/>",
            left = plot.left,
            top = plot.top,
            bottom = plot.bottom,
            right = plot.right
        );
    }

    fn bar_series(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| series.mark == Mark::Bars)
    }

    fn x_extent(&self) -> Extent {
        let values = || self.series.iter().flat_map(|series| series.x.iter().copied());
        let fitted = Extent::new(&self.x, values(), Room { side: 0.0, zero: false });
        if self.bar_series().next().is_none() || self.x.range.is_some() {
            return fitted;
        }
        // Half a bar of room at either end, in the coordinate of the axis.
        let side = 0.5 * self.slot(&fitted) * fitted.span();
        Extent::new(&self.x, values(), Room { side, zero: false })
    }

    fn y_extent(&self) -> Extent {
        let ends = |series: &Series| series.spread.clone().unwrap_or_default().into_iter().flat_map(|(low, high)| [low, high]);
        let values = self.series.iter().flat_map(|series| series.y.iter().copied().chain(ends(series)));
        Extent::new(&self.y, values, Room { side: 0.0, zero: self.bar_series().next().is_some() })
    }

    /// The least distance of two bars of one series, as a part of the axis: the width that one place has.
    fn slot(&self, x: &Extent) -> f64 {
        if let Scale::Category(names) = &self.x.scale {
            return 1.0 / names.len().max(1) as f64;
        }
        let mut places: Vec<f64> = self.bar_series().flat_map(|series| series.x.iter().filter_map(|&v| x.place(v))).collect();
        places.sort_by(f64::total_cmp);
        places.windows(2).map(|pair| pair[1] - pair[0]).filter(|&gap| gap > 1e-6).fold(0.3, f64::min)
    }

    /// What a reader who does not see the figure is told.
    fn describe(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|s| s.name.as_str()).filter(|name| !name.is_empty()).collect();
        let shown = if names.is_empty() { String::new() } else { format!(" Shown: {}.", names.join("; ")) };
        format!("{} {} against {}.{shown}", self.caption, self.y.label, self.x.label).trim().to_string()
    }
}

fn text_lines(out: &mut String, class: &str, anchor: &str, lines: &[Line]) {
    for Line { x, y, text } in lines {
        let text = escape(text);
        let _ = write!(out, "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
    }
}

/// Text for XML and HTML, in elements and attributes. Characters that XML does not know become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || c == '\u{FFFE}' || c == '\u{FFFF}' => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}
