//! The rest of a body that is not wanted, behind a refusal.
//!
//! Where it is short it is read and thrown away, so that the connection stays; a connection that does not stay
//! says so in the answer, because clients take one that is closed without a word for one that they may use again.
//! Of HTTP/2 it is thrown away in any case: some clients take a stream that is reset behind its answer for one
//! that failed.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Version;
use hyper::body::{Body, Incoming};

use super::visit::Visit;
use crate::limits;

/// What becomes of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It was read, or is being read.
    Read,
    /// The connection has to end with the answer.
    Unread,
}

/// Leaves the rest of a body to be thrown away, or unread.
pub(super) async fn leave(
    mut body: Incoming,
    version: Version,
    waits_for_word: bool,
    number: u64,
    visit: &Arc<Visit>,
) -> Rest {
    if body.is_end_stream() {
        visit.body_read(number);
        return Rest::Read;
    }
    if version == Version::HTTP_2 {
        tokio::spawn(async move { discard(&mut body, limits::LINGER_BYTES).await });
        return Rest::Read;
    }
    // Who waits for the word to go on may never send it.
    if waits_for_word || visit.context.drain.is_cancelled() {
        return Rest::Unread;
    }
    match body.size_hint().exact() {
        Some(bytes) if bytes <= limits::REST_BYTES as u64 => {
            let visit = Arc::clone(visit);
            tokio::spawn(async move {
                if discard(&mut body, limits::REST_BYTES).await {
                    visit.body_read(number);
                }
            });
            Rest::Read
        }
        Some(_) => Rest::Unread,
        // Nobody knows how long it is: what is here already may be all.
        None => {
            let here = discard(&mut body, limits::REST_BYTES);
            let ended = tokio::time::timeout(limits::REST_WAIT, here).await;
            if ended != Ok(true) {
                return Rest::Unread;
            }
            visit.body_read(number);
            Rest::Read
        }
    }
}

/// Throws away the rest of a body for as long as is reasonable. Whether that was all of it.
async fn discard(body: &mut Incoming, most: usize) -> bool {
    let until_ended = async {
        let mut left = most;
        while let Some(frame) = body.frame().await {
            let bytes = match &frame {
                Ok(frame) => frame.data_ref().map_or(0, Bytes::len),
                Err(_) => return false,
            };
            if bytes > left {
                return false;
            }
            left -= bytes;
        }
        true
    };
    tokio::time::timeout(limits::LINGER_TIMEOUT, until_ended)
        .await
        .unwrap_or(false)
}
