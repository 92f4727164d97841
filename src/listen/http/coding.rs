//! The content codings of a body, and inflating it: step by step, and to the last byte.
//!
//! What a decoder needs besides its output is bounded too: 32 KiB of window for gzip and deflate, 16 MiB for
//! br, 8 MiB for zstd.

use std::io::{self, BufRead, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf, Bytes};
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

    fn refusal(self) -> Refusal {
        Refusal::Compression(self.name())
    }
}

/// How far a step got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to come.
    More,
    /// The body is whole.
    Whole,
}

/// Inflates a body step by step, each of which reads and writes only so much: the time that it takes is bounded,
/// and the memory for it can be asked for before.
pub(super) struct Inflater {
    coding: Coding,
    decoder: Decoder,
}

enum Decoder {
    Gzip(MultiGzDecoder<Fed>),
    Zstd(zstd::Decoder<'static, Fed>),
    Deflate(Deflate),
    Brotli(Box<Brotli>),
}

impl Inflater {
    /// Begins with a body in a coding that is not [`Coding::Identity`].
    pub fn new(coding: Coding, body: Bytes) -> Result<Self, Refusal> {
        let input = Fed { body, open: 0 };
        let decoder = match coding {
            Coding::Identity => return Err(coding.refusal()),
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(input)),
            Coding::Deflate => Decoder::Deflate(Deflate::new(input)),
            Coding::Brotli => Decoder::Brotli(Box::new(Brotli::new(input))),
            Coding::Zstd => Decoder::Zstd(zstd(input).map_err(|_| coding.refusal())?),
        };
        Ok(Self { coding, decoder })
    }

    /// Inflates up to `most` bytes more, and reads up to [`limits::INFLATE_INPUT_BYTES`] for it. What is cut, or
    /// has more behind its end, is refused.
    pub fn step(&mut self, out: &mut Vec<u8>, most: usize) -> Result<Step, Refusal> {
        let step = match &mut self.decoder {
            Decoder::Gzip(decoder) => {
                decoder.get_mut().feed();
                fill(decoder, out, most)
            }
            Decoder::Zstd(decoder) => {
                decoder.get_mut().feed();
                fill(decoder, out, most)
            }
            Decoder::Deflate(decoder) => {
                decoder.input.feed();
                fill(decoder, out, most)
            }
            Decoder::Brotli(decoder) => {
                decoder.input.feed();
                fill(decoder, out, most)
            }
        };
        step.map_err(|_| self.coding.refusal())
    }
}

/// Reads up to `most` bytes more, or until the decoder has to be fed.
fn fill(decoder: &mut impl Read, out: &mut Vec<u8>, most: usize) -> io::Result<Step> {
    let mut filled = out.len();
    out.resize(filled + most, 0);
    let step = loop {
        let free = out.get_mut(filled..).unwrap_or_default();
        if free.is_empty() {
            break Ok(Step::More);
        }
        match decoder.read(free) {
            Ok(0) => break Ok(Step::Whole),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(Step::More),
            Err(error) => break Err(error),
        }
    };
    out.truncate(filled);
    step
}

fn zstd(input: Fed) -> io::Result<zstd::Decoder<'static, Fed>> {
    let mut decoder = zstd::Decoder::with_buffer(input)?;
    decoder.window_log_max(limits::ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// A body of which so much may be read, and then `WouldBlock` until it is fed again.
struct Fed {
    body: Bytes,
    open: usize,
}

impl Fed {
    fn feed(&mut self) {
        self.open = limits::INFLATE_INPUT_BYTES;
    }
}

impl BufRead for Fed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.open == 0 && !self.body.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let open = self.open.min(self.body.len());
        Ok(self.body.get(..open).unwrap_or_default())
    }

    fn consume(&mut self, read: usize) {
        self.body.advance(read.min(self.body.len()));
        self.open = self.open.saturating_sub(read);
    }
}

impl Read for Fed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

/// `deflate` is the zlib format, but some clients send what is inside it without the wrapping.
struct Deflate {
    input: Fed,
    decoder: Decompress,
    ended: bool,
}

impl Deflate {
    fn new(input: Fed) -> Self {
        let is_zlib = input.body.first_chunk().is_some_and(|&[method, flags]| {
            method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
        });
        Self {
            input,
            decoder: Decompress::new(is_zlib),
            ended: false,
        }
    }
}

impl Read for Deflate {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let decoder = &mut self.decoder;
        pump(&mut self.input, &mut self.ended, out, |input, out| {
            let (read, written) = (decoder.total_in(), decoder.total_out());
            let status = decoder.decompress(input, out, FlushDecompress::None)?;
            Ok(Pumped {
                read: (decoder.total_in() - read) as usize,
                written: (decoder.total_out() - written) as usize,
                ended: status == Status::StreamEnd,
            })
        })
    }
}

struct Brotli {
    input: Fed,
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    ended: bool,
}

impl Brotli {
    fn new(input: Fed) -> Self {
        let alloc = StandardAlloc::default;
        Self {
            input,
            // Strict: without the windows of up to 1 GiB that RFC 7932 does not have.
            state: BrotliState::new_strict(alloc(), alloc(), alloc()),
            ended: false,
        }
    }
}

impl Read for Brotli {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let state = &mut self.state;
        pump(&mut self.input, &mut self.ended, out, |input, out| {
            let (mut left, mut read) = (input.len(), 0);
            let (mut room, mut written, mut total) = (out.len(), 0, 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut read,
                input,
                &mut room,
                &mut written,
                out,
                &mut total,
                state,
            );
            let ended = match result {
                BrotliResult::ResultSuccess => true,
                BrotliResult::NeedsMoreOutput | BrotliResult::NeedsMoreInput => false,
                BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
            };
            Ok(Pumped {
                read,
                written,
                ended,
            })
        })
    }
}

/// What a decoder did with the input and the output that it was given.
struct Pumped {
    read: usize,
    written: usize,
    ended: bool,
}

/// Lets a decoder work until it has written something, or has ended with the last byte of its input.
fn pump(
    input: &mut Fed,
    ended: &mut bool,
    out: &mut [u8],
    mut work: impl FnMut(&[u8], &mut [u8]) -> io::Result<Pumped>,
) -> io::Result<usize> {
    while !*ended {
        let pumped = work(input.fill_buf()?, out)?;
        input.consume(pumped.read);
        *ended = pumped.ended;
        if pumped.ended && !input.body.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if pumped.written > 0 {
            return Ok(pumped.written);
        }
        if pumped.read == 0 && !pumped.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(0)
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

    /// All of a body, in steps of a strange size.
    fn inflate(coding: Coding, body: &[u8], max_bytes: usize) -> Result<Vec<u8>, Refusal> {
        let mut inflater = Inflater::new(coding, Bytes::copy_from_slice(body))?;
        let mut out = Vec::new();
        loop {
            let step = inflater.step(&mut out, 77_777)?;
            if out.len() > max_bytes {
                return Err(Refusal::BodyTooLarge(max_bytes));
            }
            if step == Step::Whole {
                return Ok(out);
            }
        }
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
                assert_eq!(inflated, b"abcabc");
            }
        }
    }

    #[test]
    fn a_step_reads_and_writes_no_more_than_it_may() {
        // Members of nothing: all input, no output.
        let (_, nothing) = encoded(b"").swap_remove(0);
        let body = nothing.repeat(4 * limits::INFLATE_INPUT_BYTES / nothing.len());
        let mut inflater = Inflater::new(Coding::Gzip, body.into()).unwrap();
        let mut out = Vec::new();
        let mut steps = 1;
        while inflater.step(&mut out, 10).unwrap() == Step::More {
            steps += 1;
        }
        assert!(steps >= 4 && out.is_empty(), "{steps}");
        for (coding, body) in encoded(&[b' '; 1_000]) {
            let mut inflater = Inflater::new(coding, body.into()).unwrap();
            let mut out = Vec::new();
            assert_eq!(inflater.step(&mut out, 10).unwrap(), Step::More);
            assert_eq!(out.len(), 10, "{coding:?}");
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
