use std::fs;
use std::io;
use std::path::Path;

use super::{file_with, message, refuses};
use crate::files::{check_writable, write_atomically};

fn write(path: &Path, text: &str) -> Result<(), crate::files::FileError> {
    write_atomically(path, |out| out.write_all(text.as_bytes()))
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_failure_halfway_keeps_the_old_file_whole() {
    let (folder, path) = file_with("k.npy", b"old");
    let failed = write_atomically(&path, |out| {
        out.write_all(&[0; 1 << 20])?;
        Err(io::ErrorKind::StorageFull.into())
    });
    refuses(failed, &["cannot write", "k.npy", "the disk is full"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(entries(folder.path()), 1, "the temporary file is gone");
    write(&path, "new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(entries(folder.path()), 1);
}

#[test]
fn the_old_file_is_there_until_the_new_one_is_complete() {
    let (_folder, path) = file_with("k.npy", b"old");
    write_atomically(&path, |out| {
        out.write_all(&[1; 1 << 20])?;
        assert_eq!(fs::read(&path)?, b"old");
        Ok(())
    })
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), [1; 1 << 20]);
}

#[test]
fn checking_leaves_no_trace() {
    let (folder, path) = file_with("k.npy", b"old");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    check_writable(&path).unwrap();
    check_writable(&folder.path().join("new.npy")).unwrap();
    assert_eq!(entries(folder.path()), 1);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), modified);
}

#[test]
fn targets_that_cannot_be_written() {
    let (folder, file) = file_with("file", b"x");
    let missing = folder.path().join("no\tsuch/k.npy");
    for (path, parts) in [
        (missing.as_path(), &["no\\tsuch\" does not exist", "create it"][..]),
        (folder.path(), &["it is a folder"]),
        (&folder.path().join(""), &["ends like a folder"]),
        (&folder.path().join(".."), &["it is a folder"]),
        (&file.join("k.npy"), &["is not a folder"]),
        (Path::new(""), &["the name is empty"]),
        (&folder.path().join("n".repeat(300)), &["does not allow this name"]),
    ] {
        refuses(check_writable(path), parts);
        assert_eq!(message(write(path, "x")), message(check_writable(path)));
    }
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn permissions_are_those_of_any_new_file_or_of_the_old_one() {
        let (folder, plain) = file_with("plain", b"");
        let path = folder.path().join("k.npy");
        write(&path, "1").unwrap();
        assert_eq!(mode(&path), mode(&plain), "the umask decides");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        write(&path, "2").unwrap();
        assert_eq!(mode(&path), 0o640);
    }

    #[test]
    fn links_stay_links() {
        let (folder, file) = file_with("file", b"old");
        let other = tempfile::tempdir().unwrap();
        let (link, chain, dangling) = (other.path().join("link"), other.path().join("chain"), other.path().join("dangling"));
        symlink(&file, &link).unwrap();
        symlink("link", &chain).unwrap();
        symlink(folder.path().join("new"), &dangling).unwrap();
        write(&chain, "through").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"through");
        check_writable(&dangling).unwrap();
        write(&dangling, "made").unwrap();
        assert_eq!(fs::read(folder.path().join("new")).unwrap(), b"made");
        for path in [&link, &chain, &dangling] {
            assert!(path.is_symlink());
        }
        assert_eq!(entries(other.path()), 3);
        let circle = other.path().join("circle");
        symlink("circle", &circle).unwrap();
        message(write(&circle, "x"));
        message(check_writable(&circle));
    }

    #[test]
    fn devices_and_pipes_are_written_directly() {
        check_writable(Path::new("/dev/null")).unwrap();
        write(Path::new("/dev/null"), "gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        check_writable(&pipe).unwrap();
        let received = std::thread::scope(|scope| {
            let reader = scope.spawn(|| fs::read(&pipe).unwrap());
            write(&pipe, "through").unwrap();
            reader.join().unwrap()
        });
        assert_eq!(received, b"through");
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }

    #[test]
    fn a_closed_pipe_is_known_as_one() {
        let error = write_atomically(Path::new("/dev/null"), |_| Err(io::ErrorKind::BrokenPipe.into())).unwrap_err();
        assert!(error.is_closed_pipe());
        let error = write(Path::new("/"), "x").unwrap_err();
        assert!(!error.is_closed_pipe());
    }

    #[test]
    fn write_protected_files_and_folders() {
        let (folder, path) = file_with("k.npy", b"old");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        // A privileged user may write everywhere; then there is nothing to refuse, and the mode stays.
        if fs::OpenOptions::new().write(true).open(&path).is_ok() {
            write(&path, "new").unwrap();
            assert_eq!(mode(&path), 0o444);
            return;
        }
        refuses(check_writable(&path), &["permission is denied"]);
        refuses(write(&path, "new"), &["permission is denied"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        refuses(check_writable(&folder.path().join("new.npy")), &["no file may be made"]);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
}
