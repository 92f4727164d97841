//! Which key is meant: by name, by public id, or by the key itself.

use crate::control::keys::file::KeyEntry;
use crate::origin::KeyId;
use crate::wire::key::StreamingKey;

/// What the operator gave to point at a key. No name has the form of an id or of a key, so the three
/// cannot be mixed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySelector {
    /// Its name.
    Name(String),
    /// Its public id.
    Id(KeyId),
    /// The key itself.
    Key(StreamingKey),
}

/// Why no key is selected. Does not quote what was given: it may be a key with a typing error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No entry matches.
    #[error("no key has this name, id or value; `tell apikeys list` shows the keys there are")]
    NotFound,
    /// Two keys share the id.
    #[error("several keys have this id; give the name or the key itself")]
    Ambiguous,
}

impl KeySelector {
    /// Tells by its form what `text` is.
    pub fn parse(text: &str) -> Self {
        if let Some(key) = StreamingKey::parse_hex(text.as_bytes()) {
            Self::Key(key)
        } else if let Some(id) = KeyId::parse(text) {
            Self::Id(id)
        } else {
            Self::Name(text.to_owned())
        }
    }

    /// The one entry that is meant.
    pub fn find<'a>(&self, entries: &'a [KeyEntry]) -> Result<&'a KeyEntry, SelectError> {
        let mut matching = entries.iter().filter(|entry| self.matches(entry));
        let entry = matching.next().ok_or(SelectError::NotFound)?;
        match matching.next() {
            None => Ok(entry),
            Some(_) => Err(SelectError::Ambiguous),
        }
    }

    fn matches(&self, entry: &KeyEntry) -> bool {
        match self {
            Self::Name(name) => entry.name.as_deref() == Some(name),
            Self::Id(id) => entry.key.id() == *id,
            Self::Key(key) => entry.key == *key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Workspace;

    fn entry(byte: u8, name: Option<&str>) -> KeyEntry {
        KeyEntry {
            key: StreamingKey::from_bytes([byte; 16]),
            workspace: Workspace::new(1).unwrap(),
            name: name.map(Box::from),
            line: u32::from(byte),
        }
    }

    #[test]
    fn a_key_is_found_by_name_by_id_and_by_itself() {
        let entries = [entry(1, Some("one")), entry(2, None)];
        let two = &entries[1];
        for (text, expected) in [
            ("one", Ok(&entries[0])),
            (&*two.key.id().to_string(), Ok(two)),
            (&*two.key.reveal(), Ok(two)),
            (&*two.key.reveal().to_uppercase(), Ok(two)),
            ("two", Err(SelectError::NotFound)),
            ("", Err(SelectError::NotFound)),
        ] {
            assert_eq!(KeySelector::parse(text).find(&entries), expected, "{text}");
        }
    }

    #[test]
    fn an_id_that_two_entries_share_is_ambiguous() {
        let entries = [entry(1, None), entry(1, None)];
        let id = KeySelector::Id(entries[0].key.id());
        assert_eq!(id.find(&entries), Err(SelectError::Ambiguous));
    }
}
