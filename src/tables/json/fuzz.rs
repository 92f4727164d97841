//! Payloads of every encoding, from bytes to lines.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use serde::de::IgnoredAny;

use super::{Common, write_row};
use crate::journal::{Encoding, Facts, Record};
use crate::origin::{KeyId, Source, Workspace};
use crate::tables::decode::decode;

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
    let Some(workspace) = Workspace::new(1) else {
        return;
    };
    let record = Record {
        mark: None,
        sequence: 1,
        facts: Facts {
            workspace,
            key_id: KeyId(1),
            source: Source::Tcp,
            encoding,
            received_at_ns: 1,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        },
        payload,
    };
    let mut out = Vec::new();
    let mut rows = 0;
    decode(&record, &mut |row| {
        rows += 1;
        out.clear();
        write_row(&mut out, &Common::of(&record.facts), &row);
        assert_eq!(memchr::memchr(b'\n', &out), Some(out.len() - 1));
        let line: Result<HashMap<String, IgnoredAny>, _> = serde_json::from_slice(&out);
        assert!(line.is_ok(), "{line:?}");
    });
    if encoding == Encoding::JsonEvents || encoding == Encoding::JsonLogs {
        let is_blank = payload.trim_ascii().is_empty();
        assert_eq!(rows == 0, is_blank);
    }
}
