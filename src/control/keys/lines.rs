//! Lines of the key file as ranges of bytes, and edits that touch no other byte.
//!
//! Knows where a line is, not what it means; what is inserted was rendered and checked by
//! [`super::key_edit`].

use std::iter;
use std::ops::Range;

use memchr::memchr;

use crate::files::read::byte_order_mark_len;

/// One line.
pub(super) struct Line<'a> {
    /// From 1.
    pub(super) number: u32,
    /// The bytes of the line with its line end.
    pub(super) range: Range<usize>,
    /// Its text without surrounding blanks, and where that starts.
    pub(super) text: &'a [u8],
    pub(super) text_start: usize,
}

/// The lines of a file; a byte order mark belongs to none.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut start = byte_order_mark_len(bytes);
    let mut number = 0;
    iter::from_fn(move || {
        let rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let len = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let line = rest.get(..len)?.trim_ascii_start();
        number += 1;
        let range = start..start + len;
        start = range.end;
        Some(Line {
            number,
            text_start: range.end - line.len(),
            range,
            text: line.trim_ascii_end(),
        })
    })
}

/// Appends lines. They end as the file does: with its kind of line end, or the last without one.
///
/// So removing what was appended gives back the bytes from before.
pub(super) fn append(bytes: &mut Vec<u8>, new: &[String]) {
    let end = line_end(bytes);
    let unfinished = is_unfinished(bytes);
    for line in new {
        if unfinished {
            bytes.extend_from_slice(end);
            bytes.extend_from_slice(line.as_bytes());
        } else {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(end);
        }
    }
}

/// Inserts a line below line `number`, with that line's kind of line end.
pub(super) fn insert_below(bytes: &mut Vec<u8>, number: u32, new: &str) {
    let Some(range) = range_of(bytes, number) else {
        return;
    };
    let above = bytes.get(range.clone()).unwrap_or_default();
    if !above.ends_with(b"\n") {
        append(bytes, &[new.to_owned()]);
        return;
    }
    let end = line_end(above);
    let line = [new.as_bytes(), end].concat();
    bytes.splice(range.end..range.end, line);
}

/// Removes line `number`. Of a last line without a line end, the end of the line above goes instead.
pub(super) fn remove(bytes: &mut Vec<u8>, number: u32) {
    let Some(mut range) = range_of(bytes, number) else {
        return;
    };
    let line = bytes.get(range.clone()).unwrap_or_default();
    if !line.ends_with(b"\n") {
        let above = bytes.get(..range.start).unwrap_or_default();
        if above.ends_with(b"\r\n") {
            range.start -= 2;
        } else if above.ends_with(b"\n") {
            range.start -= 1;
        }
    }
    bytes.drain(range);
}

/// Overwrites the first bytes of the text of line `number`; the text is at least as long.
pub(super) fn overwrite(bytes: &mut [u8], number: u32, new: &[u8]) {
    let Some(start) = line(bytes, number).map(|line| line.text_start) else {
        return;
    };
    if let Some(old) = bytes.get_mut(start..start + new.len()) {
        old.copy_from_slice(new);
    }
}

fn line(bytes: &[u8], number: u32) -> Option<Line<'_>> {
    lines(bytes).find(|line| line.number == number)
}

fn range_of(bytes: &[u8], number: u32) -> Option<Range<usize>> {
    line(bytes, number).map(|line| line.range)
}

fn is_unfinished(bytes: &[u8]) -> bool {
    bytes.len() > byte_order_mark_len(bytes) && !bytes.ends_with(b"\n")
}

/// The line end that the last finished line has; after a stray carriage return CRLF, because LF
/// would make the two one line end.
fn line_end(bytes: &[u8]) -> &'static [u8] {
    let last = memchr::memrchr(b'\n', bytes).and_then(|newline| bytes.get(..newline));
    if last.is_some_and(|line| line.ends_with(b"\r")) || bytes.ends_with(b"\r") {
        b"\r\n"
    } else {
        b"\n"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some_lines() -> impl Strategy<Value = Vec<u8>> {
        let parts: [&[u8]; 8] = [
            b"a:1",
            b"# c",
            b" ",
            b"\n",
            b"\r\n",
            b"\r",
            b"\xff",
            b"\xef\xbb\xbf",
        ];
        proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..20)
            .prop_map(|parts| parts.concat())
    }

    fn count(bytes: &[u8]) -> u32 {
        lines(bytes).count() as u32
    }

    #[test]
    fn a_new_line_ends_as_the_last_one_does() {
        for (before, after) in [
            ("", "X\n"),
            ("a\n", "a\nX\n"),
            ("a", "a\nX"),
            ("a\r\n", "a\r\nX\r\n"),
            ("a\r\nb", "a\r\nb\r\nX"),
            ("a\r", "a\r\r\nX"),
            ("\u{feff}", "\u{feff}X\n"),
        ] {
            let mut bytes = before.as_bytes().to_vec();
            append(&mut bytes, &["X".to_owned()]);
            assert_eq!(bytes, after.as_bytes());
        }
    }

    #[test]
    fn a_line_is_inserted_below_another() {
        for (before, below, after) in [
            ("a\nb\n", 1, "a\nX\nb\n"),
            ("a\r\nb\n", 1, "a\r\nX\r\nb\n"),
            ("a\nb", 2, "a\nb\nX"),
        ] {
            let mut bytes = before.as_bytes().to_vec();
            insert_below(&mut bytes, below, "X");
            assert_eq!(bytes, after.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn lines_cover_the_file_and_are_numbered(bytes in some_lines()) {
            let mut end = byte_order_mark_len(&bytes);
            for (number, line) in (1..).zip(lines(&bytes)) {
                prop_assert_eq!((line.number, line.range.start), (number, end));
                prop_assert_eq!(&bytes[line.text_start..][..line.text.len()], line.text);
                end = line.range.end;
            }
            prop_assert_eq!(end, bytes.len());
        }

        #[test]
        fn removing_what_was_appended_gives_back_the_bytes(bytes in some_lines(), n in 1..4usize) {
            let mut edited = bytes.clone();
            append(&mut edited, &vec!["X".to_owned(); n]);
            for _ in 0..n {
                let last = count(&edited);
                prop_assert_eq!(lines(&edited).last().map(|l| l.text), Some(&b"X"[..]));
                remove(&mut edited, last);
            }
            prop_assert_eq!(edited, bytes);
        }

        #[test]
        fn removing_a_line_keeps_the_text_of_the_others(bytes in some_lines(), pick: u32) {
            let total = count(&bytes);
            if total == 0 {
                return Ok(());
            }
            let number = pick % total + 1;
            let mut edited = bytes.clone();
            remove(&mut edited, number);
            let mut kept: Vec<_> =
                lines(&bytes).filter(|l| l.number != number).map(|l| l.text).collect();
            let mut left: Vec<_> = lines(&edited).map(|l| l.text).collect();
            // An empty last line is none once its line end went with the line below.
            if number == total {
                while kept.pop_if(|text| text.is_empty()).is_some() {}
                while left.pop_if(|text| text.is_empty()).is_some() {}
            }
            // What now stands first may be read as a byte order mark.
            if byte_order_mark_len(&edited) > byte_order_mark_len(&bytes) {
                kept = left.clone();
            }
            prop_assert_eq!(left, kept);
        }

        #[test]
        fn a_line_inserted_and_removed_leaves_the_bytes(bytes in some_lines(), pick: u32) {
            let total = count(&bytes);
            if total == 0 {
                return Ok(());
            }
            let number = pick % total + 1;
            let mut edited = bytes.clone();
            insert_below(&mut edited, number, "X");
            let inserted = line(&edited, number + 1).map(|l| l.text.to_vec());
            prop_assert_eq!(inserted.as_deref(), Some(&b"X"[..]));
            remove(&mut edited, number + 1);
            prop_assert_eq!(edited, bytes);
        }
    }
}
