//! Key files as people write them, and each fault with its line.

use proptest::prelude::*;

use super::*;
use crate::control::keys::file::fuzz::fuzz_key_file;

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const B: &str = "b2c3d4e5f6071829304a5b6c7d8e9f01";

fn key(hex: &str) -> StreamingKey {
    StreamingKey::parse_hex(hex.as_bytes()).unwrap()
}

fn faults(text: impl AsRef<[u8]>) -> Vec<(u32, LineFault)> {
    let faults = KeyFile::parse(text.as_ref()).unwrap_err();
    faults.0.iter().map(|f| (f.line, f.fault)).collect()
}

#[test]
fn the_documented_example_parses() {
    let text = format!("# Production workspace\n{A}:1\n\n# Staging workspace\n{B}:2:staging\n");
    let file = KeyFile::parse(text.as_bytes()).unwrap();
    let expected = [(key(A), 1, None, 2), (key(B), 2, Some("staging".into()), 5)];
    let expected = expected.map(|(key, workspace, name, line)| KeyEntry {
        key,
        workspace: Workspace::new(workspace).unwrap(),
        name,
        line,
    });
    assert_eq!(file.entries, expected);
}

#[test]
fn keys_example_parses_and_holds_no_key() {
    let file = KeyFile::parse(include_bytes!("../../../../keys.example")).unwrap();
    assert_eq!(file.entries, []);
}

#[test]
fn crlf_bom_blanks_upper_case_and_a_missing_last_newline_are_accepted() {
    let text = format!(
        "\u{feff}\t {}:ws-7:x y \t\r\n  # note\r\n \r\n{B}:2",
        A.to_uppercase()
    );
    let file = KeyFile::parse(text.as_bytes()).unwrap();
    assert_eq!(file.entries[0].key, key(A));
    assert_eq!(file.entries[0].workspace.get(), 7);
    assert_eq!(file.entries[0].name.as_deref(), Some("x y"));
    assert_eq!(file.entries[1].line, 4);
    assert_eq!(file.entries.len(), 2);
}

#[test]
fn a_file_without_keys_has_no_entries() {
    for text in ["", "\n\n", "# nothing\n", "\u{feff}"] {
        assert_eq!(KeyFile::parse(text.as_bytes()).unwrap().entries, []);
    }
}

#[test]
fn comments_may_hold_anything_of_any_length() {
    let mut text = b"# caf\xe9 ".to_vec();
    text.resize(10_000, b'x');
    text.extend_from_slice(format!("\n{A}:1\n").as_bytes());
    assert_eq!(KeyFile::parse(&text).unwrap().entries.len(), 1);
}

#[test]
fn every_fault_is_reported_with_its_line() {
    let text = format!(
        "{A}:1:one\n\
         {A}:1:two\n\
         {A}:2\n\
         {B}\n\
         {B}:0:one\n\
         nonsense\n\
         c{A}:x:a:b\n\
         c2c3d4e5f6071829304a5b6c7d8e9f01:\n\
         d2c3d4e5f6071829304a5b6c7d8e9f01:3:\n\
         e2c3d4e5f6071829304a5b6c7d8e9f01:3:{}\n",
        "x".repeat(1024)
    );
    assert_eq!(
        faults(&text),
        [
            (2, LineFault::KeyTwice { line: 1 }),
            (3, LineFault::KeyInTwoWorkspaces { line: 1 }),
            (4, LineFault::WorkspaceMissing),
            (5, LineFault::WorkspaceMalformed),
            (5, LineFault::KeyInTwoWorkspaces { line: 4 }),
            (5, LineFault::NameTwice { line: 1 }),
            (6, LineFault::KeyMalformed),
            (7, LineFault::KeyMalformed),
            (7, LineFault::WorkspaceMalformed),
            (7, LineFault::Name(NameFault::Colon)),
            (8, LineFault::WorkspaceMissing),
            (9, LineFault::Name(NameFault::Empty)),
            (10, LineFault::LineTooLong),
        ]
    );
}

#[test]
fn a_later_duplicate_is_held_against_the_first_line() {
    let text = format!("{A}:1\n{A}:2\n{A}:2\n");
    let other = LineFault::KeyInTwoWorkspaces { line: 1 };
    assert_eq!(faults(text), [(2, other), (3, other)]);
}

#[test]
fn duplicates_are_found_in_a_large_file() {
    let line = |number: u32| {
        let key = StreamingKey::from_bytes(u128::from(number).to_be_bytes());
        render_line(
            &key,
            Workspace::new(1).unwrap(),
            Some(&format!("name {number}")),
        ) + "\n"
    };
    let count = 5000;
    let mut text: String = (1..=count).map(line).collect();
    assert_eq!(KeyFile::parse(text.as_bytes()).unwrap().entries.len(), 5000);
    text += &(1..=count).map(line).collect::<String>();
    let expected: Vec<_> = (1..=count)
        .flat_map(|line| {
            let twice = [LineFault::KeyTwice { line }, LineFault::NameTwice { line }];
            twice.map(|fault| (count + line, fault))
        })
        .collect();
    assert_eq!(faults(text), expected);
}

#[test]
fn bytes_that_are_not_utf8_are_a_fault() {
    let mut text = format!("{A}:1\n{B}:2:caf").into_bytes();
    text.push(0xe9);
    assert_eq!(faults(text), [(2, LineFault::NotUtf8)]);
}

#[test]
fn a_file_of_something_else_stops_at_a_bounded_number_of_faults() {
    let found = faults("x\n".repeat(FAULTS_MAX + 5));
    assert_eq!(found.len(), FAULTS_MAX + 1);
    assert_eq!(found.last().unwrap().1, LineFault::TooManyFaults);
}

#[test]
fn a_file_over_the_limit_is_refused_whole() {
    assert_eq!(
        faults(vec![b'\n'; KEY_FILE_LEN_MAX + 1]),
        [(0, LineFault::FileTooLong)]
    );
}

#[test]
fn no_fault_quotes_the_file() {
    // Keys with typing errors, in every field.
    let short = &A[..31];
    let long = format!("{A}0");
    let text = format!(
        "{short}:1\n{long}:1\n{B}:{short}\n{B}:1:{A}\n{A}:{B}:{B}\n{short}:{long}:{A}:{B}\n"
    );
    let faults = KeyFile::parse(text.as_bytes()).unwrap_err();
    let shown = format!("{faults} {faults:?}");
    for secret in [A, B] {
        for part in secret.as_bytes().windows(6) {
            let part = str::from_utf8(part).unwrap();
            assert!(!shown.contains(part), "{shown}");
        }
    }
}

#[test]
fn a_long_list_of_faults_is_shown_in_one_bounded_line() {
    let faults = KeyFile::parse("x\n".repeat(500).as_bytes()).unwrap_err();
    let shown = faults.to_string();
    assert!(shown.contains("and 490 more"), "{shown}");
    assert!(!shown.contains('\n') && shown.len() < 2000);
}

#[test]
fn anything_but_a_regular_file_is_refused_unread() {
    let dir = tempfile::tempdir().unwrap();
    let error = KeyFile::read(dir.path()).unwrap_err();
    assert!(matches!(error, KeyFileError::NotAFile { .. }), "{error}");
    let error = KeyFile::read(&dir.path().join("absent")).unwrap_err();
    assert!(matches!(error, KeyFileError::Read { .. }), "{error}");
}

#[test]
fn the_fuzz_body_holds_for_its_seeds() {
    for seed in [
        &b""[..],
        b"\xef\xbb\xbf#\r\n",
        b"a1b2c3d4e5f60718293a4b5c6d7e8f90:1\na1b2c3d4e5f60718293a4b5c6d7e8f90:2:x",
        b"a1b2c3d4e5f60718293a4b5c6d7e8f90:1:\xff\n:::\n\r\r\n",
        b" a1b2c3d4e5f60718293a4b5c6d7e8f90:4294967295:a b \r\n",
    ] {
        fuzz_key_file(seed);
    }
}

/// Text that is nearly a key file, so that bytes by chance reach every branch.
fn nearly_a_file() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[0-9a-fA-F]{32}:(ws-)?[1-9][0-9]{0,9}(:[ -9;-~]{0,12})?",
        1 => "[ab]{2}[0]{30}:[12]:[ab]",
        1 => "[ \t]{0,3}(#.{0,10})?",
        1 => "[0-9a-f]{30,34}:?[0-9]{0,2}:?.{0,4}",
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("")];
    proptest::collection::vec((line, end), 0..12).prop_map(|lines| {
        let text: String = lines.into_iter().map(|(a, b)| a + b).collect();
        text.into_bytes()
    })
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_panic(bytes: Vec<u8>) {
        fuzz_key_file(&bytes);
    }

    #[test]
    fn what_nearly_is_a_key_file_renders_and_parses_to_itself(bytes in nearly_a_file()) {
        fuzz_key_file(&bytes);
    }

    #[test]
    fn an_entry_renders_and_parses_to_itself(
        bytes: [u8; 16],
        workspace in 1..=u32::MAX,
        name in proptest::option::of("\\PC{1,30}"),
    ) {
        let name = name.filter(|name| check_name(name).is_ok());
        let key = StreamingKey::from_bytes(bytes);
        let workspace = Workspace::new(workspace).unwrap();
        let line = render_line(&key, workspace, name.as_deref());
        let file = KeyFile::parse(line.as_bytes()).unwrap();
        let expected = KeyEntry { key, workspace, name: name.map(String::into_boxed_str), line: 1 };
        prop_assert_eq!(file.entries, [expected]);
    }
}
