//! Writes the JSON objects of columns from pieces of the payload, byte for byte.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

/// A value that is put into an object.
pub(super) trait Value {
    /// Appends its JSON text.
    fn write(&self, out: &mut String);
}

/// A metric's label.
pub(super) enum Label<'a> {
    Text(&'a str),
    Integer(i64),
}

impl Value for Label<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => write_string(out, text),
            Self::Integer(number) => {
                let _ = write!(out, "{number}");
            }
        }
    }
}

/// Up to this many members are compared with each other, which takes less time than hashing them.
const COMPARED: usize = 16;

/// Appends the object of these members; of members of one name the last counts, because the SDKs append what
/// overrides.
pub(super) fn append_object<V: Value>(out: &mut String, members: &[(Cow<'_, str>, V)]) {
    let last: Option<HashMap<&str, usize>> = (members.len() > COMPARED).then(|| {
        let names = members.iter().enumerate();
        names.map(|(at, (name, _))| (name.as_ref(), at)).collect()
    });
    out.push('{');
    let start = out.len();
    for (at, (name, value)) in members.iter().enumerate() {
        let overridden = match &last {
            Some(last) => last.get(name.as_ref()) != Some(&at),
            None => members.iter().skip(at + 1).any(|(later, _)| later == name),
        };
        if overridden {
            continue;
        }
        if out.len() > start {
            out.push(',');
        }
        write_string(out, name);
        out.push(':');
        value.write(out);
    }
    out.push('}');
}

/// Appends `text` as a JSON string.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    escape(text, |piece| out.push_str(piece));
    out.push('"');
}

/// The escapes of the bytes below 0x20.
const CONTROLS: [&str; 32] = [
    "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007", "\\b",
    "\\t", "\\n", "\\u000b", "\\f", "\\r", "\\u000e", "\\u000f", "\\u0010", "\\u0011", "\\u0012",
    "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017", "\\u0018", "\\u0019", "\\u001a",
    "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f",
];

/// Gives `put` the pieces of `text` as it stands between the quotes of a JSON string (RFC 8259 section 7).
#[inline]
pub(super) fn escape<'t>(text: &'t str, mut put: impl FnMut(&'t str)) {
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            _ => match CONTROLS.get(usize::from(byte)) {
                Some(escaped) => escaped,
                None => continue,
            },
        };
        put(text.get(clean..at).unwrap_or_default());
        put(escaped);
        clean = at + 1;
    }
    put(text.get(clean..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(members: &[(&str, i64)]) -> String {
        let members: Vec<(Cow<'_, str>, Label<'_>)> = members
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), Label::Integer(*value)))
            .collect();
        let mut out = "before".to_owned();
        append_object(&mut out, &members);
        out.split_off("before".len())
    }

    #[test]
    fn of_members_of_one_name_the_last_is_kept() {
        assert_eq!(object(&[]), "{}");
        assert_eq!(object(&[("a", 1), ("b", 2), ("a", 3)]), r#"{"b":2,"a":3}"#);
        let names: Vec<String> = (0..100).map(|n| (n % 50).to_string()).collect();
        let many: Vec<(&str, i64)> = names.iter().map(String::as_str).zip(0..).collect();
        let read: HashMap<String, i64> = serde_json::from_str(&object(&many)).unwrap();
        assert_eq!(read.len(), 50);
        assert!(
            read.iter()
                .all(|(name, value)| *value == name.parse::<i64>().unwrap() + 50)
        );
        assert_eq!(object(&many).matches(':').count(), 50);
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_from_its_json_string(text: String, control in "[\\x00-\\x7f]{0,20}") {
            for text in [text, control] {
                let mut out = String::new();
                write_string(&mut out, &text);
                prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
                prop_assert!(!out.contains('\n'));
            }
        }
    }
}
