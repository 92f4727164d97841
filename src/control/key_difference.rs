//! What a reload of the key file changed, for the audit log: by name and public id.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::audit::{Action, AuditEntry, AuditLog};
use crate::auth::Grant;
use crate::auth::keyring::Difference;
use crate::limits;

/// A reload, ready to be noted: it no longer borrows the keyrings.
#[derive(Debug)]
pub(super) struct Reloaded {
    details: Vec<Value>,
}

impl Reloaded {
    pub fn new(difference: &Difference<'_>) -> Self {
        let changes: Vec<(&str, Value)> = difference
            .added
            .iter()
            .map(|key| ("added", describe(key)))
            .chain(
                difference
                    .removed
                    .iter()
                    .map(|key| ("removed", describe(key))),
            )
            .chain(difference.moved.iter().map(|(from, key)| {
                let mut moved = describe(key);
                moved["from_workspace"] = from.get().into();
                ("moved", moved)
            }))
            .collect();
        let details = changes.chunks(limits::AUDIT_ENTRY_KEYS).map(|chunk| {
            let of = |kind: &str| -> Vec<&Value> {
                chunk
                    .iter()
                    .filter(|(k, _)| *k == kind)
                    .map(|(_, key)| key)
                    .collect()
            };
            json!({"added": of("added"), "removed": of("removed"), "moved": of("moved")})
        });
        Self {
            details: details.collect(),
        }
    }

    /// Appends it to the audit log of a data directory.
    pub fn audit(self, data_dir: &Path) -> io::Result<()> {
        let entries: Vec<AuditEntry<'_>> = self
            .details
            .into_iter()
            .map(|details| AuditEntry {
                actor: "server",
                action: Action::KeysReloaded,
                key_id: None,
                name: None,
                workspace: None,
                details: Some(details),
            })
            .collect();
        AuditLog::open(data_dir)?.append(&entries).map(|_| ())
    }
}

fn describe(grant: &Grant<'_>) -> Value {
    json!({
        "key_id": grant.key_id().to_string(),
        "name": grant.name(),
        "workspace": grant.workspace().get(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{KeySpec, Keyring, StreamingKey, Workspace};

    fn spec(n: u8, workspace: u32) -> KeySpec {
        KeySpec {
            key: StreamingKey::from_bytes([n; 16]),
            workspace: Workspace::new(workspace).unwrap(),
            name: Some(format!("key {n}").into()),
        }
    }

    #[test]
    fn a_reload_is_noted_with_what_came_went_and_moved() {
        let directory = tempfile::tempdir().unwrap();
        let before = Keyring::new(vec![spec(1, 1), spec(2, 2)], None);
        let after = Keyring::new(vec![spec(2, 9), spec(3, 3)], Some(&before));
        Reloaded::new(&after.difference(&before))
            .audit(directory.path())
            .unwrap();
        let log = std::fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
        let line: Value = serde_json::from_str(log.trim_end()).unwrap();
        assert_eq!(line["action"], "keys.reloaded");
        assert_eq!(line["details"]["added"][0]["name"], "key 3");
        assert_eq!(line["details"]["removed"][0]["name"], "key 1");
        assert_eq!(line["details"]["moved"][0]["from_workspace"], 2);
        assert_eq!(line["details"]["moved"][0]["workspace"], 9);
    }
}
