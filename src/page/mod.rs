//! A report page as data, and its renderings: one self-contained HTML page, SVG figures, CSV files.
//!
//! A [`Page`] describes what is shown; [`Page::html`] draws it with inline SVG and no script, font or network access.
//! [`Page::csv_files`] are the numbers behind every figure, at full precision.
//!
//! ```text
//! Page ── Finding (what theory says, what was measured)
//!   └─ Section ── Text, Table, Thumbnails, Figure ── Axis, Series
//! ```

mod axis;
mod html;
mod layout;
mod marks;
mod names;
mod style;
mod svg;
#[cfg(test)]
mod tests;

use serde::Serialize;

/// A whole report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Page {
    /// The one top heading.
    pub title: String,
    /// One paragraph that says what the page is about.
    pub lead: String,
    /// The table at the top: theory against measurement.
    pub findings: Vec<Finding>,
    /// The body, in order.
    pub sections: Vec<Section>,
    /// Machine, seed, data and versions: the table at the foot, as (name, value).
    pub facts: Vec<(String, String)>,
}

/// One row of the table at the top of a page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What theory says, in words.
    pub claim: String,
    /// The value that theory gives, for example `−1/2`.
    pub theory: String,
    /// The value that was measured, with its uncertainty, for example `−0.497 ± 0.012`.
    pub measured: String,
    /// How well the two agree.
    pub agreement: Agreement,
    /// The index in [`Page::sections`] of the section that shows it.
    pub section: usize,
    /// A remark below the claim; may be empty.
    pub note: String,
}

/// How a measurement compares with theory. It is shown as a sign and a word, never by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Agreement {
    /// Equal within the stated uncertainty.
    Agrees,
    /// The right size or trend, but not within the uncertainty.
    Roughly,
    /// Not what theory says.
    Differs,
    /// Theory says nothing definite.
    Informative,
}

/// A headed part of the page: texts first, then thumbnails, figures and tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Section {
    /// The stem of the link target `#section-<id>`.
    pub id: String,
    /// The heading.
    pub title: String,
    /// Paragraphs and formulas.
    pub text: Vec<Text>,
    /// Rows of small images.
    pub thumbnails: Vec<Thumbnails>,
    /// Plots.
    pub figures: Vec<Figure>,
    /// Tables.
    pub tables: Vec<Table>,
}

/// A block of text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Text {
    /// Plain text; it is escaped, so it carries no markup.
    Paragraph(String),
    /// Plain Unicode mathematics, set in a block of its own; line breaks are kept.
    Formula(String),
}

/// A table of ready-made cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Shown above the table.
    pub caption: String,
    /// One name a column.
    pub header: Vec<String>,
    /// The first cell of a row is its heading. A short row is filled with empty cells.
    pub rows: Vec<Vec<String>>,
}

/// A row of small grey images, for example 8×8 digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Thumbnails {
    /// The stem of its CSV file.
    pub id: String,
    /// Shown below the images.
    pub caption: String,
    /// Row-major pixels, (height, width), and a short caption. Each image is scaled to its own smallest and largest value.
    pub images: Vec<(Vec<f64>, (usize, usize), String)>,
}

/// A plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The stem of its CSV and SVG files.
    pub id: String,
    /// A short title.
    pub title: String,
    /// What is to be seen.
    pub caption: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, later series on top.
    pub series: Vec<Series>,
}

/// An axis of a plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    /// The quantity, with its unit if it has one.
    pub label: String,
    /// How values are spread along the axis.
    pub scale: Scale,
    /// (low, high) in the units of the data; `None` fits the data. A range that is empty, not finite, or not positive on
    /// a logarithmic axis is taken as `None`.
    pub range: Option<(f64, f64)>,
}

/// How values are spread along an axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors, with ticks at powers of ten. Values that are not positive are left out.
    Log10,
    /// Equal factors, with ticks at powers of two. Values that are not positive are left out.
    Log2,
    /// Named places; the value `i` stands at the i-th name.
    Category(Vec<String>),
}

/// Points of one kind. Points with a coordinate that is not finite are left out of the drawing, where they interrupt a
/// line, and stay in the CSV file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Its name in the legend; without a name it has no entry.
    pub name: String,
    /// How it is drawn.
    pub mark: Mark,
    /// Horizontal coordinates.
    pub x: Vec<f64>,
    /// Vertical coordinates, as many.
    pub y: Vec<f64>,
    /// (low, high) of y, as many: error bars on points and bars, a band around lines.
    pub spread: Option<Vec<(f64, f64)>>,
    /// The index in the palette of eight, modulo eight. It sets marker shape and dash pattern too; give theory and
    /// measurement of one thing the same.
    pub color: usize,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Mark {
    /// A solid line.
    Line,
    /// A dashed line.
    Dashed,
    /// Markers.
    Points,
    /// Markers joined by a line.
    LinePoints,
    /// Bars from zero (from the lower edge on a logarithmic axis); several bar series stand side by side.
    Bars,
    /// A line of steps: y holds from its x to the next.
    Steps,
}

impl Axis {
    /// An axis that fits the data.
    pub fn new(label: impl Into<String>, scale: Scale) -> Axis {
        Axis { label: label.into(), scale, range: None }
    }

    /// The same axis from `low` to `high`.
    pub fn with_range(self, low: f64, high: f64) -> Axis {
        Axis { range: Some((low, high)), ..self }
    }
}

impl Series {
    /// A series without spread.
    ///
    /// # Panics
    /// If `x` and `y` differ in length.
    #[track_caller]
    pub fn new(name: impl Into<String>, mark: Mark, color: usize, x: Vec<f64>, y: Vec<f64>) -> Series {
        let series = Series { name: name.into(), mark, x, y, spread: None, color };
        series.check();
        series
    }

    /// The same series with (low, high) for each y.
    ///
    /// # Panics
    /// If there are not as many as points.
    #[track_caller]
    pub fn with_spread(self, spread: Vec<(f64, f64)>) -> Series {
        let series = Series { spread: Some(spread), ..self };
        series.check();
        series
    }

    #[track_caller]
    fn check(&self) {
        let (x, y) = (self.x.len(), self.y.len());
        assert!(x == y, "series `{}` has {x} x values but {y} y values", self.name);
        if let Some(spread) = &self.spread {
            assert!(spread.len() == y, "series `{}` has {y} y values but {} spreads", self.name, spread.len());
        }
    }
}

impl Agreement {
    /// The sign and the word that the page shows.
    pub fn sign_and_word(self) -> (&'static str, &'static str) {
        match self {
            Agreement::Agrees => ("✓", "agrees"),
            Agreement::Roughly => ("≈", "roughly"),
            Agreement::Differs => ("✗", "differs"),
            Agreement::Informative => ("○", "for information"),
        }
    }
}

impl Page {
    /// (file name, contents) of the numbers behind every figure and row of thumbnails. The page links to them in the
    /// folder `data` beside it.
    ///
    /// # Panics
    /// If a series has unequal numbers of x, y and spread, or an image not as many pixels as height × width.
    #[track_caller]
    pub fn csv_files(&self) -> Vec<(String, String)> {
        let names = self.names();
        let mut files = Vec::new();
        for (section, names) in self.sections.iter().zip(&names.sections) {
            for (thumbnails, stem) in section.thumbnails.iter().zip(&names.thumbnails) {
                files.push((format!("{stem}.csv"), thumbnails.csv()));
            }
            for (figure, stem) in section.figures.iter().zip(&names.figures) {
                files.push((format!("{stem}.csv"), figure.csv()));
            }
        }
        files
    }

    /// (file name, contents) of every figure as an image of its own. The page links to them in the folder `data` beside it.
    ///
    /// # Panics
    /// If a series has unequal numbers of x, y and spread.
    #[track_caller]
    pub fn svg_files(&self) -> Vec<(String, String)> {
        let names = self.names();
        let mut files = Vec::new();
        for (section, names) in self.sections.iter().zip(&names.sections) {
            for (figure, stem) in section.figures.iter().zip(&names.figures) {
                files.push((format!("{stem}.svg"), figure.standalone_svg()));
            }
        }
        files
    }
}

impl Figure {
    /// The points as a table `series,x,y,low,high`, one row a point, every number such that reading it back gives the
    /// same bits. Names of categories stand for their indices; without a spread, low and high are empty.
    ///
    /// # Panics
    /// If a series has unequal numbers of x, y and spread.
    #[track_caller]
    pub fn csv(&self) -> String {
        let mut out = String::from("series,x,y,low,high\n");
        for series in &self.series {
            series.check();
            for (i, (&x, &y)) in series.x.iter().zip(&series.y).enumerate() {
                let (low, high) = match &series.spread {
                    Some(spread) => (number(spread[i].0), number(spread[i].1)),
                    None => (String::new(), String::new()),
                };
                let (x, y) = (coordinate(&self.x.scale, x), coordinate(&self.y.scale, y));
                out.push_str(&format!("{},{x},{y},{low},{high}\n", field(&series.name)));
            }
        }
        out
    }
}

impl Thumbnails {
    /// The pixels as a table `image,caption,row,column,value`.
    ///
    /// # Panics
    /// If an image has not as many pixels as height × width.
    #[track_caller]
    pub fn csv(&self) -> String {
        let mut out = String::from("image,caption,row,column,value\n");
        for (i, (pixels, shape, caption)) in self.images.iter().enumerate() {
            check_pixels(pixels, *shape, caption);
            let caption = field(caption);
            for (p, &value) in pixels.iter().enumerate() {
                out.push_str(&format!("{i},{caption},{},{},{}\n", p / shape.1, p % shape.1, number(value)));
            }
        }
        out
    }
}

#[track_caller]
fn check_pixels(pixels: &[f64], (height, width): (usize, usize), caption: &str) {
    let wanted = height.checked_mul(width);
    assert!(wanted == Some(pixels.len()), "thumbnail `{caption}` has {} pixels but is to be {height} × {width}", pixels.len());
}

/// The shortest decimal that reads back as the same number.
fn number(value: f64) -> String {
    format!("{value:?}")
}

/// A coordinate for a CSV file: the name of a category, or the number.
fn coordinate(scale: &Scale, value: f64) -> String {
    match scale {
        Scale::Linear | Scale::Log10 | Scale::Log2 => number(value),
        Scale::Category(names) => match axis::category(names, value) {
            Some(name) => field(name),
            None => number(value),
        },
    }
}

/// A CSV field, quoted where RFC 4180 asks for it.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}
