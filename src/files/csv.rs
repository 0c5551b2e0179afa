//! Tables of comma-separated values with one column of class labels (RFC 4180; UTF-8).

use std::collections::BTreeMap;
use std::path::Path;

use ::csv::{ByteRecord, Reader, ReaderBuilder};

use crate::files::{FileError, quoted, read_bytes};

/// A classification data set as a table says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Names of the features, in the order of the columns.
    pub columns: Vec<String>,
    /// `[n_rows, n_features]`, row-major. Every value is finite.
    pub features: Vec<f64>,
    /// Number of examples.
    pub n_rows: usize,
    /// Number of columns besides the label.
    pub n_features: usize,
    /// For each row an index into `classes`.
    pub labels: Vec<usize>,
    /// Names of the classes: in numerical order where all are numbers, else in alphabetical order.
    pub classes: Vec<String>,
}

/// More distinct labels than this are taken for a regression target.
const MAX_CLASSES: usize = 1000;
/// The most bytes of a table.
const LARGEST: u64 = 1 << 30;
const LABEL_NAMES: [&str; 3] = ["label", "class", "target"];

/// Reads a table.
///
/// The first row is a header unless all its cells are numbers. The label column is the one called `label`, `class` or
/// `target` in any case, else the last. Labels are numbers (`1` and `1.0` are one class) or words. White space around a
/// cell is dropped, empty lines are skipped, and a byte-order mark and Windows line ends are understood. Lines are
/// counted from 1, as editors do.
///
/// # Errors
///
/// A table that is not complete and finite, with at least one feature and two classes, in at most 1 GiB: the line and column are named.
pub fn read_table(path: &Path) -> Result<Table, FileError> {
    let refuse = |problem: String| FileError::contents(path, problem);
    let bytes = read_bytes(path, LARGEST)?;
    let mut rows = Rows::of(&bytes);
    if !rows.next().map_err(refuse)? {
        return Err(refuse("it is empty; give a header and rows of numbers".to_string()));
    }
    let header = rows.cells().and_then(|first| Header::of(&first)).map_err(refuse)?;
    let mut columns = header.names;
    let mut features = Vec::new();
    let mut texts = Vec::new();
    let mut more = header.is_data || rows.next().map_err(refuse)?;
    while more {
        let row = rows.cells().map_err(refuse)?;
        if row.len() != columns.len() {
            return Err(refuse(format!(
                "line {} has {} cells where {} are expected; complete or drop it",
                rows.line(),
                row.len(),
                columns.len()
            )));
        }
        for (i, cell) in row.iter().enumerate() {
            let at = |problem| refuse(format!("line {}, column {}: {problem}", rows.line(), quoted(&columns[i])));
            if i == header.label {
                texts.push(label(cell).map_err(at)?.to_string());
            } else {
                features.push(number(cell).map_err(at)?);
            }
        }
        more = rows.next().map_err(refuse)?;
    }
    if texts.is_empty() {
        return Err(refuse("it has a header and no rows; add rows of numbers".to_string()));
    }
    let label_column = columns.remove(header.label);
    let (labels, classes) = classes_of(&texts, &label_column).map_err(refuse)?;
    Ok(Table { n_rows: texts.len(), n_features: columns.len(), columns, features, labels, classes })
}

/// The rows of a table, one at a time.
struct Rows<'a> {
    text: &'a [u8],
    reader: Reader<&'a [u8]>,
    row: ByteRecord,
}

impl<'a> Rows<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
        Rows { text, reader, row: ByteRecord::new() }
    }

    /// Whether there was another row.
    fn next(&mut self) -> Result<bool, String> {
        self.reader
            .read_byte_record(&mut self.row)
            .map_err(|error| format!("it is no table of comma-separated values ({error}); save it again"))
    }

    /// The cells of the row, without the white space around them.
    fn cells(&self) -> Result<Vec<&str>, String> {
        let clean = |(i, cell)| match std::str::from_utf8(cell) {
            Ok(text) if !text.contains('\0') => Ok(text.trim()),
            Ok(_) | Err(_) => {
                let (line, column) = (self.line(), i + 1);
                Err(format!("line {line}, column number {column}: the text is not UTF-8; save the table as UTF-8"))
            }
        };
        self.row.iter().enumerate().map(clean).collect()
    }

    /// The line on which the row starts. The csv crate counts the line ends and empty lines before a row to the row
    /// itself, so its own line numbers come out too small; counted here only once a message needs it.
    fn line(&self) -> usize {
        let mut start = self.row.position().map_or(0, |position| position.byte() as usize);
        start += self.text[start..].iter().take_while(|&&byte| byte == b'\n' || byte == b'\r').count();
        let before = &self.text[..start];
        let newlines = before.iter().filter(|&&byte| byte == b'\n').count();
        // Old line ends are a carriage return alone.
        let returns = before.windows(2).filter(|pair| pair[0] == b'\r' && pair[1] != b'\n').count();
        let last = usize::from(before.ends_with(b"\r"));
        1 + newlines + returns + last
    }
}

/// What the first row says of the columns.
struct Header {
    names: Vec<String>,
    /// The index of the label column.
    label: usize,
    /// Whether the first row is no header but data.
    is_data: bool,
}

impl Header {
    fn of(first: &[&str]) -> Result<Self, String> {
        if let [only] = first {
            let hint = match only.chars().find(|c| [';', '\t', '|'].contains(c)) {
                Some(separator) => format!("; separate columns by commas, not by {separator:?}"),
                None => "; add columns of numbers".to_string(),
            };
            return Err(format!("it has a single column, so no features beside the labels{hint}"));
        }
        let named: Vec<usize> = (0..first.len()).filter(|&i| LABEL_NAMES.iter().any(|name| first[i].eq_ignore_ascii_case(name))).collect();
        if let [one, other, ..] = named[..] {
            let (one, other) = (quoted(first[one]), quoted(first[other]));
            return Err(format!("its columns {one} and {other} could both be the label; rename one"));
        }
        let numbers = first.iter().filter(|cell| cell.parse::<f64>().is_ok()).count();
        let is_data = numbers == first.len();
        // Where the label column is not named, a number beside words is rather a first row of data with a word as its
        // label than a header, and to take it for a header would lose an example without a word.
        if named.is_empty() && numbers > 0 && !is_data {
            return Err("its first row mixes numbers and words, so it is no header; add a row of column names".to_string());
        }
        let names =
            if is_data { (1..=first.len()).map(|i| i.to_string()).collect() } else { first.iter().map(|name| name.to_string()).collect() };
        Ok(Header { names, label: named.first().copied().unwrap_or(first.len() - 1), is_data })
    }
}

fn number(cell: &str) -> Result<f64, String> {
    if cell.is_empty() {
        return Err("the cell is empty; fill it or drop the row".to_string());
    }
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) if cell.contains(|c: char| c.is_ascii_digit()) => {
            Err(format!("{} is too large for a 64-bit number; scale the column", quoted(cell)))
        }
        Ok(_) => Err(format!("{} is not finite; replace it or drop the row", quoted(cell))),
        Err(_) => Err(format!("{} is not a number; encode words as numbers, or drop the column", quoted(cell))),
    }
}

/// A label is a word or a finite number; `nan` marks a label that is missing.
fn label(cell: &str) -> Result<&str, String> {
    if cell.is_empty() || cell.parse::<f64>().is_ok_and(|value| !value.is_finite()) {
        return number(cell).map(|_| cell);
    }
    Ok(cell)
}

/// Turns the texts of labels into indices into the sorted classes.
fn classes_of(texts: &[String], column: &str) -> Result<(Vec<usize>, Vec<String>), String> {
    let numbers: Option<Vec<f64>> = texts.iter().map(|text| text.parse().ok()).collect();
    let (labels, classes) = match numbers {
        // Adding 0 makes -0 the same class as 0.
        Some(numbers) => index(numbers.iter().map(|&x| OrderedNumber(x + 0.0)), texts),
        None => index(texts.iter(), texts),
    };
    let n = classes.len();
    if n < 2 {
        return Err(format!("its label column {} has a single class; give at least two", quoted(column)));
    }
    if n > MAX_CLASSES {
        return Err(format!(
            "its label column {} has {n} distinct values, which looks like a regression target; \
             give at most {MAX_CLASSES} classes",
            quoted(column)
        ));
    }
    Ok((labels, classes))
}

/// Ranks keys; a class is called by the first text that it has.
fn index<K: Ord>(keys: impl Iterator<Item = K> + Clone, texts: &[String]) -> (Vec<usize>, Vec<String>) {
    let mut ranks = BTreeMap::new();
    for (key, text) in keys.clone().zip(texts) {
        ranks.entry(key).or_insert((0, text));
    }
    for (rank, entry) in ranks.values_mut().enumerate() {
        entry.0 = rank;
    }
    let labels = keys.map(|key| ranks[&key].0).collect();
    (labels, ranks.into_values().map(|(_, text)| text.clone()).collect())
}

/// A finite number as a key.
#[derive(Clone, Copy)]
struct OrderedNumber(f64);

impl Ord for OrderedNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for OrderedNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for OrderedNumber {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for OrderedNumber {}
