//! The body of a request: read to its end, never beyond the limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::coding::Coding;

use crate::fault::Refusal;
use crate::ingest::admit::{BodyLength, Reservation};
use crate::limits;

/// What the head of a request says of the length of its body, unless it is more than `max_bytes`.
pub(super) fn length(body: &Incoming, max_bytes: usize) -> Result<BodyLength, Refusal> {
    let too_large = || Refusal::BodyTooLarge(max_bytes);
    match body.size_hint().exact() {
        None => Ok(BodyLength::Unknown),
        Some(bytes) => match usize::try_from(bytes) {
            Ok(bytes) if bytes <= max_bytes => Ok(BodyLength::Announced(bytes)),
            _ => Err(too_large()),
        },
    }
}

/// Reads a body of at most `max_bytes`, which may pause so long, and reserves what it has grown to before it is
/// kept. A body that came in one piece is not copied.
pub(super) async fn read(
    body: &mut Incoming,
    max_bytes: usize,
    pause: Duration,
    reserved: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::BodyTooLarge(max_bytes);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let Some(first) = piece(body, pause).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > max_bytes {
        return Err(too_large());
    }
    reserved.grow_to(first.len()).await;
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole =
        BytesMut::with_capacity(announced.min(limits::BODY_FIRST_BYTES).max(first.len()));
    whole.extend_from_slice(&first);
    while let Some(piece) = piece(body, pause).await? {
        if whole.len() + piece.len() > max_bytes {
            return Err(too_large());
        }
        reserved.grow_to(whole.len() + piece.len()).await;
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn piece(body: &mut Incoming, pause: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = tokio::time::timeout(pause, body.frame())
            .await
            .map_err(|_| Refusal::TimedOut(pause.as_secs()))?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Refusal::BodyCut),
            // Trailers say nothing here.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Whether what is to be done with a body, to decompress and to check it, would keep a worker thread of the
/// runtime from its other connections for too long.
pub(super) fn is_heavy(coding: Coding, bytes: usize) -> bool {
    let most = match coding {
        Coding::Identity => limits::HEAVY_BODY_BYTES,
        _ => limits::HEAVY_COMPRESSED_BYTES,
    };
    bytes > most
}
