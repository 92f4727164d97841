//! What a reload of the key file changed, for the audit log: by name and public id.

use serde_json::{Map, Value, json};

use crate::auth::Grant;
use crate::auth::keyring::Difference;
use crate::control::audit::Action;
use crate::control::audit::recorder::{Details, Note};
use crate::limits;
use crate::origin::{KeyId, Workspace};

/// One key that a reload changed.
#[derive(Debug)]
struct Change {
    kind: Kind,
    key_id: KeyId,
    name: Option<Box<str>>,
    workspace: Workspace,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Added,
    Removed,
    MovedFrom(Workspace),
}

/// The changes that one entry names.
#[derive(Debug)]
struct Changes(Vec<Change>);

/// The entries that say it: a large change takes several.
pub(super) fn notes(difference: &Difference<'_>) -> Vec<Note> {
    let added = difference.added.iter().map(|key| change(Kind::Added, key));
    let removed = difference.removed.iter();
    let removed = removed.map(|key| change(Kind::Removed, key));
    let moved = difference.moved.iter();
    let moved = moved.map(|(from, key)| change(Kind::MovedFrom(*from), key));
    let mut changes = added.chain(removed).chain(moved).peekable();
    let mut notes = Vec::new();
    while changes.peek().is_some() {
        let some: Vec<Change> = changes.by_ref().take(limits::AUDIT_ENTRY_KEYS).collect();
        notes.push(Note {
            action: Action::KeysReloaded,
            key_id: None,
            name: None,
            workspace: None,
            details: Box::new(Changes(some)),
        });
    }
    notes
}

fn change(kind: Kind, grant: &Grant<'_>) -> Change {
    Change {
        kind,
        key_id: grant.key_id(),
        name: grant.name().map(Into::into),
        workspace: grant.workspace(),
    }
}

impl Details for Changes {
    fn to_json(&self) -> Option<Value> {
        let (mut added, mut removed, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for change in &self.0 {
            let mut key = json!({
                "key_id": change.key_id.to_string(),
                "name": change.name,
                "workspace": change.workspace.get(),
            });
            match change.kind {
                Kind::Added => added.push(key),
                Kind::Removed => removed.push(key),
                Kind::MovedFrom(from) => {
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
        Some(Value::Object(details))
    }

    fn keys(&self) -> usize {
        self.0.len()
    }
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
        let before = Keyring::new(vec![spec(1, 1), spec(2, 2)], None);
        let after = Keyring::new(vec![spec(2, 9), spec(3, 3)], Some(&before));
        let notes = notes(&after.difference(&before));
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].action.as_str(), "keys.reloaded");
        assert_eq!(notes[0].details.keys(), 3);
        let details = notes[0].details.to_json().unwrap();
        assert_eq!(details["added"][0]["name"], "key 3");
        assert_eq!(details["removed"][0]["name"], "key 1");
        assert_eq!(details["moved"][0]["from_workspace"], 2);
        assert_eq!(details["moved"][0]["workspace"], 9);
    }

    #[test]
    fn a_large_change_takes_several_entries() {
        let specs = (0..=limits::AUDIT_ENTRY_KEYS as u64).map(|n| {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&n.to_le_bytes());
            KeySpec {
                key: StreamingKey::from_bytes(key),
                workspace: Workspace::new(1).unwrap(),
                name: None,
            }
        });
        let after = Keyring::new(specs.collect(), None);
        let notes = notes(&after.difference(&Keyring::new(Vec::new(), None)));
        let keys: Vec<usize> = notes.iter().map(|note| note.details.keys()).collect();
        assert_eq!(keys, [limits::AUDIT_ENTRY_KEYS, 1]);
    }
}
