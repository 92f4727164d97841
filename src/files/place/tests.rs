//! What a planted file, symlink, pipe or hard link does to whoever opens a place.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use crate::files::read::ReadError;

fn opened(path: &Path) -> io::Result<File> {
    Place::of(path)?.open()
}

#[test]
fn an_entry_that_is_a_symlink_is_neither_read_nor_written_nor_created_through() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link, dangling) = (
        dir.path().join("file"),
        dir.path().join("link"),
        dir.path().join("dangling"),
    );
    fs::write(&file, "theirs").unwrap();
    symlink(&file, &link).unwrap();
    symlink(dir.path().join("new"), &dangling).unwrap();
    for path in [&link, &dangling] {
        let place = Place::of(path).unwrap();
        assert_eq!(
            place.open().unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
        assert_eq!(
            place.open_private().unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
        place.replace(|out| out.write_all(b"ours")).unwrap();
        assert!(fs::symlink_metadata(path).unwrap().is_file());
    }
    assert_eq!(fs::read(&file).unwrap(), b"theirs");
    assert!(!dir.path().join("new").exists());
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    fs::create_dir(dir.path().join("directory")).unwrap();
    let _socket = UnixListener::bind(dir.path().join("socket")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for name in ["pipe", "directory", "socket"] {
        let place = Place::of(&dir.path().join(name)).unwrap();
        for opened in [place.open(), place.open_private()] {
            assert_eq!(
                opened.unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{name}"
            );
        }
        assert!(matches!(place.read(10), Err(ReadError::Io(_))), "{name}");
    }
}

#[test]
fn a_symlink_of_ones_own_on_the_way_is_followed_also_several_and_relative_ones() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/b")).unwrap();
    fs::write(at("a/b/file"), "x").unwrap();
    // As Kubernetes has it: keys -> ..data/keys, ..data -> the directory of the version.
    symlink("a/b", at("..data")).unwrap();
    symlink("..data/file", at("keys")).unwrap();
    symlink(at("keys"), at("absolute")).unwrap();
    symlink("../file", at("a/up")).unwrap();
    fs::write(at("file"), "y").unwrap();
    for (name, is_target) in [
        ("keys", true),
        ("absolute", true),
        ("a/b/file", false),
        ("..data/file", false),
        ("a/b/../up", true),
    ] {
        let place = Place::target_of(&at(name)).unwrap();
        assert_eq!(place.read(10).unwrap().len(), 1, "{name}");
        assert_eq!(place.is_target_of_a_symlink(), is_target, "{name}");
    }
    assert!(opened(&at("keys")).is_err());
    let file = Place::of(&at("a/b/file")).unwrap();
    assert!(Place::target_of(&at("keys")).unwrap().is(&file).unwrap());
}

#[test]
fn symlinks_in_a_circle_and_paths_that_name_no_file_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    symlink("b", dir.path().join("a")).unwrap();
    symlink("a", dir.path().join("b")).unwrap();
    let walked = Place::target_of(&dir.path().join("a"));
    assert_eq!(walked.unwrap_err().raw_os_error(), Some(40));
    for path in ["", "/", ".", "..", "a/.."] {
        assert!(Place::of(Path::new(path)).is_err(), "{path}");
    }
}

#[test]
fn a_place_stays_in_its_directory_when_the_path_leads_elsewhere_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("data")).unwrap();
    fs::create_dir(at("other")).unwrap();
    let place = Place::of(&at("data/file")).unwrap();
    fs::rename(at("data"), at("moved")).unwrap();
    symlink(at("other"), at("data")).unwrap();
    place.replace(|out| out.write_all(b"x")).unwrap();
    assert!(at("moved/file").exists());
    assert!(!at("other/file").exists());
}

#[test]
fn what_is_created_to_be_appended_to_is_private_and_what_is_there_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::of(&dir.path().join("log")).unwrap();
    place.open_private().unwrap().write_all(b"one").unwrap();
    place.open_private().unwrap().write_all(b"two").unwrap();
    let path = dir.path().join("log");
    assert_eq!(fs::read(&path).unwrap(), b"onetwo");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    place.open_private().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
}
