//! JSON as it comes from senders: one object at a time, bounded in depth, read without copying.
//!
//! The JSON engine is called in this file alone. What the members mean is left to the callers.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deep objects and arrays may nest. Readers downstream commonly stop at 128 and the tables add
/// a level of their own; senders' data is rarely deeper than 10.
pub const MAX_DEPTH: usize = 64;

/// Why text is not one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("expected UTF-8 text")]
    NotUtf8,
    /// Something else than an object, or nothing.
    #[error("expected a JSON object, found {0}")]
    NotAnObject(&'static str),
    /// Deeper than [`MAX_DEPTH`].
    #[error("expected at most {MAX_DEPTH} levels of nesting")]
    TooDeep,
    /// Not JSON.
    #[error("not valid JSON at column {column}: {fault}")]
    Syntax {
        /// 1-based, in bytes.
        column: usize,
        /// What is wrong there.
        fault: String,
    },
}

/// One member of an object: its name without escapes, and the text of its value.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// Looks at `text` without parsing it: is it UTF-8, can it be an object, is it shallow enough?
pub fn object(text: &[u8]) -> Result<&str, JsonError> {
    let text = str::from_utf8(text).map_err(|_| JsonError::NotUtf8)?;
    let text = trim(text);
    match text.as_bytes().first() {
        Some(b'{') => {}
        Some(b'[') => return Err(JsonError::NotAnObject("an array")),
        Some(b'"') => return Err(JsonError::NotAnObject("a string")),
        Some(b'-' | b'0'..=b'9') => return Err(JsonError::NotAnObject("a number")),
        Some(_) => return Err(JsonError::NotAnObject("something else")),
        None => return Err(JsonError::NotAnObject("nothing")),
    }
    if is_deeper_than(text.as_bytes(), MAX_DEPTH) {
        return Err(JsonError::TooDeep);
    }
    Ok(text)
}

/// Without the white space of JSON around it.
fn trim(text: &str) -> &str {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = text.bytes().position(|byte| is_text(&byte));
    let end = text.bytes().rposition(|byte| is_text(&byte));
    match (start, end) {
        (Some(start), Some(end)) => text.get(start..=end).unwrap_or_default(),
        _ => "",
    }
}

/// Parses the whole of `text` with `seed`.
///
/// The engine skips what the seed ignores without recursion, so depth costs no stack.
#[inline]
pub fn parse<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, JsonError> {
    let mut engine = serde_json::Deserializer::from_str(text);
    seed.deserialize(&mut engine)
        .and_then(|value| engine.end().map(|()| value))
        .map_err(|error| syntax(&error))
}

#[cold]
fn syntax(error: &serde_json::Error) -> JsonError {
    let mut fault = error.to_string();
    if let Some(position) = fault.rfind(" at line ") {
        fault.truncate(position);
    }
    JsonError::Syntax {
        column: error.column(),
        fault,
    }
}

/// Appends the members of the object in `text`, in order, to `members`.
pub fn members<'a>(text: &'a [u8], members: &mut Vec<Member<'a>>) -> Result<(), JsonError> {
    parse(object(text)?, Members(members))
}

/// Gives `each` the elements of the array in `text`, in order. It got those in front of an error too.
pub fn elements<'a>(text: &'a str, each: impl FnMut(&'a RawValue)) -> Result<(), JsonError> {
    parse(trim(text), Elements(each))
}

/// Whether the whole of `text` is one JSON value.
pub fn is_value(text: &str) -> bool {
    parse(text, PhantomData::<IgnoredAny>).is_ok()
}

/// Whether every reader reads the same in a value: no object in it has two members of one name, and no number is
/// beyond what a double holds (RFC 7493, sections 2.2 and 2.3).
pub fn is_strict(value: &RawValue) -> bool {
    parse(value.get(), Strict).is_ok()
}

/// What a value is, with its content where a column could hold it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// An integer from 0 to 2^64-1.
    Unsigned(u64),
    /// An integer from -2^63 to -1.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// Text, copied only if it has escapes.
    Text(Cow<'a, str>),
    /// An array.
    Array,
    /// An object.
    Object,
    /// A number beyond what a double holds.
    BeyondDouble,
}

/// What the value of a member is. Of valid JSON the engine cannot read numbers beyond a double, and lone
/// surrogates, which [`super::surrogates`] replaces before.
pub fn scalar(value: &RawValue) -> Scalar<'_> {
    parse(value.get(), ReadScalar).unwrap_or(Scalar::BeyondDouble)
}

/// Seed of a [`Scalar`].
#[derive(Clone, Copy, Debug)]
pub struct ReadScalar;

impl<'de> DeserializeSeed<'de> for ReadScalar {
    type Value = Scalar<'de>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, engine: D) -> Result<Self::Value, D::Error> {
        engine.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadScalar {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).map_or(Scalar::Negative(value), Scalar::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Object)
    }
}

/// Seed of a member's name, copied only if it has escapes.
#[derive(Clone, Copy, Debug)]
pub struct ReadName;

impl<'de> DeserializeSeed<'de> for ReadName {
    type Value = Cow<'de, str>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, engine: D) -> Result<Self::Value, D::Error> {
        engine.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for ReadName {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    #[inline]
    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Seed that appends all members of an object to a list.
struct Members<'m, 'a>(&'m mut Vec<Member<'a>>);

impl<'de> DeserializeSeed<'de> for Members<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, engine: D) -> Result<(), D::Error> {
        engine.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(ReadName)? {
            self.0.push((name, map.next_value()?));
        }
        Ok(())
    }
}

/// Seed that gives the elements of an array to a function.
struct Elements<F>(F);

impl<'de, F: FnMut(&'de RawValue)> DeserializeSeed<'de> for Elements<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, engine: D) -> Result<(), D::Error> {
        engine.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element()? {
            (self.0)(element);
        }
        Ok(())
    }
}

/// Seed that fails for what [`is_strict`] finds.
#[derive(Clone, Copy)]
struct Strict;

/// Up to this many names are compared with each other, which takes less time than hashing them.
const COMPARED_NAMES: usize = 16;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, engine: D) -> Result<(), D::Error> {
        engine.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names: Vec<Cow<'de, str>> = Vec::new();
        let mut many = HashSet::new();
        while let Some(name) = map.next_key_seed(ReadName)? {
            let is_new = if names.len() < COMPARED_NAMES {
                let is_new = !names.contains(&name);
                names.push(name);
                is_new
            } else {
                !names.contains(&name) && many.insert(name)
            };
            if !is_new {
                return Err(serde::de::Error::custom("a name twice"));
            }
            map.next_value_seed(Self)?;
        }
        Ok(())
    }
}

/// Whether brackets outside strings nest deeper than `limit`. The text need not be valid.
fn is_deeper_than(text: &[u8], limit: usize) -> bool {
    // Few openers anywhere, also inside strings, settle almost every text without looking at each byte.
    if memchr::memchr2_iter(b'{', b'[', text).nth(limit).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests;
