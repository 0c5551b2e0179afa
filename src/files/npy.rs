//! NumPy's `.npy` files, versions 1 to 3.
//!
//! Format: "A Simple File Format for NumPy Arrays", NumPy Enhancement Proposal 1, and the documentation of
//! `numpy.lib.format`. A magic string, a version, the length of a header, the header (a Python dictionary literal with
//! the keys `descr`, `fortran_order` and `shape`), then the values.

mod header;
mod literal;

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crate::files::{FileError, open, write_atomically};
use header::{Kind, Layout, Order};

/// An array in C order: the last axis varies fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extents; empty for a single number.
    pub shape: Vec<usize>,
    /// As many values as the product of `shape`.
    pub values: Values,
}

/// The values of an [`Array`] in the precision of its file.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// From `f4`.
    F32(Vec<f32>),
    /// From `f8`, and from every type that was converted: `f2`, integers, booleans.
    F64(Vec<f64>),
}

/// Reads an array.
///
/// Types `f4` and `f8` keep their precision; `f2`, `i1` to `i8`, `u1` to `u8` and `b1` become `f64` (integers beyond 2⁵³
/// are rounded to the nearest `f64`, as NumPy does). Either byte order; Fortran order is turned into C order.
///
/// The header is held against the file's length before memory is asked for. Memory is the values themselves, and once
/// more the same where the order is turned; a file of one-byte integers grows eightfold by its conversion. What has no
/// length, such as a pipe, is read as it comes, so that memory follows the bytes that arrived.
///
/// # Errors
///
/// Anything that is not exactly one array of numbers: a header that promises more or less than the file holds, Python
/// objects, structures, complex numbers, text, dates, archives.
pub fn read(path: &Path) -> Result<Array, FileError> {
    let (file, metadata) = open(path)?;
    let length = metadata.is_file().then_some(metadata.len());
    let mut bytes = BufReader::with_capacity(CHUNK, file);
    let Layout { shape, order, kind, count, item_size, header_size } = header::read(path, &mut bytes, length)?;
    let expected = count as u64 * item_size as u64;
    if let Some(length) = length {
        check_length(path, &shape, expected, length - header_size)?;
    }
    let reserve = if length.is_some() { count } else { 0 };
    let mut source = Source { bytes, path, shape: &shape, order, count, expected, reserve };
    let values = match kind {
        Kind::F32 => Values::F32(source.decode::<f32, 4>(f32::from_le_bytes)?),
        Kind::F64 => Values::F64(source.decode::<f64, 8>(f64::from_le_bytes)?),
        Kind::F16 => Values::F64(source.decode(|b| half_to_f64(u16::from_le_bytes(b)))?),
        Kind::Bool => Values::F64(source.decode(|b: [u8; 1]| f64::from(u8::from(b[0] != 0)))?),
        Kind::I8 => Values::F64(source.decode(|b| i8::from_le_bytes(b).into())?),
        Kind::I16 => Values::F64(source.decode(|b| i16::from_le_bytes(b).into())?),
        Kind::I32 => Values::F64(source.decode(|b| i32::from_le_bytes(b).into())?),
        Kind::I64 => Values::F64(source.decode(|b| i64::from_le_bytes(b) as f64)?),
        Kind::U8 => Values::F64(source.decode(|b| u8::from_le_bytes(b).into())?),
        Kind::U16 => Values::F64(source.decode(|b| u16::from_le_bytes(b).into())?),
        Kind::U32 => Values::F64(source.decode(|b| u32::from_le_bytes(b).into())?),
        Kind::U64 => Values::F64(source.decode(|b| u64::from_le_bytes(b) as f64)?),
    };
    Ok(Array { shape, values })
}

/// Writes an array as a whole or not at all: version 1, little-endian, C order, as `numpy.save` does.
///
/// # Errors
///
/// As [`write_atomically`].
///
/// # Panics
///
/// Where the product of `shape` is not the number of values, or where there are more than 64 axes.
#[track_caller]
pub fn write<T: Element>(path: &Path, shape: &[usize], values: &[T]) -> Result<(), FileError> {
    let header = header::format(shape, values.len(), T::DESCR);
    write_atomically(path, |out| write_parts(out, &header, values))
}

/// Writes an array piece by piece, as a whole or not at all: `fill` gets a function that takes the next values. Otherwise as [`write()`].
///
/// # Errors
///
/// As [`write_atomically`], and what `fill` says.
///
/// # Panics
///
/// Where the product of `shape` is not the number of values written, or where there are more than 64 axes.
#[track_caller]
pub fn write_pieces<T: Element>(
    path: &Path,
    shape: &[usize],
    fill: impl FnOnce(&mut dyn FnMut(&[T]) -> io::Result<()>) -> io::Result<()>,
) -> Result<(), FileError> {
    let len = shape.iter().product();
    let header = header::format(shape, len, T::DESCR);
    write_atomically(path, |out| {
        out.write_all(&header)?;
        let mut written = 0;
        fill(&mut |values| {
            written += values.len();
            write_values(out, values)
        })?;
        assert_eq!(written, len, "an array of shape {shape:?} has {len} values");
        Ok(())
    })
}

/// Writes the bytes of a `.npy` file to a stream, for example into an archive. Otherwise as [`write()`].
///
/// # Errors
///
/// What the stream says.
///
/// # Panics
///
/// As [`write()`].
#[track_caller]
pub fn write_to<T: Element>(out: &mut dyn Write, shape: &[usize], values: &[T]) -> io::Result<()> {
    write_parts(out, &header::format(shape, values.len(), T::DESCR), values)
}

fn write_parts<T: Element>(out: &mut dyn Write, header: &[u8], values: &[T]) -> io::Result<()> {
    out.write_all(header)?;
    write_values(out, values)
}

fn write_values<T: Element>(out: &mut dyn Write, values: &[T]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK.min(size_of_val(values)));
    for chunk in values.chunks(CHUNK / size_of::<T>()) {
        bytes.clear();
        for value in chunk {
            bytes.extend_from_slice(value.to_le().as_ref());
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// A number that [`write()`] can write: `f32` or `f64`.
pub trait Element: Copy + sealed::Sealed {
    /// The type's name in a header.
    #[doc(hidden)]
    const DESCR: &'static str;
    /// The value's bytes, the least significant first.
    #[doc(hidden)]
    fn to_le(self) -> impl AsRef<[u8]>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Element for f32 {
    const DESCR: &'static str = "<f4";
    fn to_le(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl Element for f64 {
    const DESCR: &'static str = "<f8";
    fn to_le(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl Array {
    /// Refuses NaN and infinity, naming the first place in C order, counted from 0 as NumPy does.
    ///
    /// # Errors
    ///
    /// [`FileError::NotFinite`].
    pub fn require_finite(&self, path: &Path) -> Result<(), FileError> {
        let bad = match &self.values {
            Values::F32(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, f64::from(v[i]))),
            Values::F64(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, v[i])),
        };
        let Some((flat, value)) = bad else {
            return Ok(());
        };
        Err(FileError::NotFinite {
            path: path.to_path_buf(),
            place: place(&self.shape, flat),
            value: match value {
                v if v.is_nan() => "NaN",
                v if v > 0.0 => "infinity",
                _ => "-infinity",
            },
        })
    }
}

impl Values {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(v) => v.len(),
            Values::F64(v) => v.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as `f64`, which is exact.
    pub fn into_f64(self) -> Vec<f64> {
        match self {
            Values::F32(v) => v.into_iter().map(f64::from).collect(),
            Values::F64(v) => v,
        }
    }

    /// The values as `f32`, rounded to the nearest; what lies beyond ±3.4e38 becomes infinite.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Values::F32(v) => v,
            Values::F64(v) => v.into_iter().map(|x| x as f32).collect(),
        }
    }
}

/// Bytes read or written at a time; a multiple of every item size.
const CHUNK: usize = 1 << 16;

/// The values' bytes, and what the header says of them.
struct Source<'a, R> {
    bytes: R,
    path: &'a Path,
    shape: &'a [usize],
    order: Order,
    count: usize,
    expected: u64,
    /// How many values to make room for: none where no file length vouches for the header.
    reserve: usize,
}

impl<R: Read> Source<'_, R> {
    /// All values in C order; `convert` gets the bytes of one, the least significant first.
    fn decode<T: Copy, const SIZE: usize>(&mut self, convert: impl Fn([u8; SIZE]) -> T) -> Result<Vec<T>, FileError> {
        let no_memory = || {
            let problem = format!("its {} values do not fit into memory; use a smaller array", self.count);
            FileError::contents(self.path, problem)
        };
        let mut values = Vec::new();
        values.try_reserve_exact(self.reserve).map_err(|_| no_memory())?;
        let mut chunk = [0u8; CHUNK];
        while values.len() < self.count {
            let wanted = (CHUNK / SIZE).min(self.count - values.len()) * SIZE;
            let got = read_up_to(&mut self.bytes, &mut chunk[..wanted]).map_err(|e| FileError::read(self.path, e))?;
            if got < wanted {
                let available = (values.len() * SIZE + got) as u64;
                return check_length(self.path, self.shape, self.expected, available).map(|()| values);
            }
            values.try_reserve(wanted / SIZE).map_err(|_| no_memory())?;
            let (items, _) = chunk[..wanted].as_chunks_mut::<SIZE>();
            if self.order.big_endian {
                items.iter_mut().for_each(|item| item.reverse());
            }
            values.extend(items.iter().map(|&item| convert(item)));
        }
        let trailing = io::copy(&mut self.bytes, &mut io::sink()).map_err(|e| FileError::read(self.path, e))?;
        check_length(self.path, self.shape, self.expected, self.expected + trailing)?;
        if self.order.fortran && self.shape.len() > 1 {
            let mut turned = Vec::new();
            turned.try_reserve_exact(self.count).map_err(|_| no_memory())?;
            fortran_to_c(self.shape, &values, &mut turned);
            return Ok(turned);
        }
        Ok(values)
    }
}

/// Holds the bytes after the header against those that the header promises.
fn check_length(path: &Path, shape: &[usize], expected: u64, available: u64) -> Result<(), FileError> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let shape = header::tuple(shape);
    match available.cmp(&expected) {
        Equal => Ok(()),
        Less => Err(FileError::contents(
            path,
            format!(
                "its header promises shape {shape}, which takes {expected} bytes, but {available} bytes follow; \
                 the file is cut short or damaged, so write it again"
            ),
        )),
        Greater => {
            let spare = available - expected;
            let bytes = if spare == 1 { "1 byte follows" } else { &format!("{spare} bytes follow") };
            let problem = format!("{bytes} after its array of shape {shape}; write one array to a file");
            Err(FileError::contents(path, problem))
        }
    }
}

/// Fills a buffer as far as the stream goes.
fn read_up_to(bytes: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match bytes.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Appends to `out` the values of a Fortran-ordered array (first axis fastest) in C order (last axis fastest).
fn fortran_to_c<T: Copy>(shape: &[usize], values: &[T], out: &mut Vec<T>) {
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &extent| {
            let this = *stride;
            *stride *= extent;
            Some(this)
        })
        .collect();
    let mut index = vec![0; shape.len()];
    let mut from = 0;
    for _ in 0..values.len() {
        out.push(values[from]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            from += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            from -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

/// IEEE 754 binary16: 1 bit of sign, 5 of exponent (bias 15), 10 of fraction. The conversion is exact.
fn half_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

/// The place of a flat index, in words that fit the number of axes.
fn place(shape: &[usize], flat: usize) -> String {
    let mut rest = flat;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let i = rest % extent;
            rest /= extent;
            i
        })
        .collect();
    index.reverse();
    match index[..] {
        [] => "the value".to_string(),
        [i] => format!("entry {i}"),
        [i, j] => format!("row {i}, column {j}"),
        _ => format!("entry {index:?}"),
    }
}
