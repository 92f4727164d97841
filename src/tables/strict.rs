//! The values inside the JSON objects of columns, such that every reader reads the same (RFC 7493).
//!
//! A value is written as it came, byte for byte, but for two things that senders may write and readers refuse or
//! read differently:
//!
//! - Of members of one name the last counts, as it does at the top of a line.
//! - A number beyond what a double holds (`1e999`) becomes the string of its digits.
//!
//! Lone surrogates are gone before ([`crate::wire::surrogates`]). Integers of more digits than a double keeps stay:
//! every reader takes them, and some keep all digits.

use serde_json::value::RawValue;

use super::object::{Value, append_object};
use crate::wire::json::{self, Member};

/// As it came: numbers keep their digits, strings their escapes.
impl Value for &RawValue {
    fn write(&self, out: &mut String) {
        write_value(out, self);
    }
}

/// Appends a value.
fn write_value(out: &mut String, value: &RawValue) {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') if !json::is_strict(value) => {
            let mut members: Vec<Member<'_>> = Vec::new();
            match json::members(text.as_bytes(), &mut members) {
                Ok(()) => append_object(out, &members),
                Err(_) => out.push_str(text),
            }
        }
        Some(b'[') if !json::is_strict(value) => {
            out.push('[');
            let start = out.len();
            let written = json::elements(text, |element| {
                if out.len() > start {
                    out.push(',');
                }
                write_value(out, element);
            });
            debug_assert!(written.is_ok(), "a raw value is valid");
            out.push(']');
        }
        Some(b'-' | b'0'..=b'9') if is_beyond_double(text) => {
            out.push('"');
            out.push_str(text);
            out.push('"');
        }
        _ => out.push_str(text),
    }
}

/// The largest double has 309 digits.
const DOUBLE_DIGITS: usize = 309;

fn is_beyond_double(number: &str) -> bool {
    (number.len() >= DOUBLE_DIGITS || number.contains(['e', 'E']))
        && number.parse::<f64>().is_ok_and(f64::is_infinite)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let value = RawValue::from_string(text.to_owned()).unwrap();
        let mut out = String::new();
        write_value(&mut out, &value);
        out
    }

    #[test]
    fn what_every_reader_reads_alike_is_written_as_it_came() {
        for text in [
            r#"{"a" : [1.50, -0, 1E5], "b": {"a":"\u0041"}}"#,
            "12345678901234567890123",
            "1e-999",
            "[]",
            "null",
            r#""1e999""#,
        ] {
            assert_eq!(written(text), text);
        }
    }

    #[test]
    fn of_members_of_one_name_the_last_is_written_at_any_depth() {
        for (text, expected) in [
            (r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"b":2,"a":3}"#),
            (
                r#"[{"a":{"b":1,"b":{"c":1,"c":2}}}]"#,
                r#"[{"a":{"b":{"c":2}}}]"#,
            ),
        ] {
            assert_eq!(written(text), expected);
        }
        let deep = |inner: &str| format!("{}{inner}{}", "[".repeat(63), "]".repeat(63));
        assert_eq!(written(&deep(r#"{"a":1,"a":2}"#)), deep(r#"{"a":2}"#));
    }

    #[test]
    fn a_number_beyond_a_double_is_written_as_its_text() {
        let long = "9".repeat(400);
        for (text, expected) in [
            ("1e999", r#""1e999""#),
            ("-1E400", r#""-1E400""#),
            (&long, &format!("\"{long}\"")),
            (r#"{"a":[1e999,1]}"#, r#"{"a":["1e999",1]}"#),
        ] {
            assert_eq!(written(text), expected);
        }
    }
}
