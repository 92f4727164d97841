//! Text to members, elements and scalars.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Vec<(String, String)>, JsonError> {
    let mut list = Vec::new();
    members(text.as_bytes(), &mut list)?;
    let owned = list
        .iter()
        .map(|(name, value)| (name.to_string(), value.get().to_owned()));
    Ok(owned.collect())
}

#[test]
fn members_keep_the_text_of_their_values() {
    let text = r#" {"a":1.50,"b\n": [ 1e400 ] ,"a":12345678901234567890123,"s":"\ud800"} "#;
    let expected = [
        ("a", "1.50"),
        ("b\n", "[ 1e400 ]"),
        ("a", "12345678901234567890123"),
        ("s", r#""\ud800""#),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(read(text).unwrap(), expected);
}

#[test]
fn what_is_no_object_is_named() {
    for (text, found) in [
        ("", "nothing"),
        (" ", "nothing"),
        ("[{}]", "an array"),
        ("\"x\"", "a string"),
        ("-1", "a number"),
        ("null", "something else"),
    ] {
        assert_eq!(read(text), Err(JsonError::NotAnObject(found)), "{text:?}");
    }
}

#[test]
fn a_syntax_error_gives_its_column_and_none_of_the_text() {
    let error = read(r#"{"key":"secret" "x"}"#).unwrap_err().to_string();
    assert_eq!(error, "not valid JSON at column 17: expected `,` or `}`");
    assert!(read(r#"{"a":1} {"b":2}"#).is_err());
    assert!(read("{\"a\":\"\0\"}").is_err());
}

#[test]
fn depth_is_counted_outside_strings_only() {
    let nested = |depth: usize| {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    };
    assert!(read(&nested(64)).is_ok());
    assert_eq!(read(&nested(65)), Err(JsonError::TooDeep));
    assert_eq!(read(&"{\"a\":".repeat(10_000)), Err(JsonError::TooDeep));
    let text = format!(r#"{{"a":"{}\"[["}}"#, "[{".repeat(500));
    assert!(read(&text).is_ok());
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

#[test]
fn a_scalar_tells_what_a_value_is() {
    for (text, expected) in [
        ("null", Scalar::Null),
        ("true", Scalar::Bool),
        ("18446744073709551615", Scalar::Unsigned(u64::MAX)),
        ("-1", Scalar::Negative(-1)),
        ("1.5", Scalar::Float(1.5)),
        ("1e400", Scalar::BeyondDouble),
        (r#""a\tb""#, Scalar::Text("a\tb".into())),
        ("[[1],{}]", Scalar::Array),
        (r#"{"a":{}}"#, Scalar::Object),
    ] {
        assert_eq!(scalar(&raw(text)), expected, "{text}");
    }
}

#[test]
fn names_that_come_twice_and_numbers_beyond_a_double_are_not_strict() {
    let many = |last: &str| {
        let names: String = (0..40).map(|n| format!("\"{n}\":{{}},")).collect();
        format!("[{{{names}\"{last}\":1}}]")
    };
    for text in [
        r#"{"a":{"b":1,"c":2,"\u0062":3}}"#,
        r#"[[{"a":1,"a":1}]]"#,
        r#"{"a":[1e999]}"#,
        "-1e309",
        &many("3"),
        &many("39"),
    ] {
        assert!(!is_strict(&raw(text)), "{text}");
    }
    for text in [
        r#"{"a":{"a":[{"a":1},{"a":2}]}}"#,
        "12345678901234567890123",
        "1e-999",
        &many("40"),
    ] {
        assert!(is_strict(&raw(text)), "{text}");
    }
}

#[test]
fn the_elements_of_an_array_keep_their_text() {
    let mut found = Vec::new();
    elements(" [1.50, {\n} ,[]]\n", |element| found.push(element.get())).unwrap();
    assert_eq!(found, ["1.50", "{\n}", "[]"]);
    for text in ["[1", "[1]2", "{}", ""] {
        assert!(elements(text, |_| ()).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in proptest::collection::vec(
        prop_oneof![
            proptest::sample::select(b"{}[]\",:\\ud8001e-.ntrue \n\0".to_vec()),
            any::<u8>(),
        ],
        0..80,
    )) {
        let mut list = Vec::new();
        if members(&text, &mut list).is_ok() {
            for (_, value) in list {
                prop_assert!(serde_json::from_str::<IgnoredAny>(value.get()).is_ok());
            }
        }
    }
}
