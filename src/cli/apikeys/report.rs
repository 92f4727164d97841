//! A key as it is reported: what the key file, the usage file and the audit log say of it.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Serialize;

use super::Failure;
use crate::control::keys::file::KeyEntry;
use crate::control::keys::usage::{self, Usage};
use crate::control::timestamp::Timestamp;
use crate::control::{Files, audit};
use crate::origin::KeyId;

/// The JSON object of a key, as the module documents it.
#[derive(Debug, Serialize)]
pub(super) struct KeyReport {
    pub(super) name: Option<String>,
    pub(super) id: String,
    pub(super) masked: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    pub(super) workspace: u32,
    pub(super) line: Option<u32>,
    pub(super) created_at: Option<Timestamp>,
    pub(super) last_used_at: Option<Timestamp>,
    pub(super) last_source: Option<&'static str>,
    pub(super) last_peer: Option<IpAddr>,
    pub(super) accepted: Accepted,
    pub(super) refused: u64,
    pub(super) replaced_characters: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Accepted {
    pub(super) frames: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// What is known beside the key file. Of a new key that is nothing: the default.
#[derive(Default)]
pub(super) struct Memory {
    usage: Usage,
    creations: HashMap<KeyId, Timestamp>,
}

impl Memory {
    pub(super) fn load(files: &Files) -> Result<Self, Failure> {
        let data_dir = &files.data_dir;
        Ok(Self {
            usage: usage::load(data_dir).map_err(|source| Failure::Usages {
                data_dir: data_dir.clone(),
                source,
            })?,
            creations: audit::key_creations(data_dir).map_err(|source| Failure::Audit {
                doing: "read",
                data_dir: data_dir.clone(),
                source,
            })?,
        })
    }

    /// The key stays masked; the audit log's time of creation goes before the server's first sight.
    pub(super) fn report(&self, entry: &KeyEntry) -> KeyReport {
        let id = entry.key.id();
        let usage = self.usage.keys.get(&id).copied().unwrap_or_default();
        KeyReport {
            name: entry.name.as_deref().map(str::to_owned),
            id: id.to_string(),
            masked: entry.key.to_string(),
            key: None,
            workspace: entry.workspace.get(),
            line: Some(entry.line),
            created_at: self.creations.get(&id).copied().or(usage.created_at),
            last_used_at: usage.last_used_at,
            last_source: usage.last_source.map(|source| source.as_str()),
            last_peer: usage.last_peer,
            accepted: Accepted {
                frames: usage.frames,
                events: usage.events,
                bytes: usage.bytes,
            },
            refused: usage.refused,
            replaced_characters: usage.replaced,
        }
    }
}

/// What stands for something that is not known or not there.
pub(super) const NONE: &str = "-";

/// The name and the id of a key in a sentence, or the id alone.
pub(super) fn title(report: &KeyReport) -> String {
    match &report.name {
        Some(name) => format!("\"{name}\" ({})", report.id),
        None => report.id.clone(),
    }
}
