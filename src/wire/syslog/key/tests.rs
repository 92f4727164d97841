//! Keys in every form, and what is kept without them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::syslog::cut::MAX_CUTS;
use crate::wire::syslog::fuzz::{fuzz_framing, fuzz_key};

const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const OTHER: &str = "00000000000000000000000000000001";

fn key(hex: &str) -> StreamingKey {
    StreamingKey::parse_hex(hex.as_bytes()).unwrap()
}

/// Resolves with a keyring that knows only [`KEY`]: whether it was found, and what is kept.
fn resolve(message: &str) -> Result<(bool, String), KeyError> {
    let message = message.replace("KEY", KEY).replace("OTHER", OTHER);
    let extracted = extract(message.as_bytes())?;
    let (found, kept) = extracted.resolve(|found| (*found == key(KEY)).then_some(()))?;
    let mut out = b"before".to_vec();
    kept.append_to(&mut out, |found| *found == key(KEY));
    let kept = String::from_utf8(out).unwrap();
    Ok((found.is_some(), kept["before".len()..].to_owned()))
}

fn assert_cut(message: &str, kept: &str) {
    assert_eq!(resolve(message), Ok((true, kept.to_owned())), "{message:?}");
}

fn assert_untouched(message: &str) {
    let whole = message.replace("KEY", KEY).replace("OTHER", OTHER);
    assert_eq!(resolve(message), Ok((false, whole)), "{message:?}");
}

#[test]
fn a_prefix_before_pri_is_cut() {
    assert_cut("KEY <34>1 - - - - - - m", "<34>1 - - - - - - m");
    assert_cut("KEY  KEY <34>m", "<34>m");
    assert_cut(
        "A1B2C3D4E5F60718293A4B5C6D7E8F90 <34>Oct 11 22:14:15 h a: m",
        "<34>Oct 11 22:14:15 h a: m",
    );
}

#[test]
fn a_parameter_of_the_tell_element_is_cut_with_what_it_leaves_empty() {
    for (sd, kept) in [
        (r#"[tell@32473 key="KEY"]"#, "-"),
        (r#"[tell@1 key="KEY"][a x="1"]"#, r#"[a x="1"]"#),
        (r#"[a x="1"][tell@1 key="KEY"]"#, r#"[a x="1"]"#),
        (r#"[tell@1 key="KEY" x="1"]"#, r#"[tell@1 x="1"]"#),
        (r#"[tell@1 x="1" key="KEY"]"#, r#"[tell@1 x="1"]"#),
        (
            r#"[tell@1 x="\"]" key="KEY" y="\\"]"#,
            r#"[tell@1 x="\"]" y="\\"]"#,
        ),
        (r#"[tell@1  key = "KEY" ]"#, "-"),
        (r#"[tell@1 key="KEY" key="KEY"]"#, "-"),
    ] {
        assert_cut(
            &format!("<34>1 - h a - - {sd} m"),
            &format!("<34>1 - h a - - {kept} m"),
        );
    }
}

#[test]
fn a_key_as_the_name_of_an_element_is_cut_and_its_parameters_stay() {
    assert_cut("<34>1 - - - - - [KEY@41058] m", "<34>1 - - - - - - m");
    assert_cut(
        r#"<34>1 - - - - - [KEY@41058 tag="x"] m"#,
        r#"<34>1 - - - - - [tell@41058 tag="x"] m"#,
    );
}

#[test]
fn a_known_key_at_the_start_of_the_text_is_cut() {
    for (message, kept) in [
        ("<34>1 - - - - - - KEY m", "<34>1 - - - - - - m"),
        (
            "<34>1 - - - - - - \u{feff}KEY m",
            "<34>1 - - - - - - \u{feff}m",
        ),
        (
            r#"<34>1 - - - - - [a x="1"] KEY m"#,
            r#"<34>1 - - - - - [a x="1"] m"#,
        ),
        (
            "<34>Oct 11 22:14:15 h a[1]: KEY m",
            "<34>Oct 11 22:14:15 h a[1]: m",
        ),
        ("<34>Oct 11 22:14:15 a: KEY m", "<34>Oct 11 22:14:15 a: m"),
        ("<34>Oct 11 22:14:15 h KEY m", "<34>Oct 11 22:14:15 h m"),
        (
            "<34>Oct 11 22:14:15 h KEY a: m",
            "<34>Oct 11 22:14:15 h a: m",
        ),
        ("<34>Oct 11 22:14:15 KEY m n", "<34>Oct 11 22:14:15 m n"),
        (
            "<155>Nov 25 07:23:50 host KEY disk is full",
            "<155>Nov 25 07:23:50 host disk is full",
        ),
        (
            "<30>Nov 25 07:00:03.833 sw1 KEY app[3]: m",
            "<30>Nov 25 07:00:03.833 sw1 app[3]: m",
        ),
        (
            "<189>7: *Nov 25 07:00:03.833 CET: KEY %SYS-5-X: m",
            "<189>7: *Nov 25 07:00:03.833 CET: %SYS-5-X: m",
        ),
        (
            "<189>7: sw1: Nov 25 2026 07:00:03 UTC: %SYS-5-X: KEY m",
            "<189>7: sw1: Nov 25 2026 07:00:03 UTC: %SYS-5-X: m",
        ),
        (
            "<13>Nov 25 07:00:03 2026 h KEY app: m",
            "<13>Nov 25 07:00:03 2026 h app: m",
        ),
        ("<34>KEY m", "<34>m"),
        ("KEY m", "m"),
        ("KEY", ""),
    ] {
        assert_cut(message, kept);
    }
}

#[test]
fn a_checksum_at_the_start_of_the_text_stays() {
    assert_untouched("<34>1 - - - - - - OTHER m");
    assert_untouched("<34>Oct 11 22:14:15 h a: OTHER m");
    assert_untouched("OTHER  file.txt");
    assert_cut(
        r#"<34>1 - - - - - [tell@1 key="KEY"] OTHER m"#,
        &format!("<34>1 - - - - - - {OTHER} m"),
    );
}

#[test]
fn a_key_that_is_in_no_place_for_one_is_masked_and_counts_for_nothing() {
    for message in [
        "",
        "<34>1 2026-01-02T03:04:05Z h a 1 ID - m",
        r#"<34>1 - - - - - [a key="KEY"][tell key="KEY"][tell@x key="KEY"] m"#,
        r#"<34>1 - - - - - - [tell@1 key="KEY"] m"#,
        "<34>KEYs m",
        "0KEY <34>m",
        "<34>m KEY",
        "<34>m OTHER",
    ] {
        let kept = message.replace("KEY", &"*".repeat(KEY_HEX_LEN));
        let kept = kept.replace("OTHER", OTHER);
        assert_eq!(resolve(message), Ok((false, kept)), "{message:?}");
    }
}

#[test]
fn a_bad_explicit_key_refuses_the_message() {
    for (message, error) in [
        (r#"<34>1 - - - - - [tell@1 key=""] m"#, KeyError::Malformed),
        (
            r#"<34>1 - - - - - [tell@1 key="KEY0"] m"#,
            KeyError::Malformed,
        ),
        (r#"<34>1 - - - - - [tell@1 key="KEY"#, KeyError::Malformed),
        (
            r#"<34>1 - - - - - [tell@1 key="\"KEY"] m"#,
            KeyError::Malformed,
        ),
        (
            r#"<34>1 - - - - - [tell@1 key="OTHER"] m"#,
            KeyError::Unknown,
        ),
        ("OTHER <34>m", KeyError::Unknown),
        ("OTHER KEY <34>m", KeyError::Conflicting),
        (
            r#"OTHER <34>1 - - - - - [tell@1 key="KEY"] m"#,
            KeyError::Conflicting,
        ),
        (
            r#"<34>1 - - - - - [OTHER@1][tell@1 key="KEY"] m"#,
            KeyError::Conflicting,
        ),
    ] {
        assert_eq!(resolve(message), Err(error), "{message:?}");
        assert!(!error.to_string().contains(KEY));
    }
    let element = r#"[tell@1 key="KEY" x=""]"#;
    let message = format!("<34>1 - - - - - {} m", element.repeat(MAX_CUTS + 1));
    assert_eq!(resolve(&message), Err(KeyError::TooMany));
}

#[test]
fn a_second_known_key_in_the_text_refuses_the_message() {
    let message = format!("{KEY} <34>1 - - - - - - {OTHER} m");
    let extracted = extract(message.as_bytes()).unwrap();
    assert_eq!(extracted.explicit(), Some(key(KEY)));
    assert_eq!(extracted.tentative(), Some(key(OTHER)));
    assert_eq!(
        extracted.resolve(|_| Some(())).unwrap_err(),
        KeyError::Conflicting
    );
}

#[test]
fn all_forms_at_once_are_cut_when_they_agree() {
    assert_cut(
        r#"KEY <34>1 - - - - - [KEY@1 tag="x"][tell@1 key="KEY" y="2"] KEY m"#,
        r#"<34>1 - - - - - [tell@1 tag="x"][tell@1 y="2"] m"#,
    );
}

#[test]
fn keys_in_malformed_structured_data_are_cut_all_the_same() {
    for (sd, kept) in [
        (r#"[a b][tell@1 key="KEY"]"#, "[a b]"),
        (r#"[a b="1][tell@1 key="KEY"]"#, r#"[a b="1]"#),
        (r#"[tell@1 key="KEY" x="cut"#, r#"[tell@1 x="cut"#),
        (r#"[KEY@1 x="cut"#, r#"[tell@1 x="cut"#),
    ] {
        assert_cut(
            &format!("<34>1 - - - - - {sd}"),
            &format!("<34>1 - - - - - {kept}"),
        );
    }
}

#[test]
fn a_key_that_the_text_repeats_is_masked() {
    assert_cut(
        "KEY <34>config: key=KEY, A1B2C3D4E5F60718293A4B5C6D7E8F90",
        &format!("<34>config: key={0}, {0}", "*".repeat(KEY_HEX_LEN)),
    );
}

#[test]
fn no_known_key_is_kept_whichever_the_message_came_with() {
    let second = "b2c3d4e5f6071829304a5b6c7d8e9f01";
    let stars = "*".repeat(KEY_HEX_LEN);
    let known = |found: &StreamingKey| *found == key(KEY) || *found == key(second);
    for (message, expected) in [
        ("<13>KEY SECOND hi", "<13>STARS hi"),
        ("KEY <13>SECONDKEY and SECOND", "<13>STARSSTARS and STARS"),
        (
            "<13>Oct 11 22:14:15 h a: KEY login ?token=SECOND",
            "<13>Oct 11 22:14:15 h a: login ?token=STARS",
        ),
        (
            r#"<13>1 - - - - - [tell@1 key="KEY" other="SECOND"][a k="KEY" id="OTHER"] m"#,
            r#"<13>1 - - - - - [tell@1 other="STARS"][a k="STARS" id="OTHER"] m"#,
        ),
        // What the fuzzer found: with its first key gone, the text reads as a header with another.
        (
            r#"KEY <34>KEY 1 - - - - - [tell@1 key="SECOND"] m"#,
            r#"<34>1 - - - - - [tell@1 key="STARS"] m"#,
        ),
        // Of a connection or a bound listener: no key of its own.
        (
            "<13>a checksum OTHER and SECOND",
            "<13>a checksum OTHER and STARS",
        ),
    ] {
        let written = |text: &str| {
            text.replace("KEY", KEY)
                .replace("SECOND", second)
                .replace("OTHER", OTHER)
                .replace("STARS", &stars)
        };
        let message = written(message);
        let (_, kept) = extract(message.as_bytes())
            .unwrap()
            .resolve(|key| known(key).then_some(()))
            .unwrap();
        let mut out = Vec::new();
        kept.append_to(&mut out, known);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            written(expected),
            "{message}"
        );
        fuzz_key(message.as_bytes());
    }
}

#[test]
fn debug_output_shows_neither_message_nor_key() {
    let message = format!("{KEY} <34>secret");
    let extracted = extract(message.as_bytes()).unwrap();
    let shown = format!("{extracted:?}");
    let (_, kept) = extracted.resolve(|_| Some(())).unwrap();
    assert!(!(shown + &format!("{kept:?}")).contains("secret"));
    assert!(!format!("{:?}", extract(message.as_bytes())).contains(KEY));
}

/// Messages made of the parts that matter.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::sample::select(vec![
            KEY, OTHER, "[", "]", "\"", " ", "\\", "=", "-", "<34>", "<34>1 - - - - - ",
            "<34>Oct 11 22:14:15 h ", "a: ", "tell@1", "@1", " key=\"", "[tell@1 key=\"", "x=\"",
            "\u{feff}", "1 ",
        ]).prop_map(|part| part.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(part, 0..14).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_kept_holds_no_key(message in message()) {
        fuzz_key(&message);
    }

    #[test]
    fn arbitrary_bytes_hold_the_invariants(data in vec(any::<u8>(), 0..120)) {
        fuzz_key(&data);
        fuzz_framing(&data);
    }

    #[test]
    fn framed_parts_hold_the_invariants(mut data in vec(any::<u8>(), 2), stream in message()) {
        data.extend_from_slice(&stream);
        fuzz_framing(&data);
    }
}
