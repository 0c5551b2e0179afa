//! Files: NumPy arrays, tables of comma-separated values, and writing that never leaves half a file.
//!
//! Nothing else in the workspace reads or writes files. What is read comes from strangers: sizes are held against the
//! file's length before memory is asked for, and every refusal is one sentence that names the file and says what to do.

pub mod csv;
pub mod npy;

#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a file could not be read or written. Each message is one sentence; names are printed quoted and escaped.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refused to read.
    #[error("cannot read {path:?}: {}", advice(error, "read"))]
    Read {
        /// The file as the caller named it.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system refused to write. An existing file is as it was.
    #[error("cannot write {path:?}: {}", advice(error, "write"))]
    Write {
        /// The file as the caller named it.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The name cannot be a file to read or write, for example because it is a folder.
    #[error("cannot use {path:?}: {problem}")]
    Name {
        /// The file as the caller named it.
        path: PathBuf,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The contents are not what the format asks for.
    #[error("cannot use {path:?}: {problem}")]
    Contents {
        /// The file as the caller named it.
        path: PathBuf,
        /// What is wrong, where, and what to do.
        problem: String,
    },
    /// A value is NaN or infinite.
    #[error("cannot use {path:?}: {place} is {value} (counted from 0, as in NumPy); replace it or drop it")]
    NotFinite {
        /// The file as the caller named it.
        path: PathBuf,
        /// Where the first such value stands, for example `row 3, column 17`.
        place: String,
        /// `NaN`, `infinity` or `-infinity`.
        value: &'static str,
    },
}

impl FileError {
    /// Whether the reader at the other end of a pipe has gone, which a command line ends quietly.
    pub fn is_closed_pipe(&self) -> bool {
        match self {
            FileError::Write { error, .. } => error.kind() == io::ErrorKind::BrokenPipe,
            FileError::Read { .. } | FileError::Name { .. } | FileError::Contents { .. } | FileError::NotFinite { .. } => false,
        }
    }

    fn read(path: &Path, error: io::Error) -> Self {
        FileError::Read { path: path.to_path_buf(), error }
    }

    fn write(path: &Path, error: io::Error) -> Self {
        FileError::Write { path: path.to_path_buf(), error }
    }

    fn name(path: &Path, problem: impl Into<String>) -> Self {
        FileError::Name { path: path.to_path_buf(), problem: problem.into() }
    }

    fn contents(path: &Path, problem: impl Into<String>) -> Self {
        FileError::Contents { path: path.to_path_buf(), problem: problem.into() }
    }
}

/// The most bytes of a file of text.
const LARGEST_TEXT: u64 = 16 << 20;

/// Reads a file whole, of at most `most` bytes: a device such as `/dev/zero` never ends.
///
/// # Errors
///
/// If it cannot be read, or does not end by then.
pub fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let (mut file, _) = open(path)?;
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    (&mut file).take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| FileError::read(path, e))?;
    if bytes.len() as u64 > most {
        return Err(FileError::contents(path, format!("it is larger than {} MiB; give a smaller file", most >> 20)));
    }
    Ok(bytes)
}

/// Reads a file of text.
///
/// # Errors
///
/// If it cannot be read, is not UTF-8, or does not end within 16 MiB.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    let bytes = read_bytes(path, LARGEST_TEXT)?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        FileError::contents(path, format!("it is not text in UTF-8: byte {at} is none; save it as UTF-8"))
    })
}

/// Makes a folder, with those above it, unless it is there.
///
/// # Errors
///
/// If it cannot be made, or if something else has its name.
pub fn create_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|e| FileError::write(path, e))
}

/// Writes a file as a whole or not at all.
///
/// The bytes go into a temporary file in the target's folder, are flushed to the disk, and only then take the target's
/// name, so that an existing file is either the old one or the new one. A new file gets the permissions that the umask
/// leaves, an existing one keeps its own; a symbolic link stays, and the file that it names is written. A target that is
/// not a regular file (`/dev/null`, a named pipe, `/dev/stdout`) is written directly. A killed process can leave a file
/// `.tangents-*.tmp` behind.
///
/// # Errors
///
/// Where the target is a folder, its folder is missing, permission is refused, or `fill` or the disk fails.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    let write_error = |error| FileError::write(path, error);
    match destination(path)? {
        Destination::Stream => {
            let file = OpenOptions::new().write(true).truncate(true).open(path).map_err(write_error)?;
            let mut out = BufWriter::new(file);
            fill(&mut out).and_then(|()| out.flush()).map_err(write_error)
        }
        Destination::Regular { target, existing } => {
            let mut out = BufWriter::with_capacity(1 << 18, beside(path, &target)?);
            fill(&mut out).map_err(write_error)?;
            let temporary = out.into_inner().map_err(|e| write_error(e.into_error()))?;
            if let Some(metadata) = existing {
                temporary.as_file().set_permissions(metadata.permissions()).map_err(write_error)?;
            }
            temporary.as_file().sync_all().map_err(write_error)?;
            temporary.persist(&target).map_err(|e| write_error(e.error))?;
            Ok(())
        }
    }
}

/// Refuses a target that [`write_atomically`] could not write, so that long work does not end without its result.
///
/// Leaves nothing behind and does not touch an existing file. A named pipe or a device is taken at its word, as to open
/// one can block or be noticed at its other end.
///
/// # Errors
///
/// As [`write_atomically`], but for a disk that fills up later.
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    match destination(path)? {
        Destination::Stream => Ok(()),
        Destination::Regular { target, .. } => beside(path, &target).map(drop),
    }
}

/// Where a file's bytes go.
enum Destination {
    /// Straight into something that is no regular file.
    Stream,
    /// By way of a temporary file; `target` has no symbolic link at its end.
    Regular { target: PathBuf, existing: Option<Metadata> },
}

fn destination(path: &Path) -> Result<Destination, FileError> {
    let name = path.as_os_str();
    if name.is_empty() {
        return Err(FileError::name(path, "the name is empty; name a file to write"));
    }
    if name.as_encoded_bytes().ends_with(b"/") {
        return Err(FileError::name(path, "the name ends like a folder's; name a file in it"));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(FileError::name(path, "it is a folder; name a file in it")),
        Ok(metadata) if !metadata.is_file() || is_open_handle(path) => Ok(Destination::Stream),
        Ok(metadata) => {
            // Renaming asks only for a writable folder. To replace a write-protected file that way would surprise.
            OpenOptions::new().write(true).open(path).map_err(|e| FileError::write(path, e))?;
            let target = fs::canonicalize(path).map_err(|e| FileError::write(path, e))?;
            Ok(Destination::Regular { target, existing: Some(metadata) })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Destination::Regular { target: end_of_links(path)?, existing: None }),
        Err(error) => Err(FileError::write(path, error)),
    }
}

/// Whether the name stands for a file that somebody holds open, as `/dev/stdout` does: renaming would not reach them.
fn is_open_handle(path: &Path) -> bool {
    path == Path::new("/dev/stdout") || path == Path::new("/dev/stderr") || path.starts_with("/dev/fd") || path.starts_with("/proc")
}

/// The file that a chain of symbolic links would create. No link at all is a chain of length zero.
fn end_of_links(path: &Path) -> Result<PathBuf, FileError> {
    /// As many links as Linux itself follows.
    const MAX_LINKS: usize = 40;
    let mut target = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            Ok(next) => target = folder_of(&target).join(next),
            Err(_) => return Ok(target),
        }
    }
    Err(FileError::name(path, "too many symbolic links follow each other; name the file itself"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// An empty temporary file in the target's folder, removed when dropped.
fn beside(path: &Path, target: &Path) -> Result<tempfile::NamedTempFile, FileError> {
    let folder = folder_of(target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tangents-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The system takes the umask off. The default of the library would keep everybody else out.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    // The library wraps its own name for the temporary file into the error; only the kind of error is of use here.
    builder.tempfile_in(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FileError::name(path, format!("its folder {folder:?} does not exist; create it first")),
        io::ErrorKind::NotADirectory => FileError::name(path, format!("{folder:?} is not a folder; choose another place")),
        io::ErrorKind::PermissionDenied => {
            FileError::name(path, format!("no file may be made in its folder {folder:?}; choose another place"))
        }
        kind => FileError::write(path, kind.into()),
    })
}

/// Opens a file to be read.
fn open(path: &Path) -> Result<(File, Metadata), FileError> {
    let read_error = |error| FileError::read(path, error);
    let file = File::open(path).map_err(read_error)?;
    let metadata = file.metadata().map_err(read_error)?;
    if metadata.is_dir() {
        return Err(FileError::name(path, "it is a folder; name a file in it"));
    }
    Ok((file, metadata))
}

/// What the system said, and what to do about it.
fn advice(error: &io::Error, verb: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist; check the name".to_string(),
        io::ErrorKind::PermissionDenied => {
            format!("permission is denied; change its permissions or choose a file that you may {verb}")
        }
        io::ErrorKind::NotADirectory => "a part of its path is not a folder; check the name".to_string(),
        io::ErrorKind::StorageFull => "the disk is full; free some space or choose another place".to_string(),
        io::ErrorKind::InvalidFilename => "the system does not allow this name; choose another".to_string(),
        // Without the number that the system adds, which helps nobody.
        _ => {
            let message = error.to_string();
            format!("{}; check the name and the disk", message.split(" (os error").next().unwrap_or(&message))
        }
    }
}

/// Text of a stranger for a message: quoted, escaped and of bounded length.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?} (cut after {LONGEST} characters)", &text[..end]),
        None => format!("{text:?}"),
    }
}
