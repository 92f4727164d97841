//! One line: which members are columns, what they must be, and where the other members go.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::MAX_LINE_BYTES;
use crate::wire::entries::{EVENT_TYPES, LOG_LEVELS, LOG_TYPES};
use crate::wire::json::{self, JsonError, Member, ReadName, ReadScalar, Scalar};

/// Why a line is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The body is one JSON array.
    #[error("expected JSON lines (one object a line), found one JSON array")]
    ArrayBody,
    /// The line is longer than [`MAX_LINE_BYTES`].
    #[error("expected at most {MAX_LINE_BYTES} bytes a line, found {0}")]
    TooLong(usize),
    /// The line is not one JSON object.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A member is of another type.
    #[error("{field}: expected {expected}, found {found}")]
    Type {
        /// The member.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A `type` that events do not have.
    #[error("type: expected one of track, identify, group, alias, enrich, context")]
    EventType,
    /// A `type` that logs do not have.
    #[error("type: expected one of log, enrich")]
    LogType,
    /// A `level` that is none.
    #[error(
        "level: expected one of emergency, alert, critical, error, warning, notice, info, debug, trace"
    )]
    Level,
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
    /// Name of the event; there for a track.
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
}

/// The columns of a log line. `null` counts as absent, and of members of one name the last counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// One of [`LOG_TYPES`]; log if absent.
    pub kind: &'static str,
    /// One of [`LOG_LEVELS`]; info if absent.
    pub level: &'static str,
    /// The text.
    pub message: Cow<'a, str>,
    /// Milliseconds since 1970; a fraction is cut.
    pub timestamp_ms: Option<u64>,
    /// The host.
    pub source: Option<Cow<'a, str>>,
    /// The logging service.
    pub service: Option<Cow<'a, str>>,
    /// Any text.
    pub session_id: Option<Cow<'a, str>>,
}

/// Reads an event line; the members that are no columns go to `rest`.
pub fn event_line<'a>(
    line: &'a [u8],
    rest: &mut impl Rest<'a>,
) -> Result<EventLine<'a>, LineFault> {
    let mut found = EventMembers::default();
    read(line, &mut found, rest)?;
    let event = text("event", found.event)?.filter(|name| !name.is_empty());
    let kind = match text("type", found.kind)? {
        Some(kind) => one_of(&EVENT_TYPES, &kind).ok_or(LineFault::EventType)?,
        None if event.is_some() => "track",
        None => return Err(LineFault::TypeMissing),
    };
    if event.is_none() && kind == "track" {
        return Err(LineFault::EventMissing);
    }
    Ok(EventLine {
        kind,
        event,
        device_id: text("device_id", found.device_id)?,
        session_id: text("session_id", found.session_id)?,
        user_id: id("user_id", found.user_id)?,
        group_id: id("group_id", found.group_id)?,
        service: text("service", found.service)?,
        timestamp_ms: timestamp(found.timestamp)?,
    })
}

/// Reads a log line; the members that are no columns go to `rest`.
pub fn log_line<'a>(line: &'a [u8], rest: &mut impl Rest<'a>) -> Result<LogLine<'a>, LineFault> {
    let mut found = LogMembers::default();
    read(line, &mut found, rest)?;
    Ok(LogLine {
        kind: match text("type", found.kind)? {
            Some(kind) => one_of(&LOG_TYPES, &kind).ok_or(LineFault::LogType)?,
            None => "log",
        },
        level: match text("level", found.level)? {
            Some(level) => self::level(&level).ok_or(LineFault::Level)?,
            None => "info",
        },
        message: text("message", found.message)?.ok_or(LineFault::MessageMissing)?,
        timestamp_ms: timestamp(found.timestamp)?,
        source: text("source", found.source)?,
        service: text("service", found.service)?,
        session_id: text("session_id", found.session_id)?,
    })
}

fn one_of(names: &[&'static str], name: &str) -> Option<&'static str> {
    names.iter().find(|known| **known == name).copied()
}

/// The level of this name, of either case. The short names of syslog and of common loggers are read too.
fn level(name: &str) -> Option<&'static str> {
    let known = |known: &&&str| known.eq_ignore_ascii_case(name);
    if let Some(level) = LOG_LEVELS.iter().find(known) {
        return Some(level);
    }
    const SHORT: [(&str, &str); 5] = [
        ("warn", "warning"),
        ("err", "error"),
        ("crit", "critical"),
        ("fatal", "critical"),
        ("emerg", "emergency"),
    ];
    let short = SHORT.iter().find(|(short, _)| known(&short));
    short.map(|(_, level)| *level)
}

type Found<'a> = Option<Scalar<'a>>;

fn text<'a>(field: &'static str, found: Found<'a>) -> Result<Option<Cow<'a, str>>, LineFault> {
    match found {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Text(text)) => Ok(Some(text)),
        Some(other) => Err(mismatch(field, "a string", &other)),
    }
}

fn id<'a>(field: &'static str, found: Found<'a>) -> Result<Option<Cow<'a, str>>, LineFault> {
    match found {
        None | Some(Scalar::Null) => Ok(None),
        Some(id) => match id_text(id) {
            Ok(id) => Ok(Some(id)),
            Err(other) => Err(mismatch(field, "a string or a 64-bit integer", &other)),
        },
    }
}

/// An id as text: a string, or an integer that is exact. Anything else is given back.
pub(crate) fn id_text(id: Scalar<'_>) -> Result<Cow<'_, str>, Scalar<'_>> {
    match id {
        Scalar::Text(text) => Ok(text),
        Scalar::Unsigned(number) => Ok(Cow::Owned(number.to_string())),
        Scalar::Negative(number) => Ok(Cow::Owned(number.to_string())),
        other => Err(other),
    }
}

fn timestamp(found: Found<'_>) -> Result<Option<u64>, LineFault> {
    match found {
        None | Some(Scalar::Null) => Ok(None),
        Some(Scalar::Unsigned(ms)) => Ok(Some(ms)),
        // The cast saturates and cuts the fraction. Clocks of browsers give fractions.
        Some(Scalar::Float(ms)) if ms >= 0.0 => Ok(Some(ms as u64)),
        Some(Scalar::Negative(_) | Scalar::Float(_)) => Err(LineFault::Type {
            field: "timestamp",
            expected: TIMESTAMP,
            found: "a negative number",
        }),
        Some(other) => Err(mismatch("timestamp", TIMESTAMP, &other)),
    }
}

const TIMESTAMP: &str = "milliseconds since 1970 as a number";

#[cold]
fn mismatch(field: &'static str, expected: &'static str, found: &Scalar<'_>) -> LineFault {
    let found = match found {
        Scalar::Float(_) => "another number",
        other => other.kind(),
    };
    LineFault::Type {
        field,
        expected,
        found,
    }
}

fn read<'a>(
    line: &'a [u8],
    columns: &mut impl Columns<'a>,
    rest: &mut impl Rest<'a>,
) -> Result<(), LineFault> {
    if line.len() > MAX_LINE_BYTES {
        return Err(LineFault::TooLong(line.len()));
    }
    json::parse(json::object(line)?, ReadLine { columns, rest })?;
    Ok(())
}

/// Where the members go that are no columns.
pub trait Rest<'a> {
    /// Takes a member, whose value is next in `map`.
    fn take<A: MapAccess<'a>>(&mut self, name: Cow<'a, str>, map: &mut A) -> Result<(), A::Error>;
}

/// Drops them.
#[derive(Clone, Copy, Debug)]
pub struct IgnoreRest;

impl<'a> Rest<'a> for IgnoreRest {
    #[inline]
    fn take<A: MapAccess<'a>>(&mut self, _: Cow<'a, str>, map: &mut A) -> Result<(), A::Error> {
        map.next_value::<IgnoredAny>().map(drop)
    }
}

/// Collects them.
impl<'a> Rest<'a> for Vec<Member<'a>> {
    fn take<A: MapAccess<'a>>(&mut self, name: Cow<'a, str>, map: &mut A) -> Result<(), A::Error> {
        self.push((name, map.next_value()?));
        Ok(())
    }
}

/// The members of a line that are columns.
trait Columns<'a> {
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
