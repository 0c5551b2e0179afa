//! Colours and style sheets.

use std::fmt::Write;

/// How many colours a palette has.
pub(super) const COLORS: usize = 8;

/// The colours of one theme. Every colour of the palette has a contrast of at least 3 : 1 against the paper, text 4.5 : 1
/// (WCAG 2.1).
pub(super) struct Theme {
    pub(super) paper: &'static str,
    pub(super) ink: &'static str,
    /// Captions and tick labels.
    pub(super) quiet: &'static str,
    /// Rules and grid lines.
    pub(super) rule: &'static str,
    /// Grid lines between the labelled ones.
    pub(super) faint: &'static str,
    /// The ground of formulas and table heads.
    pub(super) ground: &'static str,
    pub(super) link: &'static str,
    /// Blue, orange, green, purple, deep blue, ochre, violet and grey: the hues of Okabe & Ito (2008), moved apart in
    /// lightness until each pair differs by at least 0.08 in OKLab, for readers without red, green or blue cones too.
    pub(super) palette: [&'static str; COLORS],
}

pub(super) const LIGHT: Theme = Theme {
    paper: "#fdfdfb",
    ink: "#1c1e21",
    quiet: "#565b63",
    rule: "#d9dadc",
    faint: "#eeeeee",
    ground: "#f3f3ef",
    link: "#005a96",
    palette: ["#2a5bb5", "#a54c05", "#2a927b", "#662039", "#0c3b6c", "#aa8733", "#8d81dc", "#565b57"],
};

pub(super) const DARK: Theme = Theme {
    paper: "#15171a",
    ink: "#e8e8e6",
    quiet: "#a8adb5",
    rule: "#3a3e45",
    faint: "#24272c",
    ground: "#1f2226",
    link: "#7cbcf0",
    palette: ["#81cff4", "#ffb875", "#35a454", "#c376ac", "#167093", "#886e25", "#8999f7", "#aca798"],
};

/// The style sheet of a page, figures included.
pub(super) fn page_sheet() -> String {
    format!("{}{}{}", variables(), include_str!("page.css"), include_str!("figure.css"))
}

/// The style sheet of a figure that is a file of its own.
pub(super) fn figure_sheet() -> String {
    format!("{}{}", variables(), include_str!("figure.css"))
}

/// The custom properties: light by default and on paper, dark where the reader prefers it.
fn variables() -> String {
    let (light, dark) = (LIGHT.properties(), DARK.properties());
    let mut out = format!(":root{{color-scheme:light dark;{light}}}\n");
    let _ = writeln!(out, "@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}");
    for i in 0..COLORS {
        let _ = writeln!(out, ".c{i}{{--c:var(--p{i})}}");
    }
    out
}

impl Theme {
    fn properties(&self) -> String {
        let named = [
            ("paper", self.paper),
            ("ink", self.ink),
            ("quiet", self.quiet),
            ("rule", self.rule),
            ("faint", self.faint),
            ("ground", self.ground),
            ("link", self.link),
        ];
        let named = named.iter().map(|(name, color)| format!("--{name}:{color};"));
        let palette = self.palette.iter().enumerate().map(|(i, color)| format!("--p{i}:{color};"));
        named.chain(palette).collect()
    }
}
