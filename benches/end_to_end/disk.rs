//! Files and directories: how large, how many lines, how much room.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Those below the directory.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    // A file may go while it is looked at.
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Lengths of all the files below the directory.
pub fn directory_bytes(directory: &Path) -> u64 {
    let lengths = files(directory)
        .into_iter()
        .filter_map(|path| Some(path.metadata().ok()?.len()));
    lengths.sum()
}

/// Room on the file system of the directory.
pub fn free_bytes(directory: &Path) -> u64 {
    let room = rustix::fs::statvfs(directory).expect("room");
    room.f_bavail * room.f_frsize
}

/// Ends of lines from here on.
pub fn lines(mut reader: impl Read) -> u64 {
    let mut buffer = vec![0; 256 << 10];
    let mut lines = 0;
    loop {
        match reader.read(&mut buffer).expect("lines") {
            0 => return lines,
            n => lines += memchr::memchr_iter(b'\n', &buffer[..n]).count() as u64,
        }
    }
}

/// How long it takes to read all of the files, one after the other.
pub fn time_to_read(directory: &Path) -> Duration {
    let mut buffer = vec![0; 1 << 20];
    let start = Instant::now();
    for path in files(directory) {
        let mut file = File::open(path).expect("a file");
        while file.read(&mut buffer).expect("bytes") > 0 {}
    }
    start.elapsed()
}

/// Has the kernel forget what it holds of the files.
pub fn drop_cached(directory: &Path) {
    for path in files(directory) {
        let file = File::open(path).expect("a file");
        file.sync_all().expect("sync");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice");
    }
}
