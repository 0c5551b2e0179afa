//! What the tests hold drawings and files against.

use super::super::axis::{Extent, Room};
use super::super::layout::{FONT, Labels, Layout, Line, WIDTH, text_width};
use super::super::{Axis, Figure, Scale, Series};

/// Fails unless tags are balanced, attributes quoted and ampersands escaped. HTML's void elements may stay open.
pub(super) fn check_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.trim_start_matches("<!DOCTYPE html>");
    while let Some(at) = rest.find('<') {
        let content = &rest[..at];
        for part in content.split('&').skip(1) {
            assert!(["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|e| part.starts_with(e)), "bare ampersand in {content:?}");
        }
        let end = at + rest[at..].find('>').expect("a tag is closed");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        assert!(!tag.contains('<'), "`<` in <{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closing tag");
            continue;
        }
        let name = tag.split([' ', '\n']).next().expect("a name").trim_end_matches('/');
        let void = ["meta", "link"].contains(&name);
        if !tag.ends_with('/') && !void {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

/// The values of an attribute, in order.
pub(super) fn attributes<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!(" {name}=\"");
    text.split(&start).skip(1).map(|part| &part[..part.find('"').expect("a quote ends it")]).collect()
}

/// Fails if a coordinate is not a finite number of reasonable size.
pub(super) fn check_numbers(svg: &str) {
    for name in ["d", "x", "y", "cx", "cy", "width", "height", "viewBox", "transform"] {
        for value in attributes(svg, name) {
            let numbers = value.split(|c: char| c.is_ascii_alphabetic() && c != 'e' || " (),%".contains(c)).filter(|s| !s.is_empty());
            for number in numbers {
                assert!(number.parse::<f64>().is_ok_and(|v| v.abs() < 1e7), "{name}=\"{value}\"");
            }
            assert!(!value.contains("NaN") && !value.contains("inf"), "{name}=\"{value}\"");
        }
    }
}

/// Reads a tick label back.
pub(super) fn read_label(label: &str) -> f64 {
    let label = label.replace('−', "-");
    let superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹";
    let raised = |c: char| c == '⁻' || superscripts.contains(c);
    let Some(at) = label.find(raised) else { return label.parse().expect("a number") };
    let exponent: String =
        label[at..].chars().map(|c| superscripts.chars().position(|s| s == c).map_or("-".to_string(), |d| d.to_string())).collect();
    match label[..at].split_once('×') {
        Some((mantissa, _)) => format!("{mantissa}e{exponent}").parse().expect("a mantissa and an exponent"),
        None if &label[..at] == "2" => 2f64.powf(exponent.parse().expect("an exponent")),
        None => format!("{}1e{exponent}", if label.starts_with('-') { "-" } else { "" }).parse().expect("a power of ten"),
    }
}

pub(super) fn check_ticks(scale: Scale, low: f64, high: f64) {
    let extent = Extent::new(&Axis::new("", scale.clone()).with_range(low, high), std::iter::empty(), Room { side: 0.0, zero: false });
    let ticks = extent.ticks();
    let shown: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
    assert!((3..=10).contains(&ticks.len()), "{scale:?} {low:e}..{high:e}: {shown:?}");
    assert!(ticks.windows(2).all(|pair| pair[0].place < pair[1].place), "{scale:?} {low:e}..{high:e}: {shown:?} do not increase");
    for tick in &ticks {
        assert!((0.0..=1.0).contains(&tick.place), "{} lies outside", tick.label);
        let place = extent.place(read_label(&tick.label)).expect("a tick has a place");
        assert!((place - tick.place).abs() < 1e-6, "{scale:?} {low:e}..{high:e}: {} stands at {} not {place}", tick.label, tick.place);
    }
}

/// Fails if a text leaves the figure, by the estimate of its width, or if the legend reaches into the plot.
pub(super) fn check_layout(figure: &Figure) {
    let fit = |axis: &Axis, values: fn(&Series) -> &Vec<f64>| {
        Extent::new(axis, figure.series.iter().flat_map(values).copied(), Room { side: 0.0, zero: false })
    };
    let (x, y) = (fit(&figure.x, |s| &s.x), fit(&figure.y, |s| &s.y));
    let layout = Layout::new(figure, &x.ticks(), &y, true);
    let check = |lines: &[Line], before: f64, after: f64| {
        for line in lines {
            let (left, right) = (line.x - before * text_width(&line.text), line.x + after * text_width(&line.text));
            assert!(left >= -1.0 && right <= WIDTH + 1.0, "{:?} runs from {left} to {right}", line.text);
            assert!(line.y >= FONT * 0.7 && line.y <= layout.height, "{:?} stands at {}", line.text, line.y);
        }
    };
    check(&layout.title, 0.0, 1.0);
    check(&layout.y_title, 0.0, 1.0);
    check(&layout.x_title, 0.5, 0.5);
    check(&layout.y_labels, 1.0, 0.0);
    match &layout.x_labels {
        Labels::Level(lines) => check(lines, 0.5, 0.5),
        Labels::Slanted(lines) => check(lines, 0.5f64.sqrt(), 0.0),
    }
    for entry in &layout.legend {
        check(&entry.name, 0.0, 1.0);
        assert!(entry.name.iter().all(|line| line.y < layout.plot.top), "the legend covers the plot");
    }
    assert!(layout.plot.right - layout.plot.left > 200.0, "the plot is too narrow");
}

/// A reader of RFC 4180, for tests.
pub(super) fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => field.extend(chars.next()),
            (_, '"') => quoted = !quoted,
            (false, ',') => row.push(std::mem::take(&mut field)),
            (false, '\n') => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            (_, c) => field.push(c),
        }
    }
    rows
}

/// Red, green and blue light of `#rrggbb`, each from 0 to 1.
fn light(hex: &str) -> [f64; 3] {
    [1, 3, 5].map(|i| {
        let c = f64::from(u8::from_str_radix(&hex[i..i + 2], 16).expect("two hexadecimal digits")) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    })
}

/// The ratio of relative luminances by WCAG 2.1.
pub(super) fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |[red, green, blue]: [f64; 3]| 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
    let (a, b) = (luminance(light(a)), luminance(light(b)));
    a.max(b) / a.min(b)
}

/// What eyes make of linear light: full colour vision, then none of the cones for red, green and blue
/// (Machado, Oliveira and Fernandes 2009, severity 1).
pub(super) const EYES: [[[f64; 3]; 3]; 4] = [
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
];

/// The distance of two colours in OKLab (Ottosson 2020), where that of black and white is 1.
pub(super) fn distance(a: &str, b: &str, eyes: &[[f64; 3]; 3]) -> f64 {
    let times = |m: &[[f64; 3]; 3], v: [f64; 3]| [0, 1, 2].map(|i| m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2]);
    let cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ];
    let lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ];
    let see = |hex: &str| times(&lab, times(&cones, times(eyes, light(hex)).map(|c| c.clamp(0.0, 1.0))).map(f64::cbrt));
    let (a, b) = (see(a), see(b));
    (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt()
}
