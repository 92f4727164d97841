//! Where a request carries its key: `Authorization: Bearer`, `X-API-Key`, or `?token=`.

use std::borrow::Cow;

use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;

use crate::wire::key::StreamingKey;

/// The key of a request. The first of the three places that holds anything decides; what is malformed there
/// counts as no key.
pub(super) fn of(request: &Parts) -> Option<StreamingKey> {
    if let Some(value) = request.headers.get(AUTHORIZATION) {
        return bearer(value.as_bytes());
    }
    if let Some(value) = request.headers.get("x-api-key") {
        return StreamingKey::parse_hex(value.as_bytes().trim_ascii());
    }
    token(request.uri.query()?)
}

fn bearer(value: &[u8]) -> Option<StreamingKey> {
    let (scheme, rest) = value.split_first_chunk::<6>()?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || rest.first() != Some(&b' ') {
        return None;
    }
    StreamingKey::parse_hex(rest.trim_ascii())
}

fn token(query: &str) -> Option<StreamingKey> {
    let value = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (*percent_decode(name) == *b"token").then_some(value))?;
    StreamingKey::parse_hex(&percent_decode(value))
}

/// Decodes `%41`; what is no escape stays as it is.
fn percent_decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, behind)) = rest.split_first() {
        let escape = behind.split_first_chunk::<2>().filter(|_| first == b'%');
        match escape.and_then(|(digits, after)| Some((hex_byte(digits)?, after))) {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => {
                out.push(first);
                rest = behind;
            }
        }
    }
    Cow::Owned(out)
}

fn hex_byte(digits: &[u8; 2]) -> Option<u8> {
    data_encoding::HEXLOWER_PERMISSIVE
        .decode(digits)
        .ok()?
        .first()
        .copied()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const HEX: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

    fn key_of(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        of(&request.body(()).unwrap().into_parts().0).map(|key| key.reveal())
    }

    #[test]
    fn a_key_is_found_in_all_three_places() {
        let found = Some(HEX.to_owned());
        assert_eq!(
            key_of("/", &[("authorization", &format!("Bearer {HEX}"))]),
            found
        );
        assert_eq!(
            key_of(
                "/",
                &[("Authorization", &format!("bearer  {}", HEX.to_uppercase()))]
            ),
            found
        );
        assert_eq!(key_of("/", &[("X-API-Key", HEX)]), found);
        assert_eq!(key_of(&format!("/?token={HEX}"), &[]), found);
        assert_eq!(key_of(&format!("/?a=b&token={HEX}&c"), &[]), found);
        assert_eq!(key_of(&format!("/?%74oken=%61{}", &HEX[1..]), &[]), found);
    }

    #[test]
    fn anything_else_is_no_key() {
        assert_eq!(key_of("/", &[]), None);
        assert_eq!(key_of("/", &[("authorization", HEX)]), None);
        assert_eq!(
            key_of("/", &[("authorization", &format!("Basic {HEX}"))]),
            None
        );
        assert_eq!(key_of("/?token=%", &[]), None);
        assert_eq!(key_of("/?token=%6", &[]), None);
        assert_eq!(key_of(&format!("/?tokens={HEX}"), &[]), None);
        let with_bad_header = [("authorization", "Bearer x"), ("x-api-key", HEX)];
        assert_eq!(
            key_of("/", &with_bad_header),
            None,
            "the first place decides"
        );
    }
}
