//! The content codings of a body, and inflating: never beyond the limit, and to the last byte.
//!
//! What a decoder needs besides its output is bounded too: 32 KiB of window for gzip and deflate, 16 MiB for
//! br, 8 MiB for zstd, allocated as the output grows or refused.

use std::io::Read;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use hyper::header::{CONTENT_ENCODING, HeaderMap};

use crate::fault::Refusal;
use crate::limits;

/// What stands in `Accept-Encoding` of an answer to another coding (RFC 7694).
pub(super) const ACCEPTED: &str = "gzip, deflate, br, zstd";

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// Reads the headers. Several codings, one over the other, are refused: no client needs them, and each
    /// layer multiplies what a small body can grow to.
    pub fn of(request: &HeaderMap) -> Result<Self, Refusal> {
        let mut found = Self::Identity;
        for value in request.get_all(CONTENT_ENCODING) {
            let coding = match value
                .as_bytes()
                .trim_ascii()
                .to_ascii_lowercase()
                .as_slice()
            {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Self::Gzip,
                b"deflate" => Self::Deflate,
                b"br" => Self::Brotli,
                b"zstd" => Self::Zstd,
                _ => return Err(Refusal::ContentEncoding),
            };
            if found != Self::Identity {
                return Err(Refusal::ContentEncoding);
            }
            found = coding;
        }
        Ok(found)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd with a window of at most 8 MiB",
        }
    }

    /// Decompresses a body to at most `max_bytes`. What is cut, or has more behind its end, is refused.
    pub fn decode(self, body: Bytes, max_bytes: usize) -> Result<Bytes, Refusal> {
        let inflated = match self {
            Self::Identity => return Ok(body),
            Self::Gzip => read(MultiGzDecoder::new(&body[..]), max_bytes),
            Self::Deflate => deflate(&body, max_bytes),
            Self::Brotli => brotli(&body, max_bytes),
            Self::Zstd => zstd(&body, max_bytes),
        };
        let inflated = inflated.ok_or(Refusal::Compression(self.name()))?;
        if inflated.len() > max_bytes {
            return Err(Refusal::BodyTooLarge(max_bytes));
        }
        Ok(inflated.into())
    }
}

/// All that `decoder` gives, up to a byte more than `max_bytes`; `None` if it fails.
fn read(decoder: impl Read, max_bytes: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(limits::BODY_FIRST_BYTES);
    decoder
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut out)
        .ok()?;
    Some(out)
}

fn zstd(body: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let mut decoder = zstd::Decoder::with_buffer(body).ok()?;
    decoder.window_log_max(limits::ZSTD_WINDOW_LOG).ok()?;
    read(decoder, max_bytes)
}

/// `deflate` is the zlib format, but some clients send what is inside it without the wrapping.
fn deflate(body: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let is_zlib = body.first_chunk().is_some_and(|&[method, flags]| {
        method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
    });
    let mut decoder = Decompress::new(is_zlib);
    pump(body, max_bytes, |input, piece| {
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let status = decoder
            .decompress(input, piece, FlushDecompress::None)
            .ok()?;
        Some(Step {
            read: (decoder.total_in() - read) as usize,
            written: (decoder.total_out() - written) as usize,
            ended: status == Status::StreamEnd,
        })
    })
}

fn brotli(body: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let alloc = StandardAlloc::default;
    // Strict: without the windows of up to 1 GiB that RFC 7932 does not have.
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    pump(body, max_bytes, |input, piece| {
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (piece.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            piece,
            &mut total,
            &mut state,
        );
        Some(Step {
            read,
            written,
            ended: match result {
                BrotliResult::ResultSuccess => true,
                BrotliResult::NeedsMoreOutput | BrotliResult::NeedsMoreInput => false,
                BrotliResult::ResultFailure => return None,
            },
        })
    })
}

/// What a decoder did with the input and the piece of output it was given.
struct Step {
    read: usize,
    written: usize,
    ended: bool,
}

/// Lets a decoder work until its end, or until it gave more than `max_bytes`. `None` if it fails, if the input
/// ends before, or does not end then.
fn pump(
    mut input: &[u8],
    max_bytes: usize,
    mut step: impl FnMut(&[u8], &mut [u8]) -> Option<Step>,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut piece = vec![0; limits::BODY_FIRST_BYTES];
    loop {
        let Step {
            read,
            written,
            ended,
        } = step(input, &mut piece)?;
        input = input.get(read..)?;
        out.extend_from_slice(piece.get(..written)?);
        if out.len() > max_bytes {
            return Some(out);
        }
        if ended {
            return input.is_empty().then_some(out);
        }
        if read == 0 && written == 0 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use hyper::header::HeaderValue;

    use super::*;

    /// 64 MiB of blanks, as Node.js 20 compresses them.
    const BR_BLANKS: &str = "y///P/glQOKxQCD3/o///3/wSwDEYRGA7v0f////4JcAiMMCAN37P/7//8EvARCHBQC693/8//+DXwIgDgsAdO//+P//B78EQBwWAOje//H//w9+CYA4LADQvf/L//8//BIAcVgAoHv/Bw==";

    /// Three lines, by the same.
    const BR_LINES: &str = "GywA+B0HuTnyJlyk3Te1iE7Z3lLoS5gYmVZiElHwUQLk4F0ZgVo=";

    /// A megabyte of blanks with a window of 2^28, an extension of brotli's that HTTP does not have.
    const BR_LARGE_WINDOW: &str = "EVz9/z9+CZB4LBCQe/8A";

    fn base64(text: &str) -> Vec<u8> {
        data_encoding::BASE64.decode(text.as_bytes()).unwrap()
    }

    const LIMIT: usize = 10 << 20;

    fn coding(values: &[&str]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        Coding::of(&headers).ok()
    }

    fn inflate(coding: Coding, body: &[u8], max_bytes: usize) -> Result<Bytes, Refusal> {
        coding.decode(Bytes::copy_from_slice(body), max_bytes)
    }

    /// `bytes` in every coding that has an encoder here.
    fn encoded(bytes: &[u8]) -> Vec<(Coding, Vec<u8>)> {
        let fast = Compression::fast();
        let mut gzip = GzEncoder::new(Vec::new(), fast);
        gzip.write_all(bytes).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), fast);
        zlib.write_all(bytes).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), fast);
        raw.write_all(bytes).unwrap();
        vec![
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Deflate, raw.finish().unwrap()),
            (Coding::Zstd, zstd::encode_all(bytes, 1).unwrap()),
        ]
    }

    #[test]
    fn bodies_are_inflated_up_to_the_limit_and_no_further() {
        let text: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        for (coding, body) in encoded(&text) {
            assert_eq!(
                inflate(coding, &body, text.len()).unwrap(),
                text,
                "{coding:?}"
            );
            assert!(matches!(
                inflate(coding, &body, text.len() - 1),
                Err(Refusal::BodyTooLarge(_))
            ));
        }
        let body = base64(BR_BLANKS);
        let blanks = inflate(Coding::Brotli, &body, 64 << 20).unwrap();
        assert!(blanks.len() == 64 << 20 && blanks.iter().all(|&b| b == b' '));
        assert!(matches!(
            inflate(Coding::Brotli, &body, LIMIT),
            Err(Refusal::BodyTooLarge(LIMIT))
        ));
    }

    #[test]
    fn what_is_cut_or_has_more_behind_its_end_is_refused() {
        let mut bodies = encoded(b"{\"event\":\"e\"}\n");
        bodies.push((Coding::Brotli, base64(BR_LINES)));
        for (coding, body) in bodies {
            let refused = |body: &[u8]| {
                let result = inflate(coding, body, 64 << 20);
                assert!(
                    matches!(result, Err(Refusal::Compression(_))),
                    "{coding:?} {} of {}",
                    body.len(),
                    result.unwrap().len(),
                );
            };
            // A body of nothing is nothing in gzip and zstd, which are sequences of members.
            for cut in 1..body.len() {
                refused(&body[..cut]);
            }
            refused(&[&body[..], b"more of it"].concat());
            refused(b"no such thing");
        }
    }

    #[test]
    fn members_one_after_the_other_are_one_body() {
        for (coding, body) in encoded(b"abc") {
            if coding != Coding::Deflate {
                let inflated = inflate(coding, &[&body[..], &body].concat(), LIMIT).unwrap();
                assert_eq!(inflated, &b"abcabc"[..]);
            }
        }
    }

    #[test]
    fn a_window_that_would_take_more_memory_than_the_body_may_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(limits::ZSTD_WINDOW_LOG + 1).unwrap();
        encoder.write_all(&vec![b' '; 9 << 20]).unwrap();
        let body = encoder.finish().unwrap();
        assert!(matches!(
            inflate(Coding::Zstd, &body, LIMIT),
            Err(Refusal::Compression(_))
        ));
        assert!(inflate(Coding::Brotli, &base64(BR_LARGE_WINDOW), LIMIT).is_err());
    }

    #[test]
    fn stacked_and_unknown_codings_are_refused() {
        assert_eq!(coding(&[]), Some(Coding::Identity));
        assert_eq!(coding(&[" GZip "]), Some(Coding::Gzip));
        assert_eq!(coding(&["identity", "br"]), Some(Coding::Brotli));
        for bad in [
            &["gzip, gzip"][..],
            &["gzip", "gzip"],
            &["snappy"],
            &["br, identity"],
        ] {
            assert_eq!(coding(bad), None, "{bad:?}");
        }
    }
}
