//! Rows of JSON lines.

use crate::journal::Record;
use crate::tables::decode::payload::{EVENT_OBJECTS, LOG_OBJECTS, Payload};
use crate::tables::decode::{reject, time_ms};
use crate::tables::id::uuid_text;
use crate::tables::row::{EventRow, LogRow, Row};
use crate::wire::json_lines::{LineFault, LineKind, event_line, lines, log_line};
use crate::wire::surrogates::replace_lone;

pub(super) fn decode(record: &Record<'_>, kind: LineKind, each: &mut dyn FnMut(Row<'_>)) {
    // Records of earlier versions have lone surrogates.
    let replaced = replace_lone(record.payload);
    let text = replaced.as_deref().unwrap_or(record.payload);
    let mut payload = Payload::default();
    for line in lines(text) {
        if line.is_blank() {
            continue;
        }
        payload.members.clear();
        let (decoded, schema) = match kind {
            LineKind::Event => (event(record, line.text, &mut payload, each), "json_events"),
            LineKind::Log => (log(record, line.text, &mut payload, each), "json_logs"),
        };
        if let Err(fault) = decoded {
            let came = record.payload.get(line.start..line.start + line.text.len());
            reject(each, schema, fault.to_string(), came.unwrap_or(line.text));
        }
    }
}

fn event<'a>(
    record: &Record<'_>,
    text: &'a [u8],
    payload: &mut Payload<'a>,
    each: &mut dyn FnMut(Row<'_>),
) -> Result<(), LineFault> {
    let line = event_line(text, &mut payload.members)?;
    payload.keep(text, &line.misfits)?;
    payload.unnest(EVENT_OBJECTS);
    each(Row::Event(EventRow {
        time_ns: time_ms(line.timestamp_ms.unwrap_or_default(), record),
        kind: Some(line.kind),
        name: line.event,
        user_id: line.user_id.filter(|id| !id.is_empty()),
        device_id: line.device_id.and_then(uuid_text),
        session_id: line.session_id.and_then(uuid_text),
        group_id: line.group_id.filter(|id| !id.is_empty()),
        service: line.service,
        properties: payload.object(),
    }));
    Ok(())
}

fn log<'a>(
    record: &Record<'_>,
    text: &'a [u8],
    payload: &mut Payload<'a>,
    each: &mut dyn FnMut(Row<'_>),
) -> Result<(), LineFault> {
    let line = log_line(text, &mut payload.members)?;
    payload.keep(text, &line.misfits)?;
    payload.unnest(LOG_OBJECTS);
    each(Row::Log(LogRow {
        time_ns: time_ms(line.timestamp_ms.unwrap_or_default(), record),
        kind: Some(line.kind),
        level: Some(line.level),
        message: line.message,
        service: line.service,
        host: line.source,
        session_id: line.session_id.and_then(uuid_text),
        attributes: payload.object(),
        syslog: None,
    }));
    Ok(())
}
