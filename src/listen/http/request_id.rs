//! The id of a request: the client's own, or one of ours.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::limits;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Stands in the answer's `X-Request-Id` and body, so that both ends can speak of the same request.
#[derive(Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's `X-Request-Id` where it is a word of visible ASCII that is not too long; else a new one.
    pub fn of(request: &HeaderMap) -> Self {
        request
            .get(X_REQUEST_ID)
            .filter(|sent| {
                let sent = sent.as_bytes();
                (1..=limits::REQUEST_ID_BYTES).contains(&sent.len())
                    && sent.iter().all(u8::is_ascii_graphic)
            })
            .map_or_else(Self::next, |sent| Self(sent.clone()))
    }

    /// Unlike all others: random bits of the process, and a counter.
    pub fn next() -> Self {
        static PROCESS: LazyLock<u32> =
            LazyLock::new(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}-{next:x}", *PROCESS);
        // Hexadecimal digits are a valid value.
        Self(HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("none")))
    }

    /// As the body shows it.
    pub fn as_str(&self) -> &str {
        // Visible ASCII, which is what `of` lets through and `next` makes.
        self.0.to_str().unwrap_or_default()
    }

    /// Adds it to the answer.
    pub fn add_to(self, answer: &mut HeaderMap) {
        answer.insert(X_REQUEST_ID, self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        RequestId::of(&headers).as_str().to_owned()
    }

    #[test]
    fn a_clients_id_is_kept_where_it_is_short_visible_ascii() {
        assert_eq!(of(b"7f/a:\"b\\"), "7f/a:\"b\\");
        let longest = vec![b'x'; limits::REQUEST_ID_BYTES];
        assert_eq!(of(&longest).as_bytes(), longest);
        for bad in [
            &b""[..],
            b"a b",
            b"a\tb",
            b"\xffid",
            &[&longest[..], b"x"].concat(),
        ] {
            let id = of(bad);
            assert_ne!(id.as_bytes(), bad);
            assert!(id.len() >= 10, "{id}");
        }
    }

    #[test]
    fn ids_of_ours_differ() {
        assert_ne!(RequestId::next().as_str(), RequestId::next().as_str());
    }
}
