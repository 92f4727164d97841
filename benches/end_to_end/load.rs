//! The loads: real frames, requests and messages, from blocking threads.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::client::{Client, connect};
use super::protocol::{Protocol, key};
use super::sample::{self, hex};

/// Threads that send, however many connections there are. The server needs the other core.
const THREADS: u64 = 4;

/// How much a thread writes at a time.
const WRITE_BYTES: usize = 64 << 10;

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub protocol: Protocol,
    /// Events a frame, request or write.
    pub batch: u64,
    /// In all.
    pub events: u64,
    pub connections: u64,
    /// Keys that take turns, frame by frame.
    pub keys: u64,
    /// Events a second; 0 for as fast as possible.
    pub rate: u64,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub events: u64,
    pub bytes: u64,
    pub errors: u64,
}

impl Load {
    pub fn new(protocol: Protocol, batch: u64, events: u64) -> Self {
        Self {
            protocol,
            batch,
            events,
            connections: THREADS,
            keys: 1,
            rate: 0,
        }
    }

    /// Bytes that it sends, about.
    pub fn bytes(&self) -> u64 {
        self.unit(0).len() as u64 * (self.events / self.batch)
    }

    /// Connects, and makes what is to be sent: neither is what is measured.
    pub fn prepare(&self, address: SocketAddr) -> Vec<Sender> {
        let threads = self.connections.min(THREADS);
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..threads)
                .map(|thread| {
                    let load = Self {
                        events: self.events / threads,
                        connections: self.connections / threads,
                        ..*self
                    };
                    let first_key = self.keys * thread / threads;
                    scope.spawn(move || load.sender(address, first_key))
                })
                .collect();
            let senders = senders.into_iter().map(|sender| sender.join());
            senders.map(|sender| sender.expect("a sender")).collect()
        })
    }

    fn sender(self, address: SocketAddr, first_key: u64) -> Sender {
        let connections = 0..self.connections.max(1);
        let way = match self.protocol {
            Protocol::Tcp | Protocol::SyslogTcp | Protocol::PlainSyslogTcp => Way::Streams {
                streams: connections.map(|_| connect(address)).collect(),
                chunks: self.chunks(first_key),
            },
            Protocol::HttpBatch | Protocol::HttpJson => Way::Requests {
                clients: connections.map(|_| Client::new(address)).collect(),
                request: request(&self, address),
            },
            Protocol::SyslogUdp => {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.connect(address).expect("an address");
                Way::Datagrams(socket)
            }
        };
        Sender { load: self, way }
    }

    /// As many different writes of whole units, whose keys take turns, as it takes to use all keys.
    fn chunks(&self, first_key: u64) -> Vec<Chunk> {
        let units_each = (WRITE_BYTES / self.unit(0).len()).max(1) as u64;
        let keys = (self.keys / THREADS).max(1);
        (0..keys.div_ceil(units_each))
            .map(|chunk| {
                let number = |n| first_key + (chunk * units_each + n) % keys;
                Chunk {
                    bytes: (0..units_each).flat_map(|n| self.unit(number(n))).collect(),
                    events: units_each * self.batch,
                }
            })
            .collect()
    }

    /// One frame, body or write of `batch` events.
    pub fn unit(&self, key_number: u64) -> Vec<u8> {
        let key = key(key_number);
        let batch = self.batch as usize;
        match self.protocol {
            Protocol::Tcp => sample::frame(&key, self.batch),
            Protocol::HttpBatch => sample::batch(&key, self.batch),
            Protocol::HttpJson => (0..self.batch)
                .map(sample::json_line)
                .collect::<String>()
                .into_bytes(),
            Protocol::SyslogTcp => sample::rfc5424(&key).repeat(batch).into_bytes(),
            Protocol::PlainSyslogTcp => sample::RFC5424.repeat(batch).into_bytes(),
            Protocol::SyslogUdp => sample::rfc5424(&key).trim_end().into(),
        }
    }
}

/// Sends everything from a thread each, and waits until the other side has taken it. Sends no more once it
/// is told to stop.
pub fn run(senders: Vec<Sender>, stop: &AtomicBool) -> Sent {
    std::thread::scope(|scope| {
        let running: Vec<_> = senders
            .into_iter()
            .map(|sender| scope.spawn(move || sender.run(stop)))
            .collect();
        running
            .into_iter()
            .map(|sender| sender.join().expect("a sender"))
            .fold(Sent::default(), |a, b| Sent {
                events: a.events + b.events,
                bytes: a.bytes + b.bytes,
                errors: a.errors + b.errors,
            })
    })
}

/// A thread's part of a load, ready to be sent.
pub struct Sender {
    load: Load,
    way: Way,
}

enum Way {
    Streams {
        streams: Vec<TcpStream>,
        chunks: Vec<Chunk>,
    },
    Requests {
        clients: Vec<Client>,
        request: Vec<u8>,
    },
    Datagrams(UdpSocket),
}

struct Chunk {
    bytes: Vec<u8>,
    events: u64,
}

impl Sender {
    fn run(self, stop: &AtomicBool) -> Sent {
        match self.way {
            Way::Streams { streams, chunks } => stream(&self.load, streams, &chunks, stop),
            Way::Requests { clients, request } => ask(&self.load, clients, &request, stop),
            Way::Datagrams(socket) => datagrams(&self.load, &socket),
        }
    }
}

/// The chunks over all connections in turn; then an end that the server confirms with its own.
fn stream(load: &Load, mut streams: Vec<TcpStream>, chunks: &[Chunk], stop: &AtomicBool) -> Sent {
    let mut sent = Sent::default();
    let mut number = 0;
    while sent.events < load.events && !stop.load(Ordering::Relaxed) {
        let chunk = &chunks[number % chunks.len()];
        let stream = number % streams.len();
        if streams[stream].write_all(&chunk.bytes).is_err() {
            sent.errors += 1;
            break;
        }
        number += 1;
        sent.events += chunk.events;
        sent.bytes += chunk.bytes.len() as u64;
    }
    for stream in &mut streams {
        let _ = stream.shutdown(Shutdown::Write);
    }
    for stream in &mut streams {
        let mut byte = [0];
        sent.errors += u64::from(!matches!(stream.read(&mut byte), Ok(0)));
    }
    sent
}

/// A request on each connection, then the answers, and again: with many connections a thread this keeps
/// the load cheap, and as many requests waiting at the same time as there are connections.
fn ask(load: &Load, mut clients: Vec<Client>, request: &[u8], stop: &AtomicBool) -> Sent {
    let body_bytes = load.unit(0).len() as u64;
    let mut sent = Sent::default();
    let mut left = load.events / load.batch;
    while left > 0 && !stop.load(Ordering::Relaxed) {
        let asked = left.min(clients.len() as u64);
        left -= asked;
        let clients = &mut clients[..asked as usize];
        clients.iter_mut().for_each(|client| client.send(request));
        for client in clients {
            if client.receive() {
                sent.events += load.batch;
                sent.bytes += body_bytes;
            } else {
                sent.errors += 1;
            }
        }
    }
    sent
}

fn datagrams(load: &Load, socket: &UdpSocket) -> Sent {
    let message = load.unit(0);
    let mut sent = Sent::default();
    let start = Instant::now();
    for n in 0..load.events {
        while load.rate > 0 && start.elapsed().as_secs_f64() < n as f64 / load.rate as f64 {
            std::hint::spin_loop();
        }
        if socket.send(&message).is_ok() {
            sent.events += 1;
            sent.bytes += message.len() as u64;
        }
    }
    sent
}

/// The request with the load's body, for the first key.
pub fn request(load: &Load, address: SocketAddr) -> Vec<u8> {
    let (path, content_type) = match load.protocol {
        Protocol::HttpJson => ("/v1/events", "application/x-ndjson"),
        _ => ("/v1/ingest", "application/x-flatbuffers"),
    };
    let body = load.unit(0);
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        hex(&key(0)),
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    request
}
