//! Reading files that may hold anything: with a bound, and as text without its byte order mark.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::place::Place;

/// What editors on Windows put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system's reason.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is longer than it may be.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The most that is read, in bytes.
        max: u64,
    },
}

impl ReadError {
    /// Whether there is no such file.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// All of a file.
///
/// # Errors
///
/// It cannot be read, or is longer than `max` bytes; then no more than that was held.
pub fn all(file: File, max: u64) -> Result<Vec<u8>, ReadError> {
    let len = file.metadata()?.len().min(max);
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1);
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(ReadError::TooLong { max });
    }
    Ok(bytes)
}

/// All of whatever the operator named: also a pipe.
///
/// # Errors
///
/// As [`all`].
pub fn named(path: &Path, max: u64) -> Result<Vec<u8>, ReadError> {
    all(File::open(path)?, max)
}

impl Place {
    /// All of the file here.
    ///
    /// # Errors
    ///
    /// As [`all`], and as opening it.
    pub fn read(&self, max: u64) -> Result<Vec<u8>, ReadError> {
        all(self.open()?, max)
    }
}

/// Hands out the lines of a file, each with its line end. Of a line that is longer than `max` bytes the end is
/// passed over.
///
/// # Errors
///
/// The file cannot be read.
pub fn each_line(file: File, max: u64, mut see: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    while reader.by_ref().take(max).read_until(b'\n', &mut line)? > 0 {
        see(&line);
        if !line.ends_with(b"\n") {
            reader.skip_until(b'\n')?;
        }
        line.clear();
    }
    Ok(())
}

/// The length of the byte order mark that bytes begin with.
#[must_use]
pub fn byte_order_mark_len(bytes: &[u8]) -> usize {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_without_end_is_given_up() {
        let read = named(Path::new("/dev/zero"), 1000);
        assert!(matches!(read, Err(ReadError::TooLong { max: 1000 })));
    }

    #[test]
    fn a_file_of_just_the_most_is_read_and_one_byte_more_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(named(&path, 5).unwrap(), b"12345");
        assert!(matches!(named(&path, 4), Err(ReadError::TooLong { .. })));
    }

    #[test]
    fn a_line_without_end_is_cut_and_those_behind_it_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one\n12345678\nlast").unwrap();
        let mut lines = Vec::new();
        each_line(File::open(&path).unwrap(), 4, |line| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        })
        .unwrap();
        assert_eq!(lines, ["one\n", "1234", "last"]);
    }
}
