//! The loads: what hostile, slow and many peers send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::KEY;
use super::serving::{Server, connect};

/// One load. What `run` returns keeps its connections open.
pub struct Load {
    pub name: &'static str,
    pub run: fn(&Server) -> Vec<TcpStream>,
}

pub fn all() -> Vec<Load> {
    vec![
        Load {
            name: "2,000 unfinished bodies of 10 MiB",
            run: |server| {
                let head = format!(
                    "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n",
                    10 << 20
                );
                unfinished(server.http, 2_000, head.as_bytes(), 300 << 10)
            },
        },
        Load {
            name: "2,000 unfinished chunked bodies",
            run: |server| {
                let head = format!(
                    "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\nA00000\r\n",
                );
                unfinished(server.http, 2_000, head.as_bytes(), 300 << 10)
            },
        },
        Load {
            name: "2,000 unfinished frames without a key",
            run: |server| unfinished(server.tcp, 2_000, &(16u32 << 20).to_be_bytes(), 300 << 10),
        },
        Load {
            name: "8,000 unfinished heads",
            run: |server| {
                let head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-Long: ";
                unfinished(server.http, 8_000, head, 63 << 10)
            },
        },
        Load {
            name: "600 gzip bombs at once",
            run: bombs,
        },
        Load {
            name: "HTTP/2 heads, 100 connections",
            run: |server| heads(server.http, 100),
        },
        Load {
            name: "HTTP/2 heads, 1,000 connections",
            run: |server| heads(server.http, 1_000),
        },
        Load {
            name: "10,000 connections, silent",
            run: |server| unfinished(server.http, 10_000, b"", 0),
        },
        Load {
            name: "10,000 connections, idle after a request",
            run: |server| {
                let body = "{\"event\":\"e\"}";
                let request = format!(
                    "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                let mut streams = unfinished(server.http, 10_000, request.as_bytes(), 0);
                for stream in &mut streams {
                    stream.set_nonblocking(false).unwrap();
                    let read = stream.read(&mut [0; 1024]).unwrap();
                    assert!(read > 0, "it was closed");
                }
                streams
            },
        },
        Load {
            name: "1,000 HTTP/2 connections, idle after a request",
            run: |server| {
                let open = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 5, 1, &health())].concat();
                unfinished(server.http, 1_000, &open, 0)
            },
        },
    ]
}

/// Connections that each send `head`, and of `rest_bytes` more what is taken.
fn unfinished(to: SocketAddr, count: usize, head: &[u8], rest_bytes: usize) -> Vec<TcpStream> {
    let rest = vec![b'x'; rest_bytes];
    let streams = (0..count)
        .map(|n| {
            let mut stream = connect(address(n), to);
            stream.write_all(head).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    push(streams, &rest, 20)
}

/// Sends what is taken of the bytes on each connection, in so many rounds of 100 ms.
fn push(streams: Vec<TcpStream>, bytes: &[u8], rounds: usize) -> Vec<TcpStream> {
    let mut streams: Vec<(TcpStream, usize)> =
        streams.into_iter().map(|stream| (stream, 0)).collect();
    for _ in 0..rounds {
        for (stream, sent) in &mut streams {
            match stream.write(&bytes[*sent..]) {
                Ok(n) => *sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // What is refused is closed.
                Err(_) => *sent = bytes.len(),
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    streams.into_iter().map(|(stream, _)| stream).collect()
}

/// Sixteen sources, none of which has more than it may.
fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, 0, (n % 16) as u8 + 1)
}

fn bombs(server: &Server) -> Vec<TcpStream> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&vec![b' '; 10 << 20]).unwrap();
    let body = gzip.finish().unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let mut streams: Vec<TcpStream> = (0..600).map(|n| connect(address(n), server.http)).collect();
    for stream in &mut streams {
        stream.write_all(&request).unwrap();
    }
    for stream in &mut streams {
        let _ = stream.read(&mut [0; 1024]);
    }
    streams
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET /health` from HPACK's static table, with a literal path and authority.
fn health() -> Vec<u8> {
    [&[0x82, 0x86, 0x04, 7][..], b"/health", &[0x01, 1], b"x"].concat()
}

/// Connections of a hundred streams, each of whose heads is 1,880 times a field of the dynamic table.
fn heads(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    // No answer may be sent: their windows are empty.
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let mut open = [PREFACE, &settings].concat();
    for n in 0..100 {
        // POST, http, and a path that wants a key.
        let mut fields = [&[0x83, 0x86, 0x04, 10][..], b"/v1/events"].concat();
        if n == 0 {
            fields.extend([0x40, 1, b'a', 0]);
        }
        fields.resize(fields.len() + 1_880 - usize::from(n == 0), 0xbe);
        open.extend(frame(1, 4, 2 * n + 1, &fields));
    }
    let streams = (0..count)
        .map(|n| {
            let stream = connect(address(n), to);
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    push(streams, &open, 50)
}
