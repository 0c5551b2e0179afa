mod checks;

use super::axis::{Extent, Room};
use super::layout::{text_width, wrap};
use super::style::{DARK, LIGHT, Theme};
use super::svg::escape;
use super::*;
use checks::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn figure(id: &str, scales: (Scale, Scale), series: Vec<Series>) -> Figure {
    let (x, y) = (Axis::new("width", scales.0), Axis::new("distance", scales.1));
    Figure { id: id.into(), title: "A title".into(), caption: "What is seen.".into(), x, y, series }
}

fn line(x: Vec<f64>, y: Vec<f64>) -> Vec<Series> {
    vec![Series::new("s", Mark::Line, 0, x, y)]
}

fn sample_page() -> Page {
    let nasty = "<script>alert('&')</script> \"q\" \u{1}";
    let section = |id: &str| Section {
        id: id.into(),
        title: nasty.into(),
        text: vec![Text::Paragraph(nasty.into()), Text::Formula("a < b & c".into())],
        thumbnails: vec![Thumbnails {
            id: "A".into(),
            caption: nasty.into(),
            images: vec![(vec![0.0, f64::NAN, 1e308, -1e308], (2, 2), nasty.into())],
        }],
        figures: vec![
            Figure {
                title: nasty.into(),
                caption: nasty.into(),
                ..figure("a", (Scale::Log2, Scale::Log10), line(vec![1.0, 2.0, 4.0], vec![1.0, 0.1, 0.01]))
            },
            figure(
                "a.title",
                (Scale::Category(vec![nasty.into()]), Scale::Linear),
                vec![Series::new(nasty, Mark::Bars, 1, vec![0.0], vec![2.0])],
            ),
            figure("", (Scale::Linear, Scale::Linear), Vec::new()),
        ],
        tables: vec![Table { caption: nasty.into(), header: vec![nasty.into()], rows: vec![vec![nasty.into(), "1".into()], Vec::new()] }],
    };
    let finding = Finding {
        claim: nasty.into(),
        theory: nasty.into(),
        measured: "0.5 ± 0.1".into(),
        agreement: Agreement::Roughly,
        section: 1,
        note: nasty.into(),
    };
    Page {
        title: nasty.into(),
        lead: nasty.into(),
        findings: vec![finding],
        sections: vec![section("one"), section("one"), section("findings")],
        facts: vec![(nasty.into(), nasty.into())],
    }
}

proptest! {
    #[test]
    fn linear_ticks_are_few_increasing_inside_and_labelled_right(middle in -1.0..1.0, size in -290.0..290.0, span in -4.0..4.0f64) {
        let (middle, half) = (middle * 10f64.powf(size), 10f64.powf(size + span));
        check_ticks(Scale::Linear, middle - half, middle + half);
    }

    #[test]
    fn log_ticks_are_few_increasing_inside_and_labelled_right(low in -300.0..300.0, span in -2.0..2.5) {
        let high: f64 = f64::min(low + 10f64.powf(span), 305.0);
        check_ticks(Scale::Log10, 10f64.powf(low), 10f64.powf(high));
        check_ticks(Scale::Log2, 10f64.powf(low), 10f64.powf(high));
    }

    #[test]
    fn any_numbers_give_a_well_formed_figure(
        points in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY, prop::num::f64::ANY), 0..12),
        simple in prop::collection::vec((0i32..5, -3i32..4), 0..8),
        x in 0usize..4, y in 0usize..4, given in prop::option::of((prop::num::f64::ANY, prop::num::f64::ANY)),
    ) {
        let scales = [Scale::Linear, Scale::Log10, Scale::Log2, Scale::Category(vec!["one".into(), "a long name of a category".into()])];
        let marks = [Mark::Line, Mark::Dashed, Mark::Points, Mark::LinePoints, Mark::Bars, Mark::Steps];
        let wild = |(i, &mark): (usize, &Mark)| {
            let (x, y) = (points.iter().map(|p| p.0).collect(), points.iter().map(|p| p.1).collect());
            Series::new("wild", mark, i, x, y).with_spread(points.iter().map(|p| (p.1, p.2)).collect())
        };
        let tame = Series::new("tame", Mark::Bars, 7, simple.iter().map(|p| p.0.into()).collect(), simple.iter().map(|p| p.1.into()).collect());
        let series = marks.iter().enumerate().map(wild).chain([tame]).collect();
        let mut figure = figure("wild", (scales[x].clone(), scales[y].clone()), series);
        figure.x.range = given;
        figure.y.range = given;
        for svg in [figure.svg(), figure.standalone_svg()] {
            check_numbers(&svg);
            check_well_formed(&svg);
        }
    }

    #[test]
    fn csv_reads_back_to_the_same_bits(
        points in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY, prop::num::f64::ANY), 0..20),
        name in "[a-z ,\"\n]{0,8}",
    ) {
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|p| (p.0, p.1)).unzip();
        let series = Series::new(name.clone(), Mark::Line, 0, x, y).with_spread(points.iter().map(|p| (p.1, p.2)).collect());
        let rows = read_csv(&figure("a", (Scale::Linear, Scale::Log10), vec![series]).csv());
        prop_assert_eq!(&rows[0], &["series", "x", "y", "low", "high"].map(String::from).to_vec());
        prop_assert_eq!(rows.len(), points.len() + 1);
        for (row, p) in rows[1..].iter().zip(&points) {
            prop_assert_eq!(&row[0], &name);
            for (text, value) in row[1..].iter().zip([p.0, p.1, p.1, p.2]) {
                let read: f64 = text.parse().expect("a number");
                prop_assert!(read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()));
            }
        }
    }

    #[test]
    fn texts_stay_inside_the_figure(
        names in prop::collection::vec("[a-zA-Z ]{0,60}", 1..14), y_label in "[a-zA-Z ]{0,150}", x_label in "[a-zA-Z ]{0,150}", low in -1e9..1e9, span in 1e-6..1e9,
    ) {
        let positions: Vec<f64> = (0..names.len()).map(|i| i as f64).collect();
        let heights: Vec<f64> = positions.iter().map(|i| low + span * i).collect();
        let series = names.iter().map(|name| Series::new(name.clone(), Mark::Points, 0, positions.clone(), heights.clone())).collect();
        for scales in [(Scale::Category(names.clone()), Scale::Linear), (Scale::Linear, Scale::Category(names.clone()))] {
            let mut figure = figure("a", scales, Vec::clone(&series));
            (figure.x.label, figure.y.label) = (x_label.clone(), y_label.clone());
            check_layout(&figure);
        }
    }
}

#[test]
fn ticks_have_the_values_that_a_person_would_write() {
    let labels = |scale: Scale, low: f64, high: f64| -> Vec<String> {
        let extent = Extent::new(&Axis::new("", scale).with_range(low, high), std::iter::empty(), Room { side: 0.0, zero: false });
        extent.ticks().into_iter().map(|tick| tick.label).collect()
    };
    assert_eq!(labels(Scale::Linear, 0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    assert_eq!(labels(Scale::Linear, -2.0, 3.0), ["−2", "−1", "0", "1", "2", "3"]);
    assert_eq!(labels(Scale::Linear, 0.0, 3e-7), ["0", "1×10⁻⁷", "2×10⁻⁷", "3×10⁻⁷"]);
    assert_eq!(labels(Scale::Log10, 1e-5, 1.0), ["10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "10⁰"]);
    assert_eq!(labels(Scale::Log10, 1.0, 1000.0), ["1", "10", "100", "1000"]);
    assert_eq!(labels(Scale::Log10, 0.1, 1.0), ["0.1", "0.2", "0.5", "1"]);
    assert_eq!(labels(Scale::Log2, 64.0, 1024.0), ["64", "128", "256", "512", "1024"]);
}

#[test]
fn single_values_and_categories_stand_in_the_middle() {
    let place = |scale: Scale, value: f64| {
        let extent = Extent::new(&Axis::new("", scale), [value, f64::NAN, f64::INFINITY].into_iter(), Room { side: 0.0, zero: false });
        extent.place(value).expect("a value of the scale")
    };
    for value in [0.0, 7.0, -7.0, 1e-300, 1e200] {
        assert!((place(Scale::Linear, value) - 0.5).abs() < 1e-9, "{value}");
    }
    for value in [1e-300, 7.0, 1e300] {
        assert!((place(Scale::Log10, value) - 0.5).abs() < 1e-9 && (place(Scale::Log2, value) - 0.5).abs() < 1e-9, "{value}");
    }
    assert_eq!(place(Scale::Category(vec!["a".into(), "b".into()]), 1.0), 0.75);
}

#[test]
fn text_is_escaped_everywhere() {
    assert_eq!(escape("<a href=\"x\">'&\u{1}"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{FFFD}");
    let html = sample_page().html();
    assert!(!html.contains("<script") && !html.contains('\u{1}'));
}

#[test]
fn a_page_is_well_formed_with_headings_in_order() {
    let html = sample_page().html();
    check_well_formed(&html);
    let levels: Vec<u32> = html.split("<h").skip(1).filter_map(|part| part.chars().next()?.to_digit(10)).collect();
    assert_eq!(levels.iter().filter(|&&level| level == 1).count(), 1);
    assert_eq!(levels[0], 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1));
    for needed in ["<html lang=\"en\">", "name=\"viewport\"", "name=\"color-scheme\"", "≈</span> roughly"] {
        assert!(html.contains(needed), "{needed}");
    }
}

#[test]
fn a_page_fetches_nothing() {
    let html = sample_page().html().replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for word in ["http:", "https:", "//", "@import", "<script", "src="] {
        assert!(!html.replace("<script>alert", "").contains(word), "{word}");
    }
    assert!(!html.contains("url(") || html.matches("url(").count() == html.matches("url(#clip-").count());
}

#[test]
fn ids_are_unique_and_every_link_has_its_target() {
    let page = sample_page();
    let html = page.html();
    let ids = attributes(&html, "id");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    let mut files: BTreeSet<String> = BTreeSet::new();
    for (name, _) in page.csv_files().into_iter().chain(page.svg_files()) {
        assert!(files.insert(name.to_lowercase()), "{name} is written twice");
    }
    let mut linked = 0;
    for href in attributes(&html, "href") {
        if let Some(target) = href.strip_prefix('#') {
            assert!(unique.contains(target), "{href}");
        } else if let Some(file) = href.strip_prefix("data/") {
            assert!(files.contains(&file.to_lowercase()), "{href}");
            linked += 1;
        }
    }
    assert_eq!(linked, files.len());
    for reference in html.split("url(#").skip(1).map(|part| &part[..part.find(')').expect("a bracket")]) {
        assert!(unique.contains(reference), "{reference}");
    }
    for label in attributes(&html, "aria-labelledby").into_iter().flat_map(str::split_whitespace) {
        assert!(unique.contains(label), "{label}");
    }
}

#[test]
fn a_missing_point_breaks_the_line() {
    let svg =
        figure("a", (Scale::Linear, Scale::Log10), line(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], vec![1.0, 2.0, 0.0, 3.0, f64::NAN, 4.0])).svg();
    let path = svg.split("class=\"line\" d=\"").nth(2).expect("a sample and a line").split('"').next().expect("a path");
    assert_eq!(path.matches('M').count(), 3, "{path}");
    assert_eq!(path.matches("h0").count(), 2, "single points are dots: {path}");
}

#[test]
fn long_lines_are_thinned_in_the_drawing_only() {
    let x: Vec<f64> = (0..100_000).map(f64::from).collect();
    let mut y = vec![1.0; x.len()];
    y[54_321] = 9.0;
    let long = figure("a", (Scale::Linear, Scale::Linear), line(x, y));
    let svg = long.svg();
    let path = svg.split("class=\"line fine\" d=\"").nth(1).expect("a line").split('"').next().expect("a path");
    let count = path.matches(['M', 'L']).count();
    assert!((1000..=2010).contains(&count), "{count} points");
    let top = path
        .split(['M', 'L'])
        .skip(1)
        .filter(|p| !p.ends_with(path.split(' ').nth(1).expect("a height").split('L').next().expect("a height")));
    assert_eq!(top.count(), 1, "the peak is kept");
    assert_eq!(long.csv().lines().count(), 100_001);
}

#[test]
fn solid_lines_differ_without_colour() {
    let solid = |color: usize| Series::new("l", Mark::Line, color, (0..50).map(f64::from).collect(), vec![1.0; 50]);
    let tags = |series: Vec<Series>| figure("a", (Scale::Linear, Scale::Linear), series).svg().matches("class=\"tag\"").count();
    assert_eq!(tags(vec![solid(0)]), 0);
    assert_eq!(tags(vec![solid(0), solid(1)]), 10, "four on each line, one in each sample");
    assert_eq!(tags(vec![solid(0), Series { mark: Mark::Points, ..solid(0) }, solid(1)]), 5, "markers tell a line already");
}

#[test]
fn points_outside_the_axis_are_not_drawn() {
    let mut figure =
        figure("a", (Scale::Linear, Scale::Linear), vec![Series::new("", Mark::Points, 0, vec![1.0, 2.0, 3.0], vec![1.0, 50.0, 3.0])]);
    assert_eq!(figure.svg().matches("<circle").count(), 3);
    figure.y.range = Some((0.0, 10.0));
    assert_eq!(figure.svg().matches("<circle").count(), 2);
}

#[test]
fn categories_are_named_in_csv() {
    let names = vec!["ntk".to_string(), "mup, wide".to_string()];
    let bars = Series::new("b", Mark::Bars, 0, vec![1.0, 0.5], vec![1.0, 2.0]);
    assert_eq!(
        figure("a", (Scale::Category(names), Scale::Linear), vec![bars]).csv(),
        "series,x,y,low,high\nb,\"mup, wide\",1.0,,\nb,0.5,2.0,,\n"
    );
}

#[test]
fn colours_stand_out_from_the_paper() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-12);
    for Theme { paper, ink, quiet, link, palette, ground, .. } in [LIGHT, DARK] {
        for color in palette {
            assert!(contrast(color, paper) >= 3.0, "{color} on {paper}: {}", contrast(color, paper));
        }
        for (text, back) in [(ink, paper), (quiet, paper), (link, paper), (ink, ground)] {
            assert!(contrast(text, back) >= 4.5, "{text} on {back}");
        }
    }
}

#[test]
fn colours_differ_for_colour_blind_readers() {
    assert!((distance("#000000", "#ffffff", &EYES[0]) - 1.0).abs() < 1e-6);
    for Theme { palette, .. } in [LIGHT, DARK] {
        for (i, a) in palette.iter().enumerate() {
            for (b, eyes) in palette[..i].iter().flat_map(|b| EYES.iter().map(move |eyes| (b, eyes))) {
                assert!(distance(a, b, eyes) >= 0.08, "{a} and {b}: {}", distance(a, b, eyes));
            }
        }
    }
}

#[test]
fn wrapping_keeps_words_and_widths() {
    assert_eq!(wrap("", 100.0), Vec::<String>::new());
    assert_eq!(wrap("one two", 1000.0), ["one two"]);
    let lines = wrap("supercalifragilistic words and words", 90.0);
    assert!(lines.iter().all(|line| text_width(line) <= 90.0) && lines.len() > 3);
    assert_eq!(lines.concat().replace(' ', ""), "supercalifragilisticwordsandwords");
}

#[test]
#[should_panic(expected = "series `s` has 2 x values but 1 y values")]
fn unequal_coordinates_are_refused() {
    figure(
        "a",
        (Scale::Linear, Scale::Linear),
        vec![Series { name: "s".into(), mark: Mark::Line, x: vec![1.0, 2.0], y: vec![1.0], spread: None, color: 0 }],
    )
    .svg();
}

#[test]
#[should_panic(expected = "names section 7, but there are 3 sections")]
fn a_finding_must_name_a_section() {
    let mut page = sample_page();
    page.findings[0].section = 7;
    page.html();
}
