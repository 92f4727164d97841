//! What a reload of the key file changed, for the audit log: by name and public id.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::auth::Grant;
use crate::auth::keyring::Difference;
use crate::control::audit::{Action, AuditEntry, AuditLog};
use crate::limits;
use crate::origin::Workspace;

/// One key that a reload changed.
#[derive(Clone, Copy)]
enum Change<'a> {
    Added(&'a Grant<'a>),
    Removed(&'a Grant<'a>),
    Moved(Workspace, &'a Grant<'a>),
}

/// Appends it to the audit log of a data directory. Only a part of a large change is in memory as JSON at a
/// time: that takes many times the room of the keys.
pub(super) fn audit(difference: &Difference<'_>, data_dir: &Path) -> io::Result<()> {
    let added = difference.added.iter().map(Change::Added);
    let removed = difference.removed.iter().map(Change::Removed);
    let moved = difference.moved.iter();
    let moved = moved.map(|(from, key)| Change::Moved(*from, key));
    let changes: Vec<Change<'_>> = added.chain(removed).chain(moved).collect();
    let log = AuditLog::open(data_dir)?;
    for changes in changes.chunks(limits::AUDIT_ENTRY_KEYS * limits::AUDIT_ENTRIES_AT_ONCE) {
        let entries: Vec<AuditEntry<'_>> = changes
            .chunks(limits::AUDIT_ENTRY_KEYS)
            .map(|changes| AuditEntry {
                actor: "server",
                action: Action::KeysReloaded,
                key_id: None,
                name: None,
                workspace: None,
                details: Some(details(changes)),
            })
            .collect();
        log.append(&entries)?;
    }
    Ok(())
}

fn details(changes: &[Change<'_>]) -> Value {
    let (mut added, mut removed, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::Added(key) => added.push(describe(key)),
            Change::Removed(key) => removed.push(describe(key)),
            Change::Moved(from, key) => {
                let mut key = describe(key);
                key["from_workspace"] = from.get().into();
                moved.push(key);
            }
        }
    }
    // Moved into the object, where json! would copy them.
    let mut details = Map::new();
    for (kind, keys) in [("added", added), ("removed", removed), ("moved", moved)] {
        details.insert(kind.to_owned(), Value::Array(keys));
    }
    Value::Object(details)
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
    use crate::auth::{KeySpec, Keyring};
    use crate::wire::key::StreamingKey;

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
        audit(&after.difference(&before), directory.path()).unwrap();
        let log = std::fs::read_to_string(directory.path().join("audit.jsonl")).unwrap();
        let line: Value = serde_json::from_str(log.trim_end()).unwrap();
        assert_eq!(line["action"], "keys.reloaded");
        assert_eq!(line["details"]["added"][0]["name"], "key 3");
        assert_eq!(line["details"]["removed"][0]["name"], "key 1");
        assert_eq!(line["details"]["moved"][0]["from_workspace"], 2);
        assert_eq!(line["details"]["moved"][0]["workspace"], 9);
    }
}
