//! What commands print, and how: JSON or text, colours, the width of the terminal, and a reader that leaves.
//!
//! Who closes the pipe (`tell export | head`) has what it wants: that is no failure of the command. Everything
//! else that keeps output from being written is.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use super::error::Error;

/// Widths that a terminal may have; others are no terminal's.
const WIDTHS: std::ops::RangeInclusive<usize> = 20..=10_000;

/// The width of a terminal that does not tell its own.
const USUAL_WIDTH: usize = 80;

/// Where headings stand out.
pub(super) const HEADING: Style = Style::new().bold();
/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What is to be looked at.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What is wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// How the command was asked to print.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Output {
    /// Documents for programs instead of text for people.
    pub(super) json: bool,
}

impl Output {
    /// Prints one of the two.
    pub(super) fn show(
        self,
        document: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        if self.json {
            return print(|out| write_json(out, document));
        }
        print(text)
    }

    /// Says something beside the result, on standard error.
    pub(super) fn note(self, text: &str) {
        let mut err = io::stderr().lock();
        // Nowhere is left to report that standard error cannot be written.
        let _ = match self.json {
            true => write_json(&mut err, &serde_json::json!({ "note": text })),
            false => text
                .lines()
                .try_for_each(|line| writeln!(err, "note: {line}")),
        };
    }
}

/// Prints to standard output, with colours where they are wanted.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let mut out = BufWriter::new(anstream::stdout().lock());
    let written = write(&mut out).and_then(|()| out.flush());
    // What could not be written once is not tried again.
    drop(out.into_parts());
    written_or_left(written)
}

/// Nothing is wrong with a reader that has enough.
pub(super) fn written_or_left(written: io::Result<()>) -> Result<(), Error> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}

/// Writes a JSON document and a newline.
pub(super) fn write_json(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, document)?;
    out.write_all(b"\n")
}

/// Columns of standard output, where that is a terminal.
pub(super) fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let told = rustix::termios::tcgetwinsize(&stdout).map(|size| usize::from(size.ws_col));
    let usable = |width: &usize| WIDTHS.contains(width);
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = told
        .ok()
        .filter(usable)
        .or_else(|| columns().filter(usable));
    Some(width.unwrap_or(USUAL_WIDTH))
}

/// The text in a style; whether that is shown is decided where it is printed.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}
