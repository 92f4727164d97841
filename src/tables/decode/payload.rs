//! The JSON object that a sender's data is, sorted into columns and what is left.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::tables::object::append_object;
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

    /// Adds the members of the object in `line` that have one of these names.
    pub(super) fn keep(&mut self, line: &'a [u8], names: &[&str]) -> Result<(), JsonError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut all = Vec::new();
        json::members(line, &mut all)?;
        all.retain(|(name, _)| names.contains(&name.as_ref()));
        self.members.append(&mut all);
        Ok(())
    }

    /// Takes out the members of this name that are ids, and gives the last one.
    pub(super) fn take_id(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.take(name, |value| id_text(json::scalar(value)))
    }

    /// Takes out the members of this name that are text, and gives the last one.
    pub(super) fn take_text(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.take(name, |value| match json::scalar(value) {
            Scalar::Text(text) => Some(text),
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
    /// stays what it is: flat user data may use any name. So does an object that shares a name with what is beside
    /// it: nothing is lost.
    pub(super) fn unnest(&mut self, objects: &[&str]) {
        let is_nested = |(name, value): &Member<'_>| {
            objects.contains(&name.as_ref()) && value.get().starts_with('{')
        };
        if !self.members.iter().any(is_nested) {
            return;
        }
        let members = std::mem::take(&mut self.members);
        let mut beside: Vec<_> = members.iter().filter(|m| !is_nested(m)).cloned().collect();
        for member in members {
            let mut inner = Vec::new();
            let text = member.1.get().as_bytes();
            if is_nested(&member)
                && json::members(text, &mut inner).is_ok()
                && !share_a_name(&beside, &inner)
            {
                beside.extend_from_slice(&inner);
                self.members.append(&mut inner);
            } else {
                self.members.push(member);
            }
        }
    }

    /// The object of all members that are left; `None` if none is.
    pub(super) fn object(&mut self) -> Option<Cow<'_, str>> {
        if self.members.is_empty() {
            return None;
        }
        self.text.clear();
        append_object(&mut self.text, &self.members);
        Some(Cow::Borrowed(&self.text))
    }
}

/// Up to so many pairs are compared, which takes less time than hashing.
const COMPARED_PAIRS: usize = 256;

fn share_a_name(some: &[Member<'_>], others: &[Member<'_>]) -> bool {
    if some.len() * others.len() <= COMPARED_PAIRS {
        return some
            .iter()
            .any(|(name, _)| others.iter().any(|(other, _)| name == other));
    }
    let names: HashSet<&str> = some.iter().map(|(name, _)| name.as_ref()).collect();
    others.iter().any(|(name, _)| names.contains(name.as_ref()))
}
