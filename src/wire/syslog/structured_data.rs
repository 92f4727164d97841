//! The grammar of STRUCTURED-DATA (RFC 5424, section 6.3), one step at a time and without copying.
//!
//! Looser than the RFC where that cannot change what is meant: names of any length and characters, and any
//! number of blanks between the parts of an element. A key must be found wherever a reader would see one.
//! Stricter in one point: a name holds no `[`, so that looking for the next element behind a malformed one, again
//! and again, stays linear in the length of a message.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// Reads elements and their parameters off a message.
#[derive(Clone)]
pub struct Cursor<'m> {
    message: &'m [u8],
    at: usize,
}

/// One `name="value"`.
#[derive(Clone, Copy)]
pub struct Param<'m> {
    /// PARAM-NAME.
    pub name: &'m [u8],
    /// PARAM-VALUE as it was sent, with its escapes.
    pub value: &'m [u8],
    /// Where the parameter starts in the message.
    pub start: usize,
    /// The byte after its closing quote.
    pub end: usize,
}

/// What comes next inside an element.
pub enum Step<'m> {
    /// A parameter.
    Param(Param<'m>),
    /// A parameter whose value never ends.
    Unterminated {
        /// PARAM-NAME.
        name: &'m [u8],
    },
    /// The closing bracket, which is consumed.
    End,
    /// Anything else.
    Malformed,
}

impl<'m> Cursor<'m> {
    /// A cursor at byte `at` of a message.
    pub const fn new(message: &'m [u8], at: usize) -> Self {
        Self { message, at }
    }

    /// The position in the message.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// The next byte.
    pub fn peek(&self) -> Option<u8> {
        self.message.get(self.at).copied()
    }

    /// Enters the element that starts here and returns its SD-ID, empty where it has none.
    pub fn enter(&mut self) -> Option<&'m [u8]> {
        self.eat(b'[').then(|| self.name())
    }

    /// The next part of the element that was entered.
    pub fn step(&mut self) -> Step<'m> {
        self.skip_blanks();
        if self.eat(b']') {
            return Step::End;
        }
        let start = self.at;
        let name = self.name();
        self.skip_blanks();
        let equals = self.eat(b'=');
        self.skip_blanks();
        if name.is_empty() || !equals || !self.eat(b'"') {
            return Step::Malformed;
        }
        let value_start = self.at;
        let Some(quote) = closing_quote(self.message, value_start) else {
            self.at = self.message.len();
            return Step::Unterminated { name };
        };
        self.at = quote + 1;
        Step::Param(Param {
            name,
            value: &self.message[value_start..quote],
            start,
            end: self.at,
        })
    }

    /// After a malformed element: goes to the next opening bracket at or after `from`, or to the end.
    pub fn seek_element(&mut self, from: usize) {
        let rest = self.message.get(from..).unwrap_or_default();
        self.at = from + memchr(b'[', rest).unwrap_or(rest.len());
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Goes over spaces and tabs.
    pub fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn name(&mut self) -> &'m [u8] {
        let rest = self.message.get(self.at..).unwrap_or_default();
        let len = rest
            .iter()
            .position(|b| matches!(b, b' ' | b'\t' | b'=' | b']' | b'"' | b'['))
            .unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }
}

fn closing_quote(message: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr2(b'"', b'\\', message.get(at..)?)?;
        if message[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// A PARAM-VALUE without its escapes: only `\"`, `\\` and `\]` are any (section 6.3.3), other backslashes stay.
pub fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = match (character, characters.peek()) {
            ('\\', Some(&next @ ('"' | '\\' | ']'))) => Some(next),
            _ => None,
        };
        if escaped.is_some() {
            characters.next();
        }
        text.push(escaped.unwrap_or(character));
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elements as `id: name=value …`, and where they end; `!` for what is malformed.
    fn read(text: &str) -> (Vec<String>, usize) {
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let mut elements = Vec::new();
        loop {
            let start = cursor.at();
            let Some(id) = cursor.enter() else { break };
            let mut shown = format!("{}:", text_of(id));
            let ended = loop {
                match cursor.step() {
                    Step::Param(param) => {
                        shown += &format!(" {}={}", text_of(param.name), text_of(param.value));
                    }
                    Step::End => break true,
                    Step::Unterminated { .. } | Step::Malformed => break false,
                }
            };
            elements.push(if ended { shown } else { shown + "!" });
            if !ended {
                cursor.seek_element(start + 1);
            }
        }
        (elements, cursor.at())
    }

    #[test]
    fn elements_and_parameters_are_read_with_their_escapes() {
        assert_eq!(
            read(r#"[a@1 x="1" y="\"]\\"][b] message"#),
            (vec![r#"a@1: x=1 y=\"]\\"#.to_owned(), "b:".to_owned()], 24)
        );
    }

    #[test]
    fn blanks_between_the_parts_do_not_matter() {
        assert_eq!(read("[a  x = \"1\"\ty=\"2\" ]").0, ["a: x=1 y=2"]);
    }

    #[test]
    fn reading_goes_on_behind_a_malformed_element() {
        assert_eq!(read(r#"[a b][c x="1"]"#).0, ["a:!", "c: x=1"]);
        assert_eq!(read(r#"[a b="1][c x="2"]"#).0, ["a: b=1][c x=!", "c: x=2"]);
        assert_eq!(read(r#"[a b="1][c x="#).0, ["a:!", "c:!"]);
    }

    #[test]
    fn a_name_ends_before_a_bracket() {
        assert_eq!(read("[a[b").0, ["a:!", "b:!"]);
    }

    #[test]
    fn only_the_three_escapes_of_the_rfc_are_escapes() {
        assert_eq!(unescape(r#"C:\new \"a\" \\ \] \"#), r#"C:\new "a" \ ] \"#);
    }
}
