//! Payloads of every encoding, from bytes to lines.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Common, write_row};
use crate::journal::{Encoding, Facts, Record};
use crate::origin::{KeyId, Source, Workspace};
use crate::tables::decode::decode;
use crate::wire::json::is_strict;
use crate::wire::json_lines::{self, LineKind};
use crate::wire::surrogates::count_lone;

/// Whatever the payload, each row is one line and one JSON object, and bytes that are not blank give
/// a row unless they are entries of which there are none. The first byte chooses the encoding.
pub fn fuzz_rows(data: &[u8]) {
    let Some((&choice, payload)) = data.split_first() else {
        return;
    };
    let encoding = match choice % 8 {
        6 => Encoding::JsonEvents,
        7 => Encoding::JsonLogs,
        schema_type => Encoding::FlatBuffer { schema_type },
    };
    let Some(record) = record(encoding, payload) else {
        return;
    };
    let mut out = Vec::new();
    let mut rows = 0;
    decode(&record, &mut |row| {
        rows += 1;
        out.clear();
        write_row(&mut out, &Common::of(&record.facts), &row);
        assert_eq!(memchr::memchr(b'\n', &out), Some(out.len() - 1));
        assert_strict(&out);
    });
    if encoding == Encoding::JsonEvents || encoding == Encoding::JsonLogs {
        let is_blank = payload.trim_ascii().is_empty();
        assert_eq!(rows == 0, is_blank);
    }
}

/// Whatever body is accepted over HTTP: each row is strict JSON, and each member of a line that is no column
/// comes back as it was sent. The first byte chooses the endpoint.
pub fn fuzz_accepted(data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else {
        return;
    };
    let (kind, encoding, object) = match choice % 2 {
        0 => (LineKind::Event, Encoding::JsonEvents, "properties"),
        _ => (LineKind::Log, Encoding::JsonLogs, "attributes"),
    };
    let checked = json_lines::check(kind, &Bytes::copy_from_slice(body));
    let Some(record) = record(encoding, &checked.kept) else {
        return;
    };
    let mut rows = Vec::new();
    decode(&record, &mut |row| {
        let mut out = Vec::new();
        write_row(&mut out, &Common::of(&record.facts), &row);
        assert_strict(&out);
        rows.push(serde_json::from_slice::<Map<String, Value>>(&out));
    });
    assert_eq!(rows.len() as u64, checked.accepted);
    let lines = json_lines::lines(&checked.kept).filter(|line| !line.is_blank());
    for (line, row) in lines.zip(rows) {
        let row = row.ok();
        let came = row.as_ref().and_then(|row| row.get(object));
        // What a line has that this reader cannot read, such as 1e999, the tests of `strict` are about.
        let sent = serde_json::from_slice::<Map<String, Value>>(line.text);
        assert_members_came_back(&sent.unwrap_or_default(), came);
    }
}

/// Members that are columns, and the objects whose members count as the line's own, are passed over.
fn assert_members_came_back(sent: &Map<String, Value>, came: Option<&Value>) {
    for (name, value) in sent {
        let is_column = [
            "type",
            "event",
            "message",
            "level",
            "user_id",
            "device_id",
            "session_id",
            "group_id",
            "service",
            "source",
            "timestamp",
            "properties",
            "traits",
            "data",
        ]
        .contains(&name.as_str());
        if !is_column {
            assert_eq!(came.and_then(|came| came.get(name)), Some(value), "{name}");
        }
    }
}

/// One line, one object, with nothing that any reader refuses or reads in another way.
fn assert_strict(line: &[u8]) {
    assert_eq!(memchr::memchr(b'\n', line), Some(line.len() - 1));
    let read: Result<HashMap<String, IgnoredAny>, _> = serde_json::from_slice(line);
    assert!(read.is_ok(), "{read:?}");
    let value: Result<&RawValue, _> = serde_json::from_slice(line);
    assert!(value.is_ok_and(is_strict), "not strict");
    assert_eq!(count_lone(line), 0);
}

fn record(encoding: Encoding, payload: &[u8]) -> Option<Record<'_>> {
    Some(Record {
        mark: None,
        sequence: 1,
        facts: Facts {
            workspace: Workspace::new(1)?,
            key_id: KeyId(1),
            source: Source::Tcp,
            encoding,
            received_at_ns: 1,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        },
        payload,
    })
}
