//! Link targets and file stems: safe in a file name, an XML id and a URL, and unique within a page.

use super::Page;
use std::collections::BTreeSet;

/// The names used by one page.
pub(super) struct Names {
    pub(super) sections: Vec<SectionNames>,
}

/// The names used by one section: its link target and the stems of its files.
pub(super) struct SectionNames {
    pub(super) target: String,
    pub(super) thumbnails: Vec<String>,
    pub(super) figures: Vec<String>,
}

impl Page {
    /// Gives every section, row of thumbnails and figure a unique name close to its id.
    pub(super) fn names(&self) -> Names {
        let (mut targets, mut stems) = (BTreeSet::new(), BTreeSet::new());
        let name_section = |section: &super::Section| SectionNames {
            target: format!("section-{}", unique(&section.id, &mut targets)),
            thumbnails: section.thumbnails.iter().map(|t| unique(&t.id, &mut stems)).collect(),
            figures: section.figures.iter().map(|f| unique(&f.id, &mut stems)).collect(),
        };
        Names { sections: self.sections.iter().map(name_section).collect() }
    }
}

/// The slug of `id`, followed by `-2`, `-3`, … if it is taken. Case is ignored, as some file systems do.
fn unique(id: &str, taken: &mut BTreeSet<String>) -> String {
    let slug = slug(id);
    let mut name = slug.clone();
    let mut n = 2;
    while !taken.insert(name.to_lowercase()) {
        name = format!("{slug}-{n}");
        n += 1;
    }
    name
}

/// `text` with everything but ASCII letters, digits, `-` and `_` turned into `-`.
pub(super) fn slug(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let slug: String = text.chars().map(safe).collect();
    if slug.is_empty() { "unnamed".to_string() } else { slug }
}
