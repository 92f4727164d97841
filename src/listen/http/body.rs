//! The body of a request: read to its end and decompressed, never beyond the limit.

use std::io::Read;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::fault::Fault;
use crate::limits;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
}

/// Reads a `Content-Encoding` header. Several codings, one over the other, are refused: no client needs
/// them, and each layer multiplies what a small body can grow to.
pub(super) fn coding(value: Option<&[u8]>) -> Result<Coding, Fault> {
    match value
        .map(|v| v.trim_ascii().to_ascii_lowercase())
        .as_deref()
    {
        None | Some(b"" | b"identity") => Ok(Coding::Identity),
        Some(b"gzip" | b"x-gzip") => Ok(Coding::Gzip),
        Some(_) => Err(Fault::ContentEncoding),
    }
}

/// Reads a body of at most `max_bytes`, which may pause so long. A body that came in one piece is not copied.
pub(super) async fn read(
    mut body: Incoming,
    max_bytes: usize,
    pause: Duration,
) -> Result<Bytes, Fault> {
    let too_large = || Fault::BodyTooLarge(max_bytes);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(too_large());
    }
    let Some(first) = piece(&mut body, pause).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > max_bytes {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut whole =
        BytesMut::with_capacity(announced.min(limits::BODY_FIRST_BYTES).max(first.len()));
    whole.extend_from_slice(&first);
    while let Some(piece) = piece(&mut body, pause).await? {
        if whole.len() + piece.len() > max_bytes {
            return Err(too_large());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

async fn piece(body: &mut Incoming, pause: Duration) -> Result<Option<Bytes>, Fault> {
    loop {
        let frame = tokio::time::timeout(pause, body.frame())
            .await
            .map_err(|_| Fault::TimedOut(pause.as_secs()))?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Fault::BodyCut),
            // Trailers say nothing here.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Decompresses a body to at most `max_bytes`.
pub(super) fn decode(coding: Coding, body: Bytes, max_bytes: usize) -> Result<Bytes, Fault> {
    match coding {
        Coding::Identity => Ok(body),
        Coding::Gzip => {
            let mut out =
                Vec::with_capacity(body.len().saturating_mul(4).min(limits::BODY_FIRST_BYTES));
            MultiGzDecoder::new(&body[..])
                .take(max_bytes as u64 + 1)
                .read_to_end(&mut out)
                .map_err(|_| Fault::Compression("gzip"))?;
            if out.len() > max_bytes {
                return Err(Fault::BodyTooLarge(max_bytes));
            }
            Ok(out.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn gzip_is_inflated_up_to_the_limit_and_no_further() {
        let body = gzip(&[b'x'; 1000]);
        assert_eq!(
            decode(Coding::Gzip, body.clone(), 1000).unwrap().len(),
            1000
        );
        assert!(matches!(
            decode(Coding::Gzip, body, 999),
            Err(Fault::BodyTooLarge(999))
        ));
        assert!(matches!(
            decode(Coding::Gzip, Bytes::from_static(b"no gzip"), 10),
            Err(Fault::Compression("gzip"))
        ));
        let cut = gzip(b"hello").slice(..12);
        assert!(decode(Coding::Gzip, cut, 10).is_err());
    }

    #[test]
    fn stacked_and_unknown_codings_are_refused() {
        assert_eq!(coding(None).unwrap(), Coding::Identity);
        assert_eq!(coding(Some(b" GZip ")).unwrap(), Coding::Gzip);
        assert!(coding(Some(b"gzip, gzip")).is_err());
        assert!(coding(Some(b"snappy")).is_err());
    }
}
