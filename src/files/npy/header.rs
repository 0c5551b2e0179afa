//! The header of a `.npy` file, read strictly and written as NumPy writes it.

use std::io::Read;
use std::path::Path;

use super::literal::Parser;
use super::read_up_to;
use crate::files::{FileError, quoted};

/// What a header says, held against what memory can address.
pub(super) struct Layout {
    pub(super) shape: Vec<usize>,
    pub(super) order: Order,
    pub(super) kind: Kind,
    /// The product of `shape`.
    pub(super) count: usize,
    /// Bytes of one value.
    pub(super) item_size: usize,
    /// Bytes before the first value.
    pub(super) header_size: u64,
}

/// How the values lie in the file.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) fortran: bool,
    pub(super) big_endian: bool,
}

/// The types of number that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F16,
    F32,
    F64,
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// More than any array of numbers needs, and the most that version 1 can say.
const LONGEST_HEADER: u32 = 65_535;
/// As many axes as NumPy has.
pub(super) const MAX_AXES: usize = 64;
/// What helps with any array that is not one of numbers.
pub(super) const CONVERT: &str = r#"convert it in Python with np.save("x.npy", np.asarray(x, dtype="float64"))"#;

/// Reads everything before the values. `length` is that of the whole file, where it has one.
pub(super) fn read(path: &Path, bytes: &mut impl Read, length: Option<u64>) -> Result<Layout, FileError> {
    let refuse = |problem: String| FileError::contents(path, problem);
    let cut_short = || refuse("it ends within its header; the file is cut short, so write it again".to_string());
    let mut take = |buffer: &mut [u8]| read_up_to(bytes, buffer).map_err(|e| FileError::read(path, e));

    let mut start = [0u8; 10];
    let got = take(&mut start)?;
    if !start[..got].starts_with(MAGIC) {
        return Err(refuse(other_format(&start[..got])));
    }
    if got < start.len() {
        return Err(cut_short());
    }
    let [_, _, _, _, _, _, major, minor, low, high] = start;
    let (text_size, before) = match (major, minor) {
        (1, 0) => (u32::from(u16::from_le_bytes([low, high])), 10),
        (2 | 3, 0) => {
            let mut rest = [0u8; 2];
            if take(&mut rest)? < rest.len() {
                return Err(cut_short());
            }
            (u32::from_le_bytes([low, high, rest[0], rest[1]]), 12)
        }
        _ => {
            let problem = format!("version {major}.{minor} of the format is unknown; save it with a current NumPy");
            return Err(refuse(problem));
        }
    };
    let header_size = before + u64::from(text_size);
    if length.is_some_and(|length| length < header_size) {
        return Err(cut_short());
    }
    if text_size > LONGEST_HEADER {
        let problem = format!("its header of {text_size} bytes is too long for an array of numbers; {CONVERT}");
        return Err(refuse(problem));
    }
    let mut text = vec![0u8; text_size as usize];
    if take(&mut text)? < text.len() {
        return Err(cut_short());
    }
    // Versions 1 and 2 are Latin-1 and version 3 is UTF-8; what an array of numbers needs is the ASCII of both.
    let text =
        std::str::from_utf8(&text).map_err(|_| refuse(format!("its header is not plain text, as field names would make it; {CONVERT}")))?;
    layout(text, header_size).map_err(refuse)
}

/// The header of an array in C order: padded with spaces so that the values start at a multiple of 64 bytes.
///
/// Panics where the product of `shape` is not `count`.
#[track_caller]
pub(super) fn format(shape: &[usize], count: usize, descr: &str) -> Vec<u8> {
    let product = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    assert!(product == Some(count), "an array of shape {shape:?} does not hold {count} values");
    assert!(shape.len() <= MAX_AXES, "an array of shape {shape:?} has more than {MAX_AXES} axes");
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {}, }}", tuple(shape));
    let unpadded = MAGIC.len() + 4 + text.len() + 1;
    text.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    text.push('\n');
    let size = u16::try_from(text.len()).expect("64 axes of at most 20 digits fit into version 1");
    let mut header = MAGIC.to_vec();
    header.extend([1, 0]);
    header.extend(size.to_le_bytes());
    header.extend(text.as_bytes());
    header
}

/// A shape as Python prints it: `()`, `(3,)`, `(3, 4)`.
pub(super) fn tuple(shape: &[usize]) -> String {
    match shape {
        [extent] => format!("({extent},)"),
        _ => {
            let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
            format!("({})", extents.join(", "))
        }
    }
}

/// What a file that is no `.npy` file looks like, by its first bytes.
fn other_format(start: &[u8]) -> String {
    match start {
        [] => "it is empty; write the array again".to_string(),
        [b'P', b'K', ..] => {
            r#"it is an archive (.npz or .zip); save one array of it in Python with np.save("x.npy", np.load("x.npz")["name"])"#.to_string()
        }
        [0x80, ..] => format!("it is a Python pickle, which can run code and is never read; {CONVERT}"),
        [_, _, _, _, _, _, _, 0, b'{', ..] => {
            "it looks like a safetensors file; give an array as .npy here, and weights with their own option".to_string()
        }
        [0x89, b'H', b'D', b'F', ..] => format!("it is an HDF5 file; {CONVERT}"),
        _ if start.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => {
            format!("it is a text file, not a .npy file; {CONVERT}")
        }
        _ => format!("it is not a .npy file; {CONVERT}"),
    }
}

fn layout(text: &str, header_size: u64) -> Result<Layout, String> {
    let fields = Parser::new(text).dictionary()?;
    let (Some(descr), Some(fortran), Some(extents)) = (fields.descr, fields.fortran_order, fields.shape) else {
        return Err("its header lacks one of 'descr', 'fortran_order' and 'shape'; write it again".to_string());
    };
    let (kind, item_size, big_endian) = number_type(descr)?;
    // Axes of extent 0 count as 1 here, so that the strides of an empty array are bounded too, as NumPy has it.
    let bytes = extents.iter().try_fold(item_size as u128, |bytes, &n| bytes.checked_mul(u128::from(n.max(1))));
    if bytes.is_none_or(|bytes| bytes > isize::MAX as u128) {
        let shown: Vec<String> = extents.iter().take(8).map(u64::to_string).collect();
        let more = if extents.len() > shown.len() { ", …" } else { "" };
        return Err(format!("its header promises shape ({}{more}), which no memory can hold; write it again", shown.join(", ")));
    }
    let shape: Vec<usize> = extents.iter().map(|&n| n as usize).collect();
    let count = shape.iter().product();
    Ok(Layout { shape, order: Order { fortran, big_endian }, kind, count, item_size, header_size })
}

/// The type of number that a `descr` names, the bytes of one, and whether the most significant comes first.
fn number_type(descr: &str) -> Result<(Kind, usize, bool), String> {
    let refuse = |what: &str| Err(format!("its values are {what} (type {}), not numbers; {CONVERT}", quoted(descr)));
    let mut chars = descr.chars();
    let (order, code, size) = (chars.next(), chars.next(), chars.as_str());
    let (kind, item_size) = match (code, size) {
        (Some('f'), "2") => (Kind::F16, 2),
        (Some('f'), "4") => (Kind::F32, 4),
        (Some('f'), "8") => (Kind::F64, 8),
        (Some('b'), "1") => (Kind::Bool, 1),
        (Some('i'), "1") => (Kind::I8, 1),
        (Some('i'), "2") => (Kind::I16, 2),
        (Some('i'), "4") => (Kind::I32, 4),
        (Some('i'), "8") => (Kind::I64, 8),
        (Some('u'), "1") => (Kind::U8, 1),
        (Some('u'), "2") => (Kind::U16, 2),
        (Some('u'), "4") => (Kind::U32, 4),
        (Some('u'), "8") => (Kind::U64, 8),
        (Some('f'), _) => {
            return Err(format!("its values are long doubles (type {}), which differ by machine; {CONVERT}", quoted(descr)));
        }
        (Some('O'), _) => {
            return Err(format!(
                "its values are Python objects (type {}), stored as a pickle, which can run code and is never read; \
                 {CONVERT}",
                quoted(descr)
            ));
        }
        (Some('c'), _) => return refuse("complex"),
        (Some('S' | 'a' | 'U'), _) => return refuse("strings"),
        (Some('M'), _) => return refuse("dates"),
        (Some('m'), _) => return refuse("time differences"),
        (Some('V'), _) => return refuse("raw bytes, as for bfloat16 or structures"),
        _ => {
            return Err(format!("its values have the unknown type {}; {CONVERT}", quoted(descr)));
        }
    };
    match (order, item_size) {
        (Some('<' | '>' | '|' | '='), 1) => Ok((kind, item_size, false)),
        (Some('<'), _) => Ok((kind, item_size, false)),
        (Some('>'), _) => Ok((kind, item_size, true)),
        _ => Err(format!("its type {} does not say the order of its bytes ('<' or '>'); {CONVERT}", quoted(descr))),
    }
}
