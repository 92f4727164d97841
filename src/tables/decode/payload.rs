//! The JSON object that a sender's data is, sorted into columns and what is left.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::tables::object::write_object;
use crate::wire::json::{self, JsonError, Member, Scalar};
use crate::wire::json_lines::id_text;

/// Buffers reused for all entries of a record.
#[derive(Default)]
pub(super) struct Payload<'a> {
    /// The members of the object, in the order they came.
    pub(super) members: Vec<Member<'a>>,
    text: String,
}

/// Names of objects whose members count as the event's own: the nested shape of user data.
pub(super) const EVENT_OBJECTS: &[&str] = &["properties", "traits"];
/// The same of JSON log lines.
pub(super) const LOG_OBJECTS: &[&str] = &["data"];

impl<'a> Payload<'a> {
    /// Replaces the members with those of the object in `payload`; without a payload there are none.
    pub(super) fn read(&mut self, payload: Option<&'a [u8]>) -> Result<(), JsonError> {
        self.members.clear();
        match payload {
            Some(payload) => json::members(payload, &mut self.members),
            None => Ok(()),
        }
    }

    /// Takes out the members of this name that are ids, and gives the last one.
    pub(super) fn take_id(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.take(name, |value| {
            json::scalar(value).and_then(|id| id_text(id).ok())
        })
    }

    /// Takes out the members of this name that are text, and gives the last one.
    pub(super) fn take_text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.take(name, |value| match json::scalar(value) {
            Some(Scalar::Text(text)) => Some(text),
            _ => None,
        })
    }

    fn take<T>(&mut self, name: &str, read: impl Fn(&'a RawValue) -> Option<T>) -> Option<T> {
        let mut last = None;
        self.members.retain(|(found, value)| {
            if found != name {
                return true;
            }
            match read(value) {
                Some(value) => {
                    last = Some(value);
                    false
                }
                None => true,
            }
        });
        last
    }

    /// Puts the members of these objects in the objects' places. What has such a name and is no object
    /// stays what it is: flat user data may use any name.
    pub(super) fn unnest(&mut self, objects: &[&str]) {
        let is_nested = |(name, value): &Member<'_>| {
            objects.contains(&name.as_ref()) && value.get().starts_with('{')
        };
        if !self.members.iter().any(is_nested) {
            return;
        }
        for member in std::mem::take(&mut self.members) {
            let before = self.members.len();
            if is_nested(&member) {
                let text = member.1.get().as_bytes();
                if json::members(text, &mut self.members).is_ok() {
                    continue;
                }
                self.members.truncate(before);
            }
            self.members.push(member);
        }
    }

    /// The object of all members that are left; `None` if none is.
    pub(super) fn object(&mut self) -> Option<Cow<'_, str>> {
        if self.members.is_empty() {
            return None;
        }
        write_object(&mut self.text, &self.members);
        Some(Cow::Borrowed(&self.text))
    }
}
