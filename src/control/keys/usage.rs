//! What is remembered of each key across restarts: `key-usage.jsonl` in the data directory, one JSON
//! object a line, by the public id of the key and never the key.
//!
//! Only the server writes this file, whole, at most once a minute and when it stops; the CLI reads it.
//! `created_at` here is when the server first saw the key. A key that the CLI created has its exact
//! time in the audit log ([`key_creations`](crate::control::audit::key_creations)), which goes before this one: so the CLI
//! never writes here, and there is nothing to race for.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::control::timestamp::Timestamp;
use crate::files::{Place, create_private_dir, read, replace};
use crate::origin::{KeyId, Source};

const FILE_NAME: &str = "key-usage.jsonl";

/// Several times what a line has.
const LINE_BYTES_MAX: u64 = 1 << 12;

/// What is remembered of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyUsage {
    /// When the server first saw the key.
    pub created_at: Option<Timestamp>,
    /// When something was last accepted with it.
    pub last_used_at: Option<Timestamp>,
    /// The kind of listener it came through then.
    #[serde(with = "source_text")]
    pub last_source: Option<Source>,
    /// The sender then.
    pub last_peer: Option<IpAddr>,
    /// Accepted frames, requests and syslog messages.
    pub frames: u64,
    /// Accepted records.
    pub events: u64,
    /// Accepted payload bytes.
    pub bytes: u64,
    /// Frames and requests that were refused although the key was valid (limits, bad payloads).
    pub refused: u64,
    /// U+FFFD in the place of what was no Unicode, in JSON lines and syslog.
    pub replaced: u64,
}

/// What a usage file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By key.
    pub keys: HashMap<KeyId, KeyUsage>,
    /// Lines that cannot be read. They are left out; the next save drops them.
    pub damaged_lines: u64,
}

#[derive(Serialize)]
struct LineOut<'a> {
    key_id: String,
    #[serde(flatten)]
    usage: &'a KeyUsage,
}

#[derive(Deserialize)]
struct LineKey<'a> {
    key_id: &'a str,
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE_NAME)
}

/// Reads the usage file of a data directory; a missing one is empty.
pub fn load(data_dir: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let file = match Place::of(&path_in(data_dir)).and_then(|place| place.open()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(usage),
        opened => opened?,
    };
    read::each_line(file, LINE_BYTES_MAX, |line| match parse_line(line) {
        Some((id, of_key)) => {
            usage.keys.insert(id, of_key);
        }
        None => usage.damaged_lines += 1,
    })?;
    Ok(usage)
}

/// Replaces the usage file of a data directory, durably.
pub fn save<'a>(
    data_dir: &Path,
    keys: impl IntoIterator<Item = (KeyId, &'a KeyUsage)>,
) -> io::Result<()> {
    create_private_dir(data_dir)?;
    replace(&path_in(data_dir), |out| {
        for (id, usage) in keys {
            let key_id = id.to_string();
            serde_json::to_writer(&mut *out, &LineOut { key_id, usage })?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// Two passes, because serde cannot flatten without buffering every field.
fn parse_line(line: &[u8]) -> Option<(KeyId, KeyUsage)> {
    let key: LineKey<'_> = serde_json::from_slice(line).ok()?;
    let usage = serde_json::from_slice(line).ok()?;
    Some((KeyId::parse(key.key_id)?, usage))
}

/// A source as [`Source::as_str`] shows it; one that this version does not know reads as none.
mod source_text {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::origin::Source;

    const ALL: [Source; 4] = [
        Source::Tcp,
        Source::Http,
        Source::SyslogTcp,
        Source::SyslogUdp,
    ];

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        source: &Option<Source>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        source.map(Source::as_str).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Source>, D::Error> {
        let text = Option::<Cow<'_, str>>::deserialize(deserializer)?;
        Ok(text.and_then(|text| ALL.into_iter().find(|source| source.as_str() == text)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn used() -> KeyUsage {
        KeyUsage {
            created_at: Some(Timestamp::from_ms(1)),
            last_used_at: Some(Timestamp::from_ms(2_000_000)),
            last_source: Some(Source::SyslogUdp),
            last_peer: Some("2001:db8::1".parse().unwrap()),
            frames: 3,
            events: u64::MAX,
            bytes: 5,
            refused: 6,
            replaced: 7,
        }
    }

    #[test]
    fn usage_is_saved_and_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let (one, two) = (used(), KeyUsage::default());
        save(&data_dir, [(KeyId(1), &one), (KeyId(2), &two)]).unwrap();
        let usage = load(&data_dir).unwrap();
        assert_eq!(
            usage.keys,
            HashMap::from([(KeyId(1), one), (KeyId(2), two)])
        );
        assert_eq!(usage.damaged_lines, 0);
        save(&data_dir, [(KeyId(2), &one)]).unwrap();
        assert_eq!(
            load(&data_dir).unwrap().keys,
            HashMap::from([(KeyId(2), one)])
        );
    }

    #[test]
    fn a_missing_file_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), Usage::default());
    }

    #[test]
    fn damaged_lines_are_skipped_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), [(KeyId(1), &used())]).unwrap();
        let mut bytes = b"\0\0\n{\"key_id\":\"k-1\"}\n\n".to_vec();
        bytes.extend(fs::read(path_in(dir.path())).unwrap());
        bytes.extend(b"{\"key_id\":\"k-0000000000000002\",\"last_source\":\"pigeon\",\"new\":1}\n");
        bytes.extend(b"{\"key_id\":\"k-00000000");
        fs::write(path_in(dir.path()), bytes).unwrap();
        let usage = load(dir.path()).unwrap();
        assert_eq!(usage.damaged_lines, 4);
        let expected = [(KeyId(1), used()), (KeyId(2), KeyUsage::default())];
        assert_eq!(usage.keys, HashMap::from(expected));
    }
}
