//! What tests ask of exported rows.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::harness::Server;

/// A column of every row, as text.
pub fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a str> {
    let text = |row: &'a Value| row[name].as_str();
    rows.iter()
        .map(|row| text(row).unwrap_or_else(|| panic!("no {name} in {row}")))
        .collect()
}

/// The public id that `tell apikeys` shows for the key of this name.
pub fn key_id(server: &Server, name: &str) -> String {
    let output = server.tell(&["apikeys", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("apikeys prints JSON");
    let mut keys = report.as_array().expect("an array").iter();
    let key = keys.find(|key| key["name"] == name).expect("the key");
    key["id"].as_str().expect("its id").to_owned()
}

/// When something was sent, for rows whose times cannot be known beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Since(SystemTime);

impl Since {
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// Takes out what differs from run to run: checks that `received_at`, and `time` where it is the
    /// sender's present, lie between then and now, and that the peer is on this machine.
    pub fn settle(self, row: &Value, time_is_known: bool) -> Value {
        let mut row = row.as_object().expect("a row").clone();
        let checked: &[&str] = if time_is_known {
            &["received_at"]
        } else {
            &["received_at", "time"]
        };
        for name in checked {
            let text = row.remove(*name).unwrap_or_default();
            let time =
                DateTime::parse_from_rfc3339(text.as_str().expect("a time")).expect("a time");
            // Clocks of SDKs are told apart from the system's by some milliseconds.
            let slack = chrono::TimeDelta::seconds(2);
            assert!(
                time >= DateTime::<Utc>::from(self.0) - slack,
                "{name} {text}"
            );
            assert!(time <= Utc::now() + slack, "{name} {text}");
        }
        let peer = row.remove("peer").unwrap_or_default();
        assert!(
            peer.as_str().is_some_and(|p| p.starts_with("127.0.0.1:")),
            "{peer}"
        );
        Value::Object(row)
    }
}

/// A row of `table` as TABLES has it, null in all columns but these. Columns that [`Since::settle`] takes
/// out are left to the caller.
pub fn row(table: &str, columns: Value) -> Value {
    let names = match table {
        "events" => "type name user_id device_id session_id group_id service properties",
        "logs" => {
            "type level message service host session_id attributes facility app procid msgid \
             structured_data"
        }
        "metrics" => {
            "type name value labels temporality count sum min max buckets service host session_id"
        }
        "spans" => {
            "duration_ns trace_id span_id parent_span_id name kind status service host session_id \
             attributes"
        }
        "snapshots" => "connector entity properties",
        "rejected" => "reason schema payload",
        other => panic!("no table {other}"),
    };
    let nulls = names
        .split_whitespace()
        .map(|name| (name.to_owned(), Value::Null));
    let mut row: serde_json::Map<String, Value> = nulls.collect();
    let Value::Object(columns) = columns else {
        panic!("columns are an object")
    };
    row.extend(columns);
    Value::Object(row)
}
