//! A page as HTML: one file without scripts and without anything to fetch.

use super::names::SectionNames;
use super::svg::escape;
use super::{Agreement, Figure, Finding, Page, Section, Table, Text, Thumbnails, check_pixels, style};
use std::fmt::Write;

impl Page {
    /// The page. Links to CSV and SVG files are relative: `data/<name>`, as [`Page::csv_files`] and [`Page::svg_files`]
    /// name them.
    ///
    /// # Panics
    /// If a finding names a section that does not exist, or a series has unequal numbers of x, y and spread.
    #[track_caller]
    pub fn html(&self) -> String {
        let names = self.names();
        let title = escape(&self.title);
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
             <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n",
            style::page_sheet(),
            prose(&self.lead)
        );
        if !self.findings.is_empty() {
            let targets: Vec<&str> = names.sections.iter().map(|section| section.target.as_str()).collect();
            out += &findings(&self.findings, &targets);
        }
        if !self.sections.is_empty() {
            out += "<nav aria-labelledby=\"contents\">\n<h2 id=\"contents\">Contents</h2>\n<ol>\n";
            for (section, names) in self.sections.iter().zip(&names.sections) {
                let _ = writeln!(out, "<li><a href=\"#{}\">{}</a></li>", names.target, escape(&section.title));
            }
            out += "</ol>\n</nav>\n";
        }
        for (section, names) in self.sections.iter().zip(&names.sections) {
            out += &section.html(names);
        }
        out += "</main>\n";
        if !self.facts.is_empty() {
            out += "<footer>\n<h2 id=\"facts\">How this page was made</h2>\n<table>\n<tbody>\n";
            for (name, value) in &self.facts {
                let _ = writeln!(out, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(value));
            }
            out += "</tbody>\n</table>\n</footer>\n";
        }
        out + "</body>\n</html>\n"
    }
}

/// The table of theory against measurement; each claim links to its section.
#[track_caller]
fn findings(findings: &[Finding], targets: &[&str]) -> String {
    let mut out = String::from(
        "<section aria-labelledby=\"findings\">\n<h2 id=\"findings\">Theory and measurement</h2>\n\
         <table class=\"findings\">\n<thead><tr><th scope=\"col\">What theory says</th><th scope=\"col\">Theory</th>\
         <th scope=\"col\">Measured</th><th scope=\"col\">Agreement</th></tr></thead>\n<tbody>\n",
    );
    for finding in findings {
        let (index, count) = (finding.section, targets.len());
        assert!(index < count, "finding `{}` names section {index}, but there are {count} sections", finding.claim);
        let (sign, word) = finding.agreement.sign_and_word();
        let note = if finding.note.is_empty() { String::new() } else { format!("<span class=\"note\">{}</span>", prose(&finding.note)) };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\"><a href=\"#{}\">{}</a>{note}</th><td data-label=\"Theory\">{}</td>\
             <td data-label=\"Measured\">{}</td><td data-label=\"Agreement\" class=\"agreement {}\">\
             <span class=\"sign\" aria-hidden=\"true\">{sign}</span> {word}</td></tr>",
            targets[index],
            prose(&finding.claim),
            prose(&finding.theory),
            prose(&finding.measured),
            class(finding.agreement)
        );
    }
    out + "</tbody>\n</table>\n</section>\n"
}

fn class(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Agrees => "agrees",
        Agreement::Roughly => "roughly",
        Agreement::Differs => "differs",
        Agreement::Informative => "informative",
    }
}

/// Escaped text in which a line does not break before a per cent sign or around ±.
fn prose(text: &str) -> String {
    escape(text).replace(" %", "\u{a0}%").replace(" ± ", "\u{a0}±\u{a0}")
}

impl Section {
    #[track_caller]
    fn html(&self, names: &SectionNames) -> String {
        let target = &names.target;
        let mut out = format!("<section aria-labelledby=\"{target}\">\n<h2 id=\"{target}\">{}</h2>\n", escape(&self.title));
        for text in &self.text {
            let _ = match text {
                Text::Paragraph(text) => writeln!(out, "<p>{}</p>", prose(text)),
                Text::Formula(text) => writeln!(out, "<p><code class=\"formula\" tabindex=\"0\">{}</code></p>", escape(text)),
            };
        }
        for (thumbnails, stem) in self.thumbnails.iter().zip(&names.thumbnails) {
            out += &thumbnails.html(stem);
        }
        for (figure, stem) in self.figures.iter().zip(&names.figures) {
            out += &figure.html(stem);
        }
        for table in &self.tables {
            out += &table.html();
        }
        out + "</section>\n"
    }
}

impl Figure {
    #[track_caller]
    fn html(&self, stem: &str) -> String {
        let title = if self.title.is_empty() { String::new() } else { format!("<strong>{}</strong> ", escape(&closed(&self.title))) };
        format!(
            "<figure id=\"fig-{stem}\">\n{}\n<figcaption>{title}{} <span class=\"files\"><a href=\"data/{stem}.csv\">CSV</a> · \
             <a href=\"data/{stem}.svg\">SVG</a></span></figcaption>\n</figure>\n",
            self.draw(stem, None),
            prose(&self.caption)
        )
    }
}

/// A title that runs on into a caption ends with a full stop.
fn closed(title: &str) -> String {
    if title.ends_with(['.', '?', '!', ':']) { title.to_string() } else { format!("{title}.") }
}

impl Table {
    fn html(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).chain([self.header.len()]).max().unwrap_or(0);
        let label = if self.caption.is_empty() { "Table" } else { &self.caption };
        let mut out = format!("<section class=\"scroll\" tabindex=\"0\" aria-label=\"{}\">\n<table>\n", escape(label));
        if !self.caption.is_empty() {
            let _ = writeln!(out, "<caption>{}</caption>", prose(&self.caption));
        }
        if !self.header.is_empty() {
            let cells = (0..columns)
                .map(|i| self.header.get(i).map_or("<td></td>".to_string(), |name| format!("<th scope=\"col\">{}</th>", escape(name))));
            let _ = writeln!(out, "<thead><tr>{}</tr></thead>", cells.collect::<String>());
        }
        out += "<tbody>\n";
        for row in &self.rows {
            let cell = |i: usize| {
                let text = row.get(i).map(|text| prose(text)).unwrap_or_default();
                if i == 0 { format!("<th scope=\"row\">{text}</th>") } else { format!("<td>{text}</td>") }
            };
            let _ = writeln!(out, "<tr>{}</tr>", (0..columns).map(cell).collect::<String>());
        }
        out + "</tbody>\n</table>\n</section>\n"
    }
}

impl Thumbnails {
    #[track_caller]
    fn html(&self, stem: &str) -> String {
        let mut out = format!("<figure id=\"fig-{stem}\">\n<div class=\"thumbnails\">\n");
        for (pixels, shape, caption) in &self.images {
            check_pixels(pixels, *shape, caption);
            let _ = writeln!(out, "<div>{}{}</div>", image(pixels, *shape, caption), escape(caption));
        }
        let caption = prose(&self.caption);
        let link = format!("<span class=\"files\"><a href=\"data/{stem}.csv\">CSV</a></span>");
        out + &format!("</div>\n<figcaption>{caption} {link}</figcaption>\n</figure>\n")
    }
}

/// An image in the colour of the text: its least value is the paper, its greatest the ink. What is not finite stays paper.
fn image(pixels: &[f64], (height, width): (usize, usize), caption: &str) -> String {
    let finite = pixels.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let label = if caption.is_empty() { "image" } else { caption };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"{}\">",
        escape(label)
    );
    for (p, &value) in pixels.iter().enumerate() {
        // Halved first, because the difference of the largest numbers overflows.
        let shade = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
        if shade.is_finite() && shade >= 0.005 {
            let (x, y) = (p % width, p / width);
            let _ = write!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"1\" height=\"1\" fill-opacity=\"{shade:.2}\"/>");
        }
    }
    out + "</svg>"
}
