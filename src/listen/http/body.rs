//! The body of a request: read to its end and inflated, never beyond the limit, and never before there is room.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Version;
use hyper::body::{Body, Incoming};

use super::coding::{Coding, Inflater, Step};
use super::visit::Visit;
use crate::fault::Refusal;
use crate::ingest::admit::{BodyLength, Reservation};
use crate::limits;

/// What the head of a request says of the length of its body, unless it is more than `max_bytes`.
pub(super) fn length(body: &Incoming, max_bytes: usize) -> Result<BodyLength, Refusal> {
    match body.size_hint().exact() {
        None => Ok(BodyLength::Unknown),
        Some(bytes) => match usize::try_from(bytes) {
            Ok(bytes) if bytes <= max_bytes => Ok(BodyLength::Announced(bytes)),
            _ => Err(Refusal::BodyTooLarge(max_bytes)),
        },
    }
}

/// What hyper's buffers take to read a body of this length in large pieces, and keep until the request is answered.
pub(super) fn buffer_bytes(length: BodyLength, version: Version) -> usize {
    match length {
        BodyLength::Announced(bytes)
            if bytes > limits::HTTP_READ_BYTES && version < Version::HTTP_2 =>
        {
            limits::HTTP_WIDE_BYTES.min(2 * bytes)
        }
        _ => 0,
    }
}

/// Reads a body of at most `max_bytes`, which may pause so long, and reserves what it has grown to before it is
/// kept. A body that came in one piece is not copied.
pub(super) async fn read(
    body: &mut Incoming,
    length: BodyLength,
    buffer_bytes: usize,
    max_bytes: usize,
    pause: Duration,
    reserved: &mut Reservation,
    visit: &Visit,
) -> Result<Bytes, Refusal> {
    if buffer_bytes > 0 {
        visit.read_wide();
    }
    let Some(first) = piece(body, pause).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > max_bytes {
        return Err(Refusal::BodyTooLarge(max_bytes));
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(match length {
        BodyLength::Announced(bytes) => bytes,
        BodyLength::Unknown => limits::BODY_FIRST_BYTES,
    });
    let mut next = Some(first);
    while let Some(piece) = next {
        let bytes = whole.len() + piece.len();
        if bytes > max_bytes {
            return Err(Refusal::BodyTooLarge(max_bytes));
        }
        if bytes > whole.capacity() {
            let capacity = next_capacity(&whole, bytes, max_bytes);
            reserved.grow_to(capacity).await;
            whole.reserve_exact(capacity - whole.len());
        }
        whole.extend_from_slice(&piece);
        drop(piece);
        next = self::piece(body, pause).await?;
    }
    Ok(whole.into())
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

/// Inflates a body that is small when it is inflated, in a tenth of a millisecond. `None`: it is not, or there is
/// no room for it now.
pub(super) async fn inflate_quickly(
    coding: Coding,
    body: &Bytes,
    max_bytes: usize,
    buffer_bytes: usize,
    reserved: &mut Reservation,
) -> Result<Option<Bytes>, Refusal> {
    let most = limits::QUICK_INFLATE_BYTES.min(max_bytes) + 1;
    if !grows_now(reserved, buffer_bytes + body.len() + most).await {
        return Ok(None);
    }
    let mut out = Vec::new();
    let step = Inflater::new(coding, body.clone())?.step(&mut out, most)?;
    if out.len() > max_bytes {
        return Err(Refusal::BodyTooLarge(max_bytes));
    }
    Ok((step == Step::Whole).then(|| out.into()))
}

/// Inflates a body to at most `max_bytes`, and lets others in front again and again. `None`: there is no room for
/// it now.
pub(super) async fn inflate(
    coding: Coding,
    body: Bytes,
    max_bytes: usize,
    buffer_bytes: usize,
    reserved: &mut Reservation,
) -> Result<Option<Bytes>, Refusal> {
    let besides = buffer_bytes + body.len();
    let mut inflater = Inflater::new(coding, body)?;
    let mut out = Vec::new();
    loop {
        let most = limits::INFLATE_STEP_BYTES.min(max_bytes + 1 - out.len());
        let bytes = out.len() + most;
        if bytes > out.capacity() {
            let capacity = next_capacity(&out, bytes, max_bytes + 1);
            if !grows_now(reserved, besides + capacity).await {
                return Ok(None);
            }
            out.reserve_exact(capacity - out.len());
        }
        let step = inflater.step(&mut out, most)?;
        if out.len() > max_bytes {
            return Err(Refusal::BodyTooLarge(max_bytes));
        }
        if step == Step::Whole {
            return Ok(Some(out.into()));
        }
        tokio::task::yield_now().await;
    }
}

/// Capacities double, up to the most that is ever needed.
fn next_capacity(out: &Vec<u8>, bytes: usize, most: usize) -> usize {
    bytes.max(2 * out.capacity()).min(most.max(bytes))
}

/// Reserves so many bytes in all if they are there now.
pub(super) async fn grows_now(reserved: &mut Reservation, bytes: usize) -> bool {
    tokio::select! {
        biased;
        () = reserved.grow_to(bytes) => true,
        () = std::future::ready(()) => false,
    }
}
