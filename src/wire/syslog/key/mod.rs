//! Finds the streaming key in one syslog message, and what of the message is kept without it.
//!
//! Syslog has no place for a key, so senders put it where their configuration lets them. Explicit forms, which
//! can be nothing else and must be good:
//!
//! - (a) a prefix, `<32 hex> ` before `<PRI>`;
//! - (b) a parameter, `[tell@<digits> key="<32 hex>"]` in the structured data of RFC 5424;
//! - (c) an SD-ID, `[<32 hex>@<digits> …]`, as hosted log services have it.
//!
//! And one that is tentative, because a checksum looks the same: (d) 32 hex digits and a space at the start of
//! the text, or of CONTENT before or after the tag of RFC 3164. Only a keyring can tell: see
//! [`Extracted::resolve`].
//!
//! What is kept has no key that the keyring knows: that of the message is cut out, others are masked wherever
//! they stand (`mask.rs`). Whether a key is known, and what a connection remembers, is the caller's.

use std::fmt;
use std::ops::Range;

use super::cut::{Cut, Cuts, Kept, KeyError, Put};
use super::header::{BOM, Header, Layout, Rfc3164};
use super::structured_data::{Cursor, Step};
use crate::wire::key::{KEY_HEX_LEN, StreamingKey};

/// What one message says about its key. Its `Debug` shows neither message nor key.
pub struct Extracted<'m> {
    message: &'m [u8],
    explicit: Option<StreamingKey>,
    tentative: Option<(StreamingKey, Cut)>,
    cuts: Cuts,
}

/// Finds the key of a message. Costs one look at its header where there is none.
pub fn extract(message: &[u8]) -> Result<Extracted<'_>, KeyError> {
    let mut found = Extracted {
        message,
        explicit: None,
        tentative: None,
        cuts: Cuts::default(),
    };
    let start = found.cut_prefix()?;
    let header = Header::locate(&message[start..]);
    match header.layout {
        Layout::Rfc5424 { structured_data } => {
            if let Some(end) = found.cut_structured_data(start + structured_data)? {
                found.look_at_text(end);
            }
        }
        Layout::Rfc3164(Rfc3164 {
            host, tag, content, ..
        }) => {
            // Without a colon the key reads as a tag, and without a host as that; machine ids are hosts too.
            let starts_at = |part: Option<Range<usize>>| part.map(|part| start + part.start);
            let _ = starts_at(tag).is_some_and(|tag| found.look_at(tag))
                || found.look_at_text(start + content)
                || starts_at(host).is_some_and(|host| found.look_at(host));
        }
        Layout::Text => {
            found.look_at_text(start + header.start);
        }
    }
    Ok(found)
}

impl<'m> Extracted<'m> {
    /// The key of an explicit form.
    pub const fn explicit(&self) -> Option<StreamingKey> {
        self.explicit
    }

    /// What may be a key at the start of the text.
    pub fn tentative(&self) -> Option<StreamingKey> {
        self.tentative.as_ref().map(|(key, _)| *key)
    }

    /// Asks the keyring, and returns what it has for the key, `None` where the message has no key.
    ///
    /// A word at the start of the text that the keyring does not know is text and is kept.
    pub fn resolve<E>(
        self,
        mut known: impl FnMut(&StreamingKey) -> Option<E>,
    ) -> Result<(Option<E>, Kept<'m>), KeyError> {
        let Self {
            message,
            explicit,
            tentative,
            mut cuts,
        } = self;
        let mut entry = match explicit {
            Some(key) => Some(known(&key).ok_or(KeyError::Unknown)?),
            None => None,
        };
        if let Some((word, cut)) = tentative {
            if explicit == Some(word) {
                cuts.push(cut)?;
            } else if let Some(found) = known(&word) {
                if explicit.is_some() {
                    return Err(KeyError::Conflicting);
                }
                entry = Some(found);
                cuts.push(cut)?;
            }
        }
        Ok((entry, Kept { message, cuts }))
    }

    /// Form (a), as often as it is there; returns where the message proper starts.
    fn cut_prefix(&mut self) -> Result<usize, KeyError> {
        let mut start = 0;
        let mut first = None;
        let mut agree = true;
        while let Some((key, end)) = key_word(self.message, start) {
            agree &= *first.get_or_insert(key) == key;
            start = end;
        }
        let proper = self.message.get(start..).unwrap_or_default();
        let Some(key) = first.filter(|_| proper.starts_with(b"<") || proper.starts_with(BOM))
        else {
            return Ok(0);
        };
        if !agree {
            return Err(KeyError::Conflicting);
        }
        self.agree(key)?;
        self.cuts.push(Cut::remove(0..start))?;
        Ok(start)
    }

    /// Forms (b) and (c); returns where STRUCTURED-DATA ends, `None` where it is malformed.
    ///
    /// Of malformed structured data all is still cut that a lenient reader would take for a key.
    fn cut_structured_data(&mut self, start: usize) -> Result<Option<usize>, KeyError> {
        let mut cursor = Cursor::new(self.message, start);
        match cursor.peek() {
            Some(b'[') => {}
            Some(b'-') if matches!(self.message.get(start + 1), None | Some(b' ')) => {
                return Ok(Some(start + 1));
            }
            // No structured data where it is required: all is text.
            _ => return Ok(Some(start)),
        }
        let cuts_before = self.cuts.len();
        let (mut well_formed, mut all_cut) = (true, true);
        while cursor.peek() == Some(b'[') {
            match self.cut_element(&mut cursor)? {
                Element::Cut => {}
                Element::Kept => all_cut = false,
                Element::Malformed { start } => {
                    // Where quotes are wrong, the next element may seem to be inside a value of this one.
                    well_formed = false;
                    let cut_up_to = self.cuts.as_slice().last().map_or(0, |cut| cut.range.end);
                    cursor.seek_element(cut_up_to.max(start + 1));
                }
            }
            if !well_formed {
                // Where structured data ends is not known: all of the message is looked through.
                cursor.seek_element(cursor.at());
            }
        }
        if !well_formed {
            return Ok(None);
        }
        let end = cursor.at();
        if all_cut {
            self.cuts.truncate(cuts_before);
            self.cuts.push(Cut {
                range: start..end,
                put: Put::NilValue,
            })?;
        }
        Ok(Some(end))
    }

    fn cut_element(&mut self, cursor: &mut Cursor<'m>) -> Result<Element, KeyError> {
        let start = cursor.at();
        let cuts_before = self.cuts.len();
        let id = cursor.enter().unwrap_or_default();
        let carries = match carries_key(id) {
            Some(Carries::Parameter) => true,
            Some(Carries::Id(key)) => {
                self.agree(key)?;
                let hex = start + 1..start + 1 + KEY_HEX_LEN;
                // The parameters stay, under the name that form (b) has.
                self.cuts.push(Cut {
                    range: hex,
                    put: Put::Tell,
                })?;
                true
            }
            None => false,
        };
        let mut kept = 0;
        loop {
            let before = cursor.at();
            match cursor.step() {
                Step::Param(param) if carries && param.name == b"key" => {
                    let key = StreamingKey::parse_hex(param.value).ok_or(KeyError::Malformed)?;
                    self.agree(key)?;
                    let mut after = cursor.clone();
                    after.skip_blanks();
                    // The blanks on one side of it go with a parameter.
                    self.cuts.push(Cut::remove(match after.peek() {
                        Some(b']') | None => before..param.end,
                        Some(_) => param.start..after.at(),
                    }))?;
                }
                Step::Param(_) => kept += 1,
                Step::Unterminated { name } if carries && name == b"key" => {
                    return Err(KeyError::Malformed);
                }
                // What is broken may be the key: `key=…` without its quotes.
                Step::Malformed if carries && self.cuts.len() == cuts_before => {
                    return Err(KeyError::Malformed);
                }
                Step::Unterminated { .. } | Step::Malformed => {
                    return Ok(Element::Malformed { start });
                }
                Step::End => break,
            }
        }
        if self.cuts.len() == cuts_before || kept > 0 {
            return Ok(Element::Kept);
        }
        self.cuts.truncate(cuts_before);
        self.cuts.push(Cut::remove(start..cursor.at()))?;
        Ok(Element::Cut)
    }

    /// Form (d) at the start of a text.
    fn look_at_text(&mut self, at: usize) -> bool {
        let text = self.message.get(at..).unwrap_or_default();
        let space = usize::from(text.starts_with(b" "));
        let bom = if text[space..].starts_with(BOM) {
            BOM.len()
        } else {
            0
        };
        self.look_at(at + space + bom)
    }

    fn look_at(&mut self, at: usize) -> bool {
        let Some((key, mut end)) = key_word(self.message, at) else {
            return false;
        };
        while let Some((_, next)) = key_word(self.message, end).filter(|(next, _)| *next == key) {
            end = next;
        }
        self.tentative = Some((key, Cut::remove(at..end)));
        true
    }

    fn agree(&mut self, key: StreamingKey) -> Result<(), KeyError> {
        match self.explicit {
            Some(first) if first != key => Err(KeyError::Conflicting),
            _ => {
                self.explicit = Some(key);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Extracted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extracted")
            .field("explicit", &self.explicit)
            .field("tentative", &self.tentative())
            .finish_non_exhaustive()
    }
}

enum Element {
    Cut,
    Kept,
    Malformed { start: usize },
}

/// Where an element has its key, told by its SD-ID.
enum Carries {
    Parameter,
    Id(StreamingKey),
}

fn carries_key(id: &[u8]) -> Option<Carries> {
    let at = id.iter().rposition(|&b| b == b'@')?;
    let (name, number) = (&id[..at], &id[at + 1..]);
    if number.is_empty() || !number.iter().all(|b| b.is_ascii_digit() || *b == b'.') {
        return None;
    }
    match name {
        b"tell" => Some(Carries::Parameter),
        _ => StreamingKey::parse_hex(name).map(Carries::Id),
    }
}

/// 32 hex digits and then spaces or the end of the message; also where that ends.
fn key_word(message: &[u8], at: usize) -> Option<(StreamingKey, usize)> {
    let (hex, rest) = message.get(at..)?.split_at_checked(KEY_HEX_LEN)?;
    if !matches!(rest.first(), None | Some(b' ')) {
        return None;
    }
    let key = StreamingKey::parse_hex(hex)?;
    let spaces = rest.iter().take_while(|&&b| b == b' ').count();
    Some((key, at + KEY_HEX_LEN + spaces))
}

#[cfg(test)]
mod tests;
