//! Packed syslog messages to rows of `logs`.
//!
//! Header fields are read by `syslog_loose`, which gets the header alone. What is header and what is text is
//! decided by [`Header`], because `syslog_loose` drops what it cannot place: leading and trailing blanks of a
//! text, a dash at its start, malformed structured data, the priority of a message without a timestamp.
//!
//! Choices where the RFCs leave one:
//!
//! - A message without PRI has neither facility nor level. RFC 3164 (4.3.3) has relays assume `user.notice`, but
//!   a level that nobody sent would look like one that somebody did.
//! - A time without a zone is UTC. A time without a year gets the year that is nearest to the time of receipt.
//! - A header that makes no sense (February 30, a year that nanoseconds do not reach) is text, and the time is
//!   that of receipt. So is structured data that is malformed. Nothing is left out.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use data_encoding::BASE64;
use serde_json::{Map, Value};
use syslog_loose::{IncompleteDate, Variant, decompose_pri, parse_message_with_year_exact_tz};

use super::Row;
use super::row::{LogRow, RejectedRow, SyslogColumns, TimeNs};
use crate::journal::Record;
use crate::wire::entries::LOG_LEVELS;
use crate::wire::syslog::header::{Header, Layout, Rfc3164};
use crate::wire::syslog::pack::{self, Packed};
use crate::wire::syslog::structured_data::{Cursor, Step, unescape};

/// Gives each message of a record as a row of `logs`, and what is left of a damaged payload as one of `rejected`.
pub fn decode<'a>(record: &Record<'a>, each: &mut dyn FnMut(Row<'_>)) {
    let received_at_ns = TimeNs::try_from(record.facts.received_at_ns).unwrap_or(TimeNs::MAX);
    let mut scratch = String::new();
    for packed in pack::messages(record.payload) {
        match packed {
            Ok(packed) => decode_message(packed, received_at_ns, &mut scratch, each),
            Err(error) => each(Row::Rejected(RejectedRow {
                reason: error.to_string(),
                schema: Cow::Borrowed("syslog"),
                payload: record.payload.get(error.at()..).unwrap_or_default(),
            })),
        }
    }
}

fn decode_message(
    packed: Packed<'_>,
    received_at_ns: TimeNs,
    scratch: &mut String,
    each: &mut dyn FnMut(Row<'_>),
) {
    let text = String::from_utf8_lossy(packed.bytes);
    let header = Header::locate(text.as_bytes());
    let parsed = match &header.layout {
        Layout::Rfc5424 { structured_data } => {
            rfc5424(&text, header.start, *structured_data, scratch)
        }
        Layout::Rfc3164(parts) => rfc3164(&text, header.start, parts, received_at_ns),
        Layout::Text => None,
    };
    let fields = parsed.unwrap_or(Fields {
        message_start: header.start,
        ..Fields::default()
    });
    let message = text.get(fields.message_start..).unwrap_or_default();
    let message = message.strip_prefix('\u{feff}').unwrap_or(message);
    let (facility, level) = match header.priority {
        Some(priority) => (
            decompose_pri(priority).0.map(|facility| facility.as_str()),
            // A severity is 0 to 7: trace, which only the SDKs have, is out of its reach.
            LOG_LEVELS.get(usize::from(priority & 7)).copied(),
        ),
        None => (None, None),
    };
    each(Row::Log(LogRow {
        time_ns: fields.time_ns.unwrap_or(received_at_ns),
        kind: Some("log"),
        level,
        message: Some(message).filter(|m| !m.is_empty()).map(Cow::Borrowed),
        service: fields.app.map(Cow::Borrowed),
        host: fields.host.map(Cow::Borrowed),
        session_id: None,
        attributes: attributes(packed, matches!(text, Cow::Owned(_))).map(Cow::Owned),
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
    time_ns: Option<TimeNs>,
    host: Option<&'t str>,
    app: Option<&'t str>,
    procid: Option<&'t str>,
    msgid: Option<&'t str>,
    structured_data: Option<String>,
    message_start: usize,
}

/// `None` where the fields make no sense.
fn rfc5424<'t>(
    text: &'t str,
    start: usize,
    structured_data: usize,
    scratch: &'t mut String,
) -> Option<Fields<'t>> {
    let header = text.get(start..structured_data)?;
    scratch.clear();
    scratch.push_str(header);
    // Structured data is read below, where it is not dropped when it is malformed.
    scratch.push('-');
    let parsed =
        parse_message_with_year_exact_tz(scratch, |_| 0, Some(Utc), Variant::RFC5424).ok()?;
    if !parsed.msg.is_empty() {
        return None;
    }
    let time_ns = match parsed.timestamp {
        Some(time) => Some(time.timestamp_nanos_opt()?),
        None => None,
    };
    let (structured_data, end) = read_structured_data(text, structured_data);
    let space = usize::from(text.as_bytes().get(end) == Some(&b' '));
    Some(Fields {
        time_ns,
        host: parsed.hostname,
        app: parsed.appname,
        // `syslog_loose` makes a number of it, and 007 a 7.
        procid: parsed
            .procid
            .and_then(|_| header.split(' ').filter(|word| !word.is_empty()).nth(4)),
        msgid: parsed.msgid,
        structured_data,
        message_start: end + space,
    })
}

/// `None` where the date is impossible.
fn rfc3164<'t>(
    text: &'t str,
    start: usize,
    parts: &Rfc3164,
    received_at_ns: TimeNs,
) -> Option<Fields<'t>> {
    let last = parts.tag.as_ref().or(parts.host.as_ref());
    let header = text.get(start..last.unwrap_or(&parts.timestamp).end)?;
    let received_at = DateTime::from_timestamp_nanos(received_at_ns);
    let parsed = parse_message_with_year_exact_tz(
        header,
        |date| nearest_year(date, received_at),
        Some(Utc),
        Variant::RFC3164,
    )
    .ok()?;
    if !parsed.msg.is_empty() || !parsed.structured_data.is_empty() {
        return None;
    }
    let time_ns = parsed.timestamp?.timestamp_nanos_opt()?;
    // A lone word is a host to `syslog_loose`, also where its colon made it a tag.
    let (host, app) = match parts.host {
        Some(_) => (parsed.hostname, parsed.appname),
        None => (None, parsed.appname.or(parsed.hostname)),
    };
    let tag = parts.tag.clone().and_then(|tag| text.get(tag));
    let procid = parsed.procid.and_then(|_| {
        let (_, rest) = tag?.split_once('[')?;
        rest.strip_suffix(']')
    });
    Some(Fields {
        time_ns: Some(time_ns),
        host,
        app,
        procid,
        msgid: None,
        structured_data: None,
        message_start: parts.content,
    })
}

/// The year in which this date is nearest to the time of receipt; any for a date that no year has.
///
/// From December 31 received on January 1 to a February 29 received in March of the year after a leap year.
fn nearest_year(date: IncompleteDate, received_at: DateTime<Utc>) -> i32 {
    let (month, day, hour, minute, second) = date;
    let this_year = received_at.year();
    // Leap years are up to 8 years apart (1896 and 1904): only February 29 gets to the second span.
    [1, 8]
        .iter()
        .find_map(|span| {
            (this_year - span..=this_year + span)
                .filter_map(|year| {
                    let date = NaiveDate::from_ymd_opt(year, month, day)?;
                    let time = date.and_hms_opt(hour, minute, second)?;
                    Some((year, (time - received_at.naive_utc()).abs()))
                })
                .min_by_key(|(_, distance)| *distance)
        })
        .map_or(this_year, |(year, _)| year)
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

/// What the columns cannot show: that the message was cut, and its bytes where they are no UTF-8.
fn attributes(packed: Packed<'_>, is_lossy: bool) -> Option<String> {
    let raw = || BASE64.encode(packed.bytes);
    match (packed.truncated, is_lossy) {
        (false, false) => None,
        (true, false) => Some(r#"{"truncated":true}"#.to_owned()),
        (false, true) => Some(format!(r#"{{"raw_base64":"{}"}}"#, raw())),
        (true, true) => Some(format!(r#"{{"truncated":true,"raw_base64":"{}"}}"#, raw())),
    }
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
        assert_eq!(row.attributes.is_some(), packed.truncated || !is_utf8);
    }
}

#[cfg(test)]
mod tests;
