//! Answers to what never became a request: hyper's own, in the form that all refusals have.

use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::linger::linger;
use super::request_id::RequestId;
use super::respond;
use super::visit::Visit;
use crate::fault::Refusal;
use crate::limits;
use crate::origin::Source;

/// What was wrong, where hyper answered by itself, or ended without an answer. `kept_back` is the status of its
/// answer, and the end of the first line that it was to.
pub(super) fn of(kept_back: Option<(u16, &[u8])>, error: Option<&hyper::Error>) -> Option<Refusal> {
    let Some((status, line_end)) = kept_back else {
        return error
            .is_some_and(hyper::Error::is_parse)
            .then_some(Refusal::HeadMalformed);
    };
    Some(match status {
        431 => Refusal::HeadTooLarge,
        414 => Refusal::TargetTooLong,
        _ if is_other_version(line_end) => Refusal::HttpVersion,
        _ => Refusal::HeadMalformed,
    })
}

/// Whether a line ends in a version of HTTP that is none of those which begin like this: `HTTP/3.0`.
fn is_other_version(line_end: &[u8]) -> bool {
    let last = line_end.rsplit(|byte| *byte == b' ').next();
    let version = last.and_then(|word| word.strip_prefix(b"HTTP/"));
    version.is_some_and(|version| match version {
        [major] => major.is_ascii_digit(),
        [major, b'.', minor] => {
            major.is_ascii_digit() && minor.is_ascii_digit() && !matches!(version, b"1.0" | b"1.1")
        }
        _ => false,
    })
}

/// Sends a refusal, and closes the connection so that it arrives.
pub(super) async fn send<S>(stream: S, fault: &Refusal, visit: &Visit)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tracing::debug!(peer = %visit.peer, %fault, "HTTP connection refused");
    visit.context.refuse(Source::Http, visit.peer, fault).await;
    write(stream, fault).await;
}

/// Tells one who speaks HTTP in the clear where TLS is spoken, and closes the connection.
pub(crate) async fn answer_in_the_clear(stream: TcpStream) {
    write(stream, &Refusal::NoTls).await;
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, fault: &Refusal) {
    let sent = tokio::time::timeout(limits::LINGER_TIMEOUT, async {
        stream.write_all(&encode(fault)).await?;
        stream.flush().await
    });
    if let Ok(Ok(())) = sent.await {
        linger(stream).await;
    }
}

/// The answer, as HTTP/1.1 has it.
fn encode(fault: &Refusal) -> Vec<u8> {
    let request_id = RequestId::next();
    let (mut head, body) = respond::refused(fault, &request_id).into_parts();
    let body = body.into_inner().unwrap_or_default();
    request_id.add_to(&mut head.headers);
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    head.headers
        .insert(CONNECTION, HeaderValue::from_static("close"));
    let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
    if let Ok(date) = HeaderValue::try_from(date.to_string()) {
        head.headers.insert(DATE, date);
    }
    let mut answer = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(&body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_version_is_one() {
        for (line, expected) in [
            ("GET / HTTP/3.0", true),
            ("GET / HTTP/2", true),
            ("\0\0T / HTTP/1.2", true),
            ("GET / HTTP/1.1", false),
            ("GET / with HTTP/1.0", false),
            ("GET / FOO", false),
            ("HTTP/10.0", false),
            ("", false),
        ] {
            assert_eq!(is_other_version(line.as_bytes()), expected, "{line}");
        }
    }
}
