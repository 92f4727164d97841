//! Edits of key files on disk: one at a time, all or nothing, and nothing touched but the line concerned.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use proptest::prelude::*;

use super::*;

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const B: &str = "b2c3d4e5f6071829304a5b6c7d8e9f01";

fn key(byte: u8) -> StreamingKey {
    StreamingKey::from_bytes([byte; 16])
}

fn workspace(number: u32) -> Workspace {
    Workspace::new(number).unwrap()
}

fn name(name: &str) -> KeySelector {
    KeySelector::Name(name.to_owned())
}

/// A directory with a key file in it.
fn with_file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, text).unwrap();
    (dir, path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_first_start_creates_a_private_file_with_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/keys");
    let key = create_default(&path).unwrap();
    let file = KeyFile::read(&path).unwrap();
    assert_eq!(file.entries.len(), 1);
    assert_eq!(file.entries[0].key, key);
    assert_eq!(file.entries[0].workspace, workspace(1));
    assert_eq!(file.entries[0].name.as_deref(), Some("default"));
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&dir.path().join("data")), 0o700);
    assert!(matches!(
        create_default(&path),
        Err(EditError::Exists { .. })
    ));
    assert_eq!(KeyFile::read(&path).unwrap(), file);
}

#[test]
fn a_key_is_added_and_removed_without_touching_another_byte() {
    let before = format!("\u{feff}# one\r\n\r\n {A}:1:one \r\n# end\n\n");
    let (_dir, path) = with_file(&before);
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    let added = edit.add(key(7), workspace(2), Some("two")).unwrap();
    edit.commit().unwrap();
    drop(edit);
    assert_eq!(added.line, 6);
    assert_eq!(text(&path), format!("{before}{}:2:two\n", key(7).reveal()));
    assert_eq!(mode(&path), 0o600);
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    assert_eq!(edit.remove(&name("two")).unwrap(), added);
    edit.commit().unwrap();
    assert_eq!(text(&path), before);
}

#[test]
fn an_edit_that_is_not_committed_changes_nothing() {
    let (dir, path) = with_file("# empty\n");
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    edit.add(key(7), workspace(2), None).unwrap();
    drop(edit);
    assert_eq!(text(&path), "# empty\n");
    assert!(!dir.path().join(".keys.tmp").exists());
}

#[test]
fn rotating_replaces_the_digits_and_nothing_else() {
    let before = format!("# x\n\t{}:ws-1:one  \r\n{B}:2", A.to_uppercase());
    let (_dir, path) = with_file(&before);
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    let rotated = edit.rotate(&name("one"), key(7), false).unwrap();
    edit.commit().unwrap();
    assert_eq!(rotated.new.key, key(7));
    assert_eq!(rotated.old.key.reveal(), A);
    assert_eq!(rotated.kept, None);
    assert_eq!(
        text(&path),
        before.replace(&A.to_uppercase(), &key(7).reveal())
    );
}

#[test]
fn rotating_can_keep_the_old_key_below_until_it_is_removed() {
    let (_dir, path) = with_file(&format!("{A}:1:one\r\n{B}:2\n"));
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    let kept = edit
        .rotate(&name("one"), key(7), true)
        .unwrap()
        .kept
        .unwrap();
    assert_eq!((kept.line, kept.name.as_deref()), (2, Some("one-old")));
    let unnamed = edit.entries()[2].key;
    let kept = edit
        .rotate(&KeySelector::Key(unnamed), key(8), true)
        .unwrap()
        .kept
        .unwrap();
    assert_eq!((kept.line, kept.name), (4, None));
    edit.commit().unwrap();
    let (seven, eight) = (key(7).reveal(), key(8).reveal());
    assert_eq!(
        text(&path),
        format!("{seven}:1:one\r\n{A}:1:one-old\r\n{eight}:2\n{B}:2\n")
    );
    let again = edit.rotate(&name("one"), key(9), true).unwrap_err();
    assert!(
        matches!(again, EditError::Conflict(Conflict::Name { line: 2 })),
        "{again}"
    );
}

#[test]
fn an_old_name_that_would_be_too_long_is_refused() {
    let (_dir, path) = with_file(&format!("{A}:1:{}\n", "x".repeat(97)));
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    let selector = KeySelector::parse(A);
    let error = edit.rotate(&selector, key(7), true).unwrap_err();
    assert!(
        matches!(error, EditError::OldName(NameFault::TooLong)),
        "{error}"
    );
}

#[test]
fn a_key_or_name_that_is_there_is_refused() {
    let (_dir, path) = with_file(&format!("{A}:1:one\n"));
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    let a = StreamingKey::parse_hex(A.as_bytes()).unwrap();
    for (key, workspace_number, name, conflict) in [
        (a, 1, None, Conflict::Key { line: 1 }),
        (a, 2, None, Conflict::KeyOfAnotherWorkspace { line: 1 }),
        (key(7), 2, Some("one"), Conflict::Name { line: 1 }),
    ] {
        match edit.add(key, workspace(workspace_number), name) {
            Err(EditError::Conflict(found)) => assert_eq!(found, conflict),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        edit.add(key(7), workspace(1), Some("a\nb")),
        Err(EditError::Name(NameFault::NotPrintable))
    ));
    assert!(matches!(
        edit.remove(&name("two")),
        Err(EditError::Select(SelectError::NotFound))
    ));
}

#[test]
fn an_import_adds_all_or_nothing() {
    let (_dir, path) = with_file(&format!("{A}:1:one\n"));
    let mut edit = KeyFileEdit::begin(&path).unwrap();
    let seven = key(7).reveal();
    let bad = format!("# c\n{seven}:1:one\n{A}:2\n");
    match edit.import(&KeyFile::parse(bad.as_bytes()).unwrap()) {
        Err(EditError::Import(conflicts)) => assert_eq!(
            conflicts,
            [
                (2, Conflict::Name { line: 1 }),
                (3, Conflict::KeyOfAnotherWorkspace { line: 1 })
            ]
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(edit.entries().len(), 1);
    let good = format!("# c\n{seven}:ws-3:two\n{B}:2");
    edit.import(&KeyFile::parse(good.as_bytes()).unwrap())
        .unwrap();
    edit.commit().unwrap();
    assert_eq!(text(&path), format!("{A}:1:one\n{seven}:3:two\n{B}:2\n"));
}

#[test]
fn a_faulty_file_is_not_edited() {
    let before = format!("{A}:1\n{A}:2\nx\n");
    let (_dir, path) = with_file(&before);
    match KeyFileEdit::begin(&path) {
        Err(EditError::File(KeyFileError::Faults { faults, .. })) => {
            assert_eq!(faults.0.len(), 2);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(text(&path), before);
}

#[test]
fn a_symlinked_file_is_edited_at_its_target() {
    let (dir, target) = with_file(&format!("{A}:1:one\n"));
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("link");
    symlink(&target, &link).unwrap();
    let mut edit = KeyFileEdit::begin(&link).unwrap();
    edit.add(key(7), workspace(2), None).unwrap();
    edit.commit().unwrap();
    assert!(link.is_symlink());
    assert_eq!(KeyFile::read(&target).unwrap().entries.len(), 2);
    assert!(dir.path().join(".keys.lock").exists());
    drop(edit);
    assert!(!dir.path().join(".keys.lock").exists());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn a_symlink_to_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    symlink(dir.path().join("absent"), &link).unwrap();
    let error = KeyFileEdit::begin(&link).unwrap_err();
    assert!(
        matches!(error, EditError::DanglingSymlink { .. }),
        "{error}"
    );
    assert!(link.is_symlink());
}

#[test]
fn no_update_of_fifty_parallel_editors_is_lost() {
    let (_dir, path) = with_file(&format!("# first\n{A}:1:stays\n\n# last\n"));
    thread::scope(|scope| {
        for editor in 1..=50u8 {
            let path = &path;
            scope.spawn(move || {
                let add = |byte, name: &str| {
                    let mut edit = KeyFileEdit::begin(path).unwrap();
                    edit.add(key(byte), workspace(u32::from(editor)), Some(name))
                        .unwrap();
                    edit.commit().unwrap();
                };
                add(editor, &format!("stays {editor}"));
                add(100 + editor, &format!("goes {editor}"));
                let mut edit = KeyFileEdit::begin(path).unwrap();
                edit.remove(&KeySelector::Key(key(100 + editor))).unwrap();
                edit.commit().unwrap();
            });
        }
    });
    let mut found: Vec<_> = KeyFile::read(&path)
        .unwrap()
        .entries
        .into_iter()
        .map(|entry| (entry.key.as_bytes()[0], entry.workspace.get()))
        .collect();
    found.sort_unstable();
    let mut expected: Vec<_> = (1..=50).map(|n| (n, u32::from(n))).collect();
    expected.push((0xa1, 1));
    assert_eq!(found, expected);
    assert!(text(&path).starts_with(&format!("# first\n{A}:1:stays\n\n# last\n")));
    assert_eq!(mode(&path), 0o600);
}

/// Key files that parse, with every kind of line and line end.
fn key_file() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "[ \t]{0,2}(ws-)?[1-9][0-9]{0,3}[ \t]{0,2}",
        "#.{0,8}",
        "[ \t]{0,2}",
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n")];
    (
        any::<bool>(),
        proptest::collection::vec((line, end), 0..10),
        any::<bool>(),
    )
        .prop_map(|(bom, lines, finished)| {
            let mut text = String::new();
            let count = lines.len();
            for (number, (line, end)) in lines.into_iter().enumerate() {
                let blanks = line.len() - line.trim_start().len();
                let (blanks, rest) = line.split_at(blanks);
                text += blanks;
                if rest.starts_with(|c: char| c.is_ascii_digit() || c == 'w') {
                    text += &key(u8::try_from(number).unwrap()).reveal();
                    text.push(':');
                }
                text += rest;
                if finished || number + 1 < count {
                    text += end;
                }
            }
            let bom = if bom { "\u{feff}" } else { "" };
            [bom.as_bytes(), text.as_bytes()].concat()
        })
}

fn in_memory(bytes: &[u8]) -> KeyFileEdit {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    KeyFileEdit {
        lock: EditLock::take(&path).unwrap(),
        path,
        bytes: bytes.to_vec(),
        file: KeyFile::parse(bytes).unwrap(),
        faults: Vec::new(),
        is_new: false,
    }
}

proptest! {
    #[test]
    fn adding_keeps_every_byte_and_removing_gives_them_back(before in key_file()) {
        let mut edit = in_memory(&before);
        edit.add(key(200), workspace(9), Some("new")).unwrap();
        prop_assert!(edit.bytes.starts_with(&before));
        edit.remove(&name("new")).unwrap();
        prop_assert_eq!(&edit.bytes, &before);
    }

    #[test]
    fn rotating_there_and_back_gives_back_the_bytes(before in key_file(), pick: usize) {
        let mut edit = in_memory(&before);
        if edit.entries().is_empty() {
            return Ok(());
        }
        let old = edit.entries()[pick % edit.entries().len()].key;
        edit.rotate(&KeySelector::Key(old), key(200), true).unwrap();
        edit.remove(&KeySelector::Key(old)).unwrap();
        edit.rotate(&KeySelector::Key(key(200)), old, false).unwrap();
        prop_assert_eq!(&edit.bytes, &before);
    }

    #[test]
    fn removing_a_key_keeps_the_others(before in key_file(), pick: usize) {
        let mut edit = in_memory(&before);
        if edit.entries().is_empty() {
            return Ok(());
        }
        let mut expected = edit.entries().to_vec();
        let removed = expected.remove(pick % expected.len());
        edit.remove(&KeySelector::Key(removed.key)).unwrap();
        let facts = |entries: &[KeyEntry]| -> Vec<_> {
            entries.iter().map(|entry| (entry.key, entry.workspace)).collect()
        };
        prop_assert_eq!(facts(edit.entries()), facts(&expected));
    }
}
