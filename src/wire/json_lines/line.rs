//! One line: which members are columns, what they must be, and where the other members go.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_LINE_BYTES;
use crate::wire::entries::{EVENT_TYPES, LOG_LEVELS, LOG_TYPES};
use crate::wire::json::{self, JsonError, Member, ReadName, ReadScalar, Scalar};

/// Why a line is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The body starts as an array and is none.
    #[error("expected JSON lines or one JSON array, found an array that is cut or not valid JSON")]
    BrokenArray,
    /// The line is longer than [`MAX_LINE_BYTES`].
    #[error("expected at most {MAX_LINE_BYTES} bytes a line, found {0}")]
    TooLong(usize),
    /// The line is not one JSON object.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A `type` that events do not have, and no `event`, with which it would be a property of a track.
    #[error("type: expected one of track, identify, group, alias, enrich, context")]
    EventType,
    /// A track without the name of its event.
    #[error("event: required when type is track")]
    EventMissing,
    /// Neither `type` nor `event`.
    #[error("type: required, one of track, identify, group, alias, enrich, context")]
    TypeMissing,
    /// A log without its text.
    #[error("message: required")]
    MessageMissing,
}

/// The columns of an event line. `null` counts as absent, and of members of one name the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine<'a> {
    /// One of [`EVENT_TYPES`]; track if the line names an event and no type.
    pub kind: &'static str,
    /// Name of the event; there for a track, unless it is a misfit.
    pub event: Option<Cow<'a, str>>,
    /// Any text.
    pub device_id: Option<Cow<'a, str>>,
    /// Any text.
    pub session_id: Option<Cow<'a, str>>,
    /// Text, or an integer as text.
    pub user_id: Option<Cow<'a, str>>,
    /// Text, or an integer as text.
    pub group_id: Option<Cow<'a, str>>,
    /// The sending service.
    pub service: Option<Cow<'a, str>>,
    /// Milliseconds since 1970; a fraction is cut.
    pub timestamp_ms: Option<u64>,
    /// Members with the name of a column whose value the column cannot have: they are the user's own.
    pub misfits: Misfits,
}

/// The columns of a log line. `null` counts as absent, and of members of one name the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// One of [`LOG_TYPES`]; log if absent.
    pub kind: &'static str,
    /// One of [`LOG_LEVELS`]; info if absent.
    pub level: &'static str,
    /// The text; `None` where it is a misfit.
    pub message: Option<Cow<'a, str>>,
    /// Milliseconds since 1970; a fraction is cut.
    pub timestamp_ms: Option<u64>,
    /// The host.
    pub source: Option<Cow<'a, str>>,
    /// The logging service.
    pub service: Option<Cow<'a, str>>,
    /// Any text.
    pub session_id: Option<Cow<'a, str>>,
    /// Members with the name of a column whose value the column cannot have: they are the user's own.
    pub misfits: Misfits,
}

/// Names of members of one line, without an allocation where there are none.
pub type Misfits = Vec<&'static str>;

/// Reads an event line; the members that are no columns go to `rest`, but for the misfits.
///
/// The SDKs spread what users say over the line, so a user's member may bear the name of a column: it is never a
/// reason to refuse the line.
pub fn event_line<'a>(
    line: &'a [u8],
    rest: &mut impl Rest<'a>,
) -> Result<EventLine<'a>, LineFault> {
    let mut found = EventMembers::default();
    read(line, &mut found, rest)?;
    let mut misfits = Misfits::new();
    let event = text("event", found.event, &mut misfits).filter(|name| !name.is_empty());
    let has_event = event.is_some() || !misfits.is_empty();
    let kind = match found.kind {
        None | Some(Scalar::Null) if has_event => "track",
        None | Some(Scalar::Null) => return Err(LineFault::TypeMissing),
        Some(kind) => match one_of(&EVENT_TYPES, &kind) {
            Some(kind) => kind,
            None if has_event => {
                misfits.push("type");
                "track"
            }
            None => return Err(LineFault::EventType),
        },
    };
    if !has_event && kind == "track" {
        return Err(LineFault::EventMissing);
    }
    Ok(EventLine {
        kind,
        event,
        device_id: text("device_id", found.device_id, &mut misfits),
        session_id: text("session_id", found.session_id, &mut misfits),
        user_id: id("user_id", found.user_id, &mut misfits),
        group_id: id("group_id", found.group_id, &mut misfits),
        service: text("service", found.service, &mut misfits),
        timestamp_ms: timestamp(found.timestamp, &mut misfits),
        misfits,
    })
}

/// Reads a log line; the members that are no columns go to `rest`, but for the misfits.
pub fn log_line<'a>(line: &'a [u8], rest: &mut impl Rest<'a>) -> Result<LogLine<'a>, LineFault> {
    let mut found = LogMembers::default();
    read(line, &mut found, rest)?;
    if matches!(found.message, None | Some(Scalar::Null)) {
        return Err(LineFault::MessageMissing);
    }
    let mut misfits = Misfits::new();
    let mut word = |field, found: Found<'a>, read: fn(&Scalar<'a>) -> Option<&'static str>| {
        let found = found.filter(|found| *found != Scalar::Null)?;
        let word = read(&found);
        if word.is_none() {
            misfits.push(field);
        }
        word
    };
    let kind = word("type", found.kind, |kind| one_of(&LOG_TYPES, kind)).unwrap_or("log");
    let level = word("level", found.level, level).unwrap_or("info");
    Ok(LogLine {
        kind,
        level,
        message: text("message", found.message, &mut misfits),
        timestamp_ms: timestamp(found.timestamp, &mut misfits),
        source: text("source", found.source, &mut misfits),
        service: text("service", found.service, &mut misfits),
        session_id: text("session_id", found.session_id, &mut misfits),
        misfits,
    })
}

/// The one of these words that a value is, of either case.
fn one_of(names: &[&'static str], value: &Scalar<'_>) -> Option<&'static str> {
    let Scalar::Text(word) = value else {
        return None;
    };
    let is_it = |name: &&&str| name.eq_ignore_ascii_case(word);
    names.iter().find(is_it).copied()
}

/// The level that a value names. The short names of syslog and of common loggers are read too.
fn level(value: &Scalar<'_>) -> Option<&'static str> {
    const SHORT: [(&str, &str); 5] = [
        ("warn", "warning"),
        ("err", "error"),
        ("crit", "critical"),
        ("fatal", "critical"),
        ("emerg", "emergency"),
    ];
    one_of(&LOG_LEVELS, value).or_else(|| {
        let short = one_of(&SHORT.map(|(short, _)| short), value)?;
        SHORT
            .iter()
            .find(|(name, _)| *name == short)
            .map(|(_, level)| *level)
    })
}

type Found<'a> = Option<Scalar<'a>>;

fn text<'a>(field: &'static str, found: Found<'a>, misfits: &mut Misfits) -> Option<Cow<'a, str>> {
    match found {
        None | Some(Scalar::Null) => None,
        Some(Scalar::Text(text)) => Some(text),
        Some(_) => {
            misfits.push(field);
            None
        }
    }
}

fn id<'a>(field: &'static str, found: Found<'a>, misfits: &mut Misfits) -> Option<Cow<'a, str>> {
    let id = found.filter(|found| *found != Scalar::Null).map(id_text)?;
    if id.is_none() {
        misfits.push(field);
    }
    id
}

/// An id as text: a string, or an integer that is exact.
pub(crate) fn id_text(id: Scalar<'_>) -> Option<Cow<'_, str>> {
    match id {
        Scalar::Text(text) => Some(text),
        Scalar::Unsigned(number) => Some(Cow::Owned(number.to_string())),
        Scalar::Negative(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

fn timestamp(found: Found<'_>, misfits: &mut Misfits) -> Option<u64> {
    match found? {
        Scalar::Null => None,
        Scalar::Unsigned(ms) => Some(ms),
        // The cast saturates and cuts the fraction. Clocks of browsers give fractions.
        Scalar::Float(ms) if ms >= 0.0 => Some(ms as u64),
        _ => {
            misfits.push("timestamp");
            None
        }
    }
}

fn read<'a, C: Columns<'a>>(
    line: &'a [u8],
    columns: &mut C,
    rest: &mut impl Rest<'a>,
) -> Result<(), LineFault> {
    if line.len() > MAX_LINE_BYTES {
        return Err(LineFault::TooLong(line.len()));
    }
    let text = json::object(line)?;
    let Err(error) = json::parse(text, ReadLine { columns, rest }) else {
        return Ok(());
    };
    // What the engine cannot read in a column may still be valid JSON.
    let mut members = Vec::new();
    json::members(text.as_bytes(), &mut members).map_err(|_| error)?;
    *columns = C::default();
    rest.clear();
    for (name, value) in members {
        match columns.column(&name) {
            Some(column) => *column = Some(json::scalar(value)),
            None => rest.take_raw(name, value),
        }
    }
    Ok(())
}

/// Where the members go that are no columns.
pub trait Rest<'a> {
    /// Takes a member, whose value is next in `map`.
    fn take<A: MapAccess<'a>>(&mut self, name: Cow<'a, str>, map: &mut A) -> Result<(), A::Error>;

    /// Takes a member.
    fn take_raw(&mut self, name: Cow<'a, str>, value: &'a RawValue);

    /// Forgets what it took.
    fn clear(&mut self);
}

/// Drops them.
#[derive(Clone, Copy, Debug)]
pub struct IgnoreRest;

impl<'a> Rest<'a> for IgnoreRest {
    #[inline]
    fn take<A: MapAccess<'a>>(&mut self, _: Cow<'a, str>, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(drop)
    }

    fn take_raw(&mut self, _: Cow<'a, str>, _: &'a RawValue) {}

    fn clear(&mut self) {}
}

/// Collects them.
impl<'a> Rest<'a> for Vec<Member<'a>> {
    fn take<A: MapAccess<'a>>(&mut self, name: Cow<'a, str>, map: &mut A) -> Result<(), A::Error> {
        self.push((name, map.next_value()?));
        Ok(())
    }

    fn take_raw(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        self.push((name, value));
    }

    fn clear(&mut self) {
        self.clear();
    }
}

/// The members of a line that are columns.
trait Columns<'a>: Default {
    /// Where the member of this name goes; `None` if it is no column.
    fn column(&mut self, name: &str) -> Option<&mut Found<'a>>;
}

#[derive(Default)]
struct EventMembers<'a> {
    kind: Found<'a>,
    event: Found<'a>,
    device_id: Found<'a>,
    session_id: Found<'a>,
    user_id: Found<'a>,
    group_id: Found<'a>,
    service: Found<'a>,
    timestamp: Found<'a>,
}

impl<'a> Columns<'a> for EventMembers<'a> {
    #[inline]
    fn column(&mut self, name: &str) -> Option<&mut Found<'a>> {
        Some(match name {
            "type" => &mut self.kind,
            "event" => &mut self.event,
            "device_id" => &mut self.device_id,
            "session_id" => &mut self.session_id,
            "user_id" => &mut self.user_id,
            "group_id" => &mut self.group_id,
            "service" => &mut self.service,
            "timestamp" => &mut self.timestamp,
            _ => return None,
        })
    }
}

#[derive(Default)]
struct LogMembers<'a> {
    kind: Found<'a>,
    level: Found<'a>,
    message: Found<'a>,
    timestamp: Found<'a>,
    source: Found<'a>,
    service: Found<'a>,
    session_id: Found<'a>,
}

impl<'a> Columns<'a> for LogMembers<'a> {
    #[inline]
    fn column(&mut self, name: &str) -> Option<&mut Found<'a>> {
        Some(match name {
            "type" => &mut self.kind,
            "level" => &mut self.level,
            "message" => &mut self.message,
            "timestamp" => &mut self.timestamp,
            "source" => &mut self.source,
            "service" => &mut self.service,
            "session_id" => &mut self.session_id,
            _ => return None,
        })
    }
}

/// Seed that sorts the members of an object.
struct ReadLine<'l, C, R> {
    columns: &'l mut C,
    rest: &'l mut R,
}

impl<'de, C: Columns<'de>, R: Rest<'de>> DeserializeSeed<'de> for ReadLine<'_, C, R> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, engine: D) -> Result<(), D::Error> {
        engine.deserialize_map(self)
    }
}

impl<'de, C: Columns<'de>, R: Rest<'de>> Visitor<'de> for ReadLine<'_, C, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(ReadName)? {
            match self.columns.column(&name) {
                Some(column) => *column = Some(map.next_value_seed(ReadScalar)?),
                None => self.rest.take(name, &mut map)?,
            }
        }
        Ok(())
    }
}
