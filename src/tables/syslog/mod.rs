//! Packed syslog messages to rows of `logs`.
//!
//! What is header and what is text is decided by [`Header`]. Choices where the RFCs leave one:
//!
//! - A message without PRI has neither facility nor level. RFC 3164 (4.3.3) has relays assume `user.notice`, but
//!   a level that nobody sent would look like one that somebody did.
//! - A time without a zone is in the zone that the record has for it. A time without a year gets the year that is
//!   nearest to the time of receipt.
//! - A time that makes no sense (February 30, an offset without its colon, a year that nanoseconds do not reach) is
//!   that of receipt, and what was sent is in the attributes; the rest of the header counts.
//! - Structured data that is malformed is text. Nothing is left out.

use std::borrow::Cow;

use data_encoding::BASE64;
use jiff::Timestamp as Instant;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde_json::{Map, Value};

use super::Row;
use super::object::write_string;
use super::row::{LogRow, RejectedRow, SyslogColumns, TimeNs};
use crate::journal::Record;
use crate::wire::entries::LOG_LEVELS;
use crate::wire::syslog::Zone;
use crate::wire::syslog::header::{Header, Layout, Rfc3164};
use crate::wire::syslog::pack::{self, Packed};
use crate::wire::syslog::structured_data::{Cursor, Step, unescape};
use crate::wire::syslog::timestamp::{Timestamp, read_month_first, read_rfc3339};

/// The names of the facilities (RFC 5424, table 1), those of syslog(3) where it has them.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clockd", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Gives each message of a record as a row of `logs`, and what is left of a damaged payload as one of `rejected`.
pub fn decode<'a>(record: &Record<'a>, each: &mut dyn FnMut(Row<'_>)) {
    let received_at_ns = TimeNs::try_from(record.facts.received_at_ns).unwrap_or(TimeNs::MAX);
    for packed in pack::messages(record.payload) {
        match packed {
            Ok(packed) => decode_message(packed, received_at_ns, each),
            Err(error) => each(Row::Rejected(RejectedRow {
                reason: error.to_string(),
                schema: Cow::Borrowed("syslog"),
                payload: record.payload.get(error.at()..).unwrap_or_default(),
            })),
        }
    }
}

fn decode_message(packed: Packed<'_>, received_at_ns: TimeNs, each: &mut dyn FnMut(Row<'_>)) {
    let text = String::from_utf8_lossy(packed.bytes);
    let header = Header::locate(text.as_bytes());
    let fields = match &header.layout {
        Layout::Rfc5424 { structured_data } => rfc5424(&text, header.start, *structured_data),
        Layout::Rfc3164(parts) => rfc3164(&text, parts),
        Layout::Text => Fields {
            message_start: header.start,
            ..Fields::default()
        },
    };
    let time = match fields.time {
        Time::Read(time) => time_ns(&time, &packed.zone, received_at_ns).ok_or(fields.time_text),
        Time::Unreadable => Err(fields.time_text),
        Time::None => Ok(received_at_ns),
    };
    let message = text.get(fields.message_start..).unwrap_or_default();
    let message = message.strip_prefix('\u{feff}').unwrap_or(message);
    let (facility, level) = match header.priority {
        Some(priority) => (
            FACILITIES.get(usize::from(priority >> 3)).copied(),
            // A severity is 0 to 7: trace, which only the SDKs have, is out of its reach.
            LOG_LEVELS.get(usize::from(priority & 7)).copied(),
        ),
        None => (None, None),
    };
    each(Row::Log(LogRow {
        time_ns: time.unwrap_or(received_at_ns),
        kind: Some("log"),
        level,
        message: Some(message).filter(|m| !m.is_empty()).map(Cow::Borrowed),
        service: fields.app.map(Cow::Borrowed),
        host: fields.host.map(Cow::Borrowed),
        session_id: None,
        attributes: attributes(packed, matches!(text, Cow::Owned(_)), time.err()).map(Cow::Owned),
        syslog: Some(SyslogColumns {
            facility,
            app: fields.app.map(Cow::Borrowed),
            procid: fields.procid.map(Cow::Borrowed),
            msgid: fields.msgid.map(Cow::Borrowed),
            structured_data: fields.structured_data.map(Cow::Owned),
        }),
    }));
}

/// What a header says, and where the text after it starts.
#[derive(Default)]
struct Fields<'t> {
    time: Time,
    time_text: &'t str,
    host: Option<&'t str>,
    app: Option<&'t str>,
    procid: Option<&'t str>,
    msgid: Option<&'t str>,
    structured_data: Option<String>,
    message_start: usize,
}

#[derive(Default)]
enum Time {
    #[default]
    None,
    Read(Timestamp),
    Unreadable,
}

impl From<Option<Timestamp>> for Time {
    fn from(read: Option<Timestamp>) -> Self {
        read.map_or(Self::Unreadable, Self::Read)
    }
}

/// A field, unless it is the NILVALUE.
fn known(field: &str) -> Option<&str> {
    Some(field).filter(|field| !matches!(*field, "" | "-"))
}

fn rfc5424(text: &str, start: usize, structured_data: usize) -> Fields<'_> {
    let header = text.get(start..structured_data).unwrap_or_default();
    let mut words = header.split(' ').filter(|word| !word.is_empty()).skip(1);
    let mut field = || words.next().and_then(known);
    let time_text = field();
    let (host, app, procid, msgid) = (field(), field(), field(), field());
    let (structured_data, end) = read_structured_data(text, structured_data);
    let space = usize::from(text.as_bytes().get(end) == Some(&b' '));
    Fields {
        // Without its offset a time is no time of RFC 5424.
        time: time_text.map_or(Time::None, |text| {
            let read = read_rfc3339(text.as_bytes());
            read.filter(|time| time.offset_secs.is_some()).into()
        }),
        time_text: time_text.unwrap_or_default(),
        host,
        app,
        procid,
        msgid,
        structured_data,
        message_start: end + space,
    }
}

fn rfc3164<'t>(text: &'t str, parts: &Rfc3164) -> Fields<'t> {
    let part = |range: &std::ops::Range<usize>| text.get(range.clone()).unwrap_or_default();
    let time_text = part(&parts.timestamp);
    let bytes = time_text.as_bytes();
    let month_first = read_month_first(bytes).map(|(time, _)| time);
    let tag = parts.tag.as_ref().map(part).unwrap_or_default();
    let (app, pid) = match tag.split_once('[') {
        Some((app, pid)) => (app, pid.strip_suffix(']').and_then(known)),
        None => (tag, None),
    };
    Fields {
        time: month_first.or_else(|| read_rfc3339(bytes)).into(),
        time_text,
        host: parts.host.as_ref().map(part).and_then(known),
        app: known(app),
        procid: pid,
        msgid: None,
        structured_data: None,
        message_start: parts.content,
    }
}

/// `None` for a time that is none, or that nanoseconds do not reach.
fn time_ns(time: &Timestamp, zone: &Zone, received_at_ns: TimeNs) -> Option<TimeNs> {
    let received_secs = received_at_ns.div_euclid(NS_A_SECOND);
    let utc = |year: i16| {
        let local = seconds(time, year)?;
        Some(match time.offset_secs {
            Some(offset) => local - i64::from(offset),
            None => zone.to_utc(local, received_secs),
        })
    };
    let secs = match time.year {
        Some(year) => utc(year)?,
        None => nearest(received_secs, utc)?,
    };
    let ns = secs.checked_mul(NS_A_SECOND)?;
    ns.checked_add(i64::from(time.nanos))
}

const NS_A_SECOND: i64 = 1_000_000_000;
const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// Seconds since 1970 as the sender's clock shows them; `None` for a time that is none.
fn seconds(time: &Timestamp, year: i16) -> Option<i64> {
    let (month, day) = (i8::try_from(time.month).ok()?, i8::try_from(time.day).ok()?);
    let date = Date::new(year, month, day).ok()?;
    if time.hour > 23 || time.minute > 59 || time.second > 60 {
        return None;
    }
    let of_day = (i64::from(time.hour) * 60 + i64::from(time.minute)) * 60 + i64::from(time.second);
    Some(date.duration_since(EPOCH).as_secs() + of_day)
}

/// The time in the year that puts it nearest to the time of receipt; `None` for a date that no year has.
///
/// From December 31 received on January 1 to a February 29 received in March of the year after a leap year.
fn nearest(received_secs: i64, utc: impl Fn(i16) -> Option<i64>) -> Option<i64> {
    let received = Instant::from_second(received_secs).ok()?;
    let this_year = Offset::UTC.to_datetime(received).year();
    // Leap years are up to 8 years apart (1896 and 1904): only February 29 gets to the second span.
    [1, 8].iter().find_map(|span| {
        (this_year - span..=this_year + span)
            .filter_map(&utc)
            .min_by_key(|secs| secs.abs_diff(received_secs))
    })
}

/// Structured data as a JSON object, and where it ends; where it is malformed or missing, it is text.
fn read_structured_data(text: &str, start: usize) -> (Option<String>, usize) {
    let bytes = text.as_bytes();
    let mut cursor = Cursor::new(bytes, start);
    if cursor.peek() == Some(b'-') && matches!(bytes.get(start + 1), None | Some(b' ')) {
        return (None, start + 1);
    }
    let mut elements = Map::new();
    while let Some(id) = cursor.enter() {
        if id.is_empty() {
            // `[]` says nothing; parameters without a name are malformed.
            match cursor.step() {
                Step::End => continue,
                _ => return (None, start),
            }
        }
        let element = elements
            .entry(String::from_utf8_lossy(id))
            .or_insert_with(|| Value::Object(Map::new()));
        loop {
            match cursor.step() {
                Step::Param(param) => insert(element, param.name, param.value),
                Step::End => break,
                Step::Unterminated { .. } | Step::Malformed => return (None, start),
            }
        }
    }
    let object = (!elements.is_empty()).then(|| Value::Object(elements).to_string());
    (object, cursor.at())
}

/// A name that comes again (RFC 5424, section 6.3.3, allows it) gets an array of its values.
fn insert(element: &mut Value, name: &[u8], value: &[u8]) {
    let Value::Object(params) = element else {
        return;
    };
    let value = Value::String(unescape(&String::from_utf8_lossy(value)).into_owned());
    match params.get_mut(&*String::from_utf8_lossy(name)) {
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => {
            params.insert(String::from_utf8_lossy(name).into_owned(), value);
        }
    }
}

/// What the columns cannot show: that the message was cut, its bytes where they are no UTF-8, and a time that is none.
fn attributes(packed: Packed<'_>, is_lossy: bool, bad_time: Option<&str>) -> Option<String> {
    let mut members = Vec::new();
    if packed.truncated {
        members.push(r#""truncated":true"#.to_owned());
    }
    if is_lossy {
        members.push(format!(r#""raw_base64":"{}""#, BASE64.encode(packed.bytes)));
    }
    if let Some(text) = bad_time {
        let mut member = r#""timestamp":"#.to_owned();
        write_string(&mut member, text);
        members.push(member);
    }
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

#[doc(hidden)]
pub mod fuzz {
    //! The fuzz body: what holds for every payload.

    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::journal::{Encoding, Facts};
    use crate::origin::Source;
    use crate::origin::{KeyId, Workspace};

    /// Decodes a payload as a record received at this time.
    pub fn decode_payload(payload: &[u8], received_at_ns: u64, each: &mut dyn FnMut(Row<'_>)) {
        let Some(workspace) = Workspace::new(1) else {
            return;
        };
        let facts = Facts {
            workspace,
            key_id: KeyId(1),
            source: Source::SyslogTcp,
            encoding: Encoding::Syslog,
            received_at_ns,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 514)),
        };
        let record = Record {
            mark: None,
            sequence: 1,
            facts,
            payload,
        };
        decode(&record, each);
    }

    /// Every message gives one row of `logs` whose text is the end of the message and whose objects are JSON;
    /// a damaged payload gives one row of `rejected`, the last.
    pub fn fuzz_decode(data: &[u8]) {
        let received_at_ns = data
            .first_chunk()
            .map_or(0, |first| u64::from_le_bytes(*first));
        let mut packed = Vec::new();
        pack::push(&mut packed, data.len().is_multiple_of(2), |out| {
            out.extend_from_slice(data);
        });
        for payload in [&packed, data] {
            let expected: Vec<_> = pack::messages(payload).collect();
            let mut rows = 0;
            decode_payload(payload, received_at_ns, &mut |row| {
                match (expected.get(rows), row) {
                    (Some(Ok(packed)), Row::Log(row)) => assert_log(*packed, &row),
                    (Some(Err(_)), Row::Rejected(row)) => assert!(payload.ends_with(row.payload)),
                    (_, row) => unreachable!("a row that no message asked for: {row:?}"),
                }
                rows += 1;
            });
            assert_eq!(rows, expected.len());
        }
    }

    fn assert_log(packed: Packed<'_>, row: &LogRow<'_>) {
        let text = String::from_utf8_lossy(packed.bytes);
        assert!(text.ends_with(row.message.as_deref().unwrap_or_default()));
        let columns = row.syslog.as_ref();
        let structured_data = columns.and_then(|columns| columns.structured_data.as_deref());
        for object in [row.attributes.as_deref(), structured_data]
            .into_iter()
            .flatten()
        {
            assert!(serde_json::from_str::<Map<String, Value>>(object).is_ok());
        }
        let is_utf8 = matches!(text, Cow::Borrowed(_));
        let attributes = row.attributes.as_deref().unwrap_or_default();
        assert_eq!(attributes.contains("\"truncated\":"), packed.truncated);
        assert_eq!(attributes.contains("\"raw_base64\":"), !is_utf8);
    }
}

#[cfg(test)]
mod tests;
