//! Tables on a terminal: aligned columns that are shortened, never wrapped, where they do not fit.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::output::{HEADING, styled};

/// What is between two columns.
const GAP: usize = 2;

/// What stands for what was cut.
const ELLIPSIS: char = '…';

/// A column of text is not made narrower than this.
const NARROWEST: usize = 6;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    heading: &'static str,
    is_number: bool,
}

/// A column of text, which may be shortened.
pub(super) const fn text(heading: &'static str) -> Column {
    Column {
        heading,
        is_number: false,
    }
}

/// A column of numbers, which stand at the right and are never shortened: a part of a number is another one.
pub(super) const fn number(heading: &'static str) -> Column {
    Column {
        heading,
        is_number: true,
    }
}

/// A table in memory.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    columns: [Column; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(super) const fn new(columns: [Column; N]) -> Self {
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Whether it has no row.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes headings and rows, in lines of at most `width` columns.
    pub(super) fn write(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let mut widths = self.columns.map(|column| column.heading.width());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        if let Some(width) = width {
            self.narrow(&mut widths, width);
        }
        let headings = self.columns.map(|column| column.heading.to_owned());
        let line = self.line(&headings, &widths, width);
        writeln!(out, "{}", styled(HEADING, &line))?;
        for row in &self.rows {
            writeln!(out, "{}", self.line(row, &widths, width))?;
        }
        Ok(())
    }

    /// Takes from the widest column of text until all fit, as far as that goes.
    fn narrow(&self, widths: &mut [usize; N], width: usize) {
        loop {
            let total: usize = widths.iter().sum::<usize>() + GAP * N.saturating_sub(1);
            let over = total.saturating_sub(width);
            let widest = (self.columns.iter().zip(widths.iter_mut()))
                .filter(|(column, width)| !column.is_number && **width > NARROWEST)
                .map(|(_, width)| width)
                .max();
            match widest {
                Some(widest) if over > 0 => *widest -= 1,
                _ => return,
            }
        }
    }

    fn line(&self, cells: &[String; N], widths: &[usize; N], width: Option<usize>) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in self.columns.iter().zip(cells.iter().zip(widths)) {
            let cell = shortened(cell, *width);
            let padding = " ".repeat(width - cell.width().min(*width));
            if column.is_number {
                line += &padding;
                line += &cell;
            } else {
                line += &cell;
                line += &padding;
            }
            line += &" ".repeat(GAP);
        }
        let line = line.trim_end();
        width.map_or_else(|| line.to_owned(), |width| shortened(line, width))
    }
}

/// The text in at most so many columns, with an ellipsis where something is cut.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        out.push(c);
    }
    out.push(ELLIPSIS);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(table: &Table<3>, width: Option<usize>) -> Vec<String> {
        let mut out = Vec::new();
        table.write(&mut out, width).unwrap();
        let text = anstream::adapter::strip_bytes(&out).into_vec();
        let text = String::from_utf8(text).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    fn table() -> Table<3> {
        let mut table = Table::new([text("NAME"), number("EVENTS"), text("WHERE")]);
        table.row(["größe".into(), "1,234,567".into(), "here".into()]);
        table.row([
            "日本語の長い名前です".into(),
            "8".into(),
            "somewhere else entirely".into(),
        ]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            lines(&table(), None),
            [
                "NAME                     EVENTS  WHERE",
                "größe                 1,234,567  here",
                "日本語の長い名前です          8  somewhere else entirely",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_shortens_text_and_keeps_numbers_whole() {
        for width in [80, 54, 40, 30, 22] {
            for line in lines(&table(), Some(width)) {
                assert!(line.width() <= width, "{width}: {line:?}");
            }
        }
        let narrow = lines(&table(), Some(36));
        assert!(narrow[1].contains("1,234,567"), "{narrow:?}");
        assert!(narrow[2].contains('…'), "{narrow:?}");
    }
}
