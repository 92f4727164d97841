//! The loads: real frames, requests and messages, from blocking threads.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tell_encoding::{
    BatchParams, EventParams, EventType, SchemaType, encode_batch_into, encode_event_data_into,
};

use super::client::{Client, connect, request};
use super::process::key;

/// Threads that send, however many connections there are. The server needs the other core.
const THREADS: usize = 4;

/// How much a thread writes at a time.
const WRITE_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    HttpBatch,
    HttpJson,
    SyslogTcp,
    /// The same messages without a key, for those who would take it for a part of the message.
    PlainSyslogTcp,
    SyslogUdp,
}

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
            connections: THREADS as u64,
            keys: 1,
            rate: 0,
        }
    }

    /// Bytes that it sends, about.
    pub fn bytes(&self) -> u64 {
        self.unit(0).len() as u64 * (self.events / self.batch)
    }

    /// Sends everything and waits until the other side has taken it.
    pub fn run(&self, address: SocketAddr) -> Sent {
        self.run_until(address, &AtomicBool::new(false))
    }

    /// The same, but sends no more once it is told to stop.
    pub fn run_until(&self, address: SocketAddr, stop: &AtomicBool) -> Sent {
        let threads = (self.connections as usize).min(THREADS) as u64;
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..threads)
                .map(|thread| {
                    let load = Self {
                        events: self.events / threads,
                        connections: self.connections / threads,
                        ..*self
                    };
                    let first_key = self.keys * thread / threads;
                    scope.spawn(move || load.send(address, first_key, stop))
                })
                .collect();
            senders
                .into_iter()
                .map(|sender| sender.join().expect("a sender"))
                .fold(Sent::default(), |a, b| Sent {
                    events: a.events + b.events,
                    bytes: a.bytes + b.bytes,
                    errors: a.errors + b.errors,
                })
        })
    }

    fn send(&self, address: SocketAddr, first_key: u64, stop: &AtomicBool) -> Sent {
        match self.protocol {
            Protocol::Tcp | Protocol::SyslogTcp | Protocol::PlainSyslogTcp => {
                self.stream(address, first_key, stop)
            }
            Protocol::HttpBatch | Protocol::HttpJson => self.requests(address, stop),
            Protocol::SyslogUdp => self.datagrams(address),
        }
    }

    /// One frame, body or write of `batch` events.
    pub fn unit(&self, key_number: u64) -> Vec<u8> {
        match self.protocol {
            Protocol::Tcp => {
                let batch = batch(key_number, self.batch);
                let mut frame = (batch.len() as u32).to_be_bytes().to_vec();
                frame.extend_from_slice(&batch);
                frame
            }
            Protocol::HttpBatch => batch(key_number, self.batch),
            Protocol::HttpJson => (0..self.batch)
                .map(json_line)
                .collect::<String>()
                .into_bytes(),
            Protocol::SyslogTcp => syslog_message(key_number)
                .repeat(self.batch as usize)
                .into_bytes(),
            Protocol::PlainSyslogTcp => SYSLOG_MESSAGE.repeat(self.batch as usize).into_bytes(),
            Protocol::SyslogUdp => syslog_message(key_number)
                .trim_end()
                .to_owned()
                .into_bytes(),
        }
    }

    /// Chunks of whole units, whose keys take turns, over all connections in turn; then an end that the
    /// server confirms with its own.
    fn stream(&self, address: SocketAddr, first_key: u64, stop: &AtomicBool) -> Sent {
        let mut streams: Vec<TcpStream> = (0..self.connections.max(1))
            .map(|_| connect(address))
            .collect();
        let unit_bytes = self.unit(0).len();
        let keys = (self.keys / THREADS as u64).max(1);
        let units_per_write = (WRITE_BYTES / unit_bytes).max(1) as u64;
        // As many different chunks as it takes to use all keys.
        let chunks: Vec<Vec<u8>> = (0..keys.div_ceil(units_per_write))
            .map(|chunk| {
                let units = (0..units_per_write)
                    .map(|n| self.unit(first_key + (chunk * units_per_write + n) % keys));
                units.flatten().collect()
            })
            .collect();
        let mut sent = Sent::default();
        let writes = self.events / self.batch / units_per_write;
        for write in 0..writes as usize {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let chunk = &chunks[write % chunks.len()];
            let stream = write % streams.len();
            if streams[stream].write_all(chunk).is_err() {
                sent.errors += 1;
                break;
            }
            sent.events += units_per_write * self.batch;
            sent.bytes += chunk.len() as u64;
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

    /// A request on each connection, then the answers, and again: with many connections a thread this
    /// keeps the load cheap, and as many requests waiting at the same time as there are connections.
    fn requests(&self, address: SocketAddr, stop: &AtomicBool) -> Sent {
        let request = request(self, address);
        let body_bytes = self.unit(0).len() as u64;
        let mut clients: Vec<Client> = (0..self.connections.max(1))
            .map(|_| Client::new(address))
            .collect();
        let mut sent = Sent::default();
        let mut left = self.events / self.batch;
        while left > 0 && !stop.load(Ordering::Relaxed) {
            let asked = left.min(clients.len() as u64);
            left -= asked;
            let clients = &mut clients[..asked as usize];
            clients.iter_mut().for_each(|client| client.send(&request));
            for client in clients {
                if client.receive() {
                    sent.events += self.batch;
                    sent.bytes += body_bytes;
                } else {
                    sent.errors += 1;
                }
            }
        }
        sent
    }

    fn datagrams(&self, address: SocketAddr) -> Sent {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(address).expect("an address");
        let message = self.unit(0);
        let mut sent = Sent::default();
        let start = Instant::now();
        for n in 0..self.events {
            while self.rate > 0 && start.elapsed().as_secs_f64() < n as f64 / self.rate as f64 {
                std::hint::spin_loop();
            }
            if socket.send(&message).is_ok() {
                sent.events += 1;
                sent.bytes += message.len() as u64;
            }
        }
        sent
    }
}

/// A Batch of track events of about 200 bytes.
fn batch(key_number: u64, events: u64) -> Vec<u8> {
    let payload = format!(
        "{{\"user_id\":\"user_00000042\",\"page\":\"/home\",\"pad\":\"{}\"}}",
        "x".repeat(50)
    );
    let events: Vec<EventParams<'_>> = (0..events)
        .map(|n| EventParams {
            event_type: EventType::Track,
            timestamp: 1_760_000_000_000 + n,
            service: None,
            device_id: Some(&[7; 16]),
            session_id: Some(&[9; 16]),
            event_name: Some("Page Viewed"),
            payload: Some(payload.as_bytes()),
        })
        .collect();
    let mut data = Vec::new();
    let range = encode_event_data_into(&mut data, &events);
    let mut out = Vec::new();
    let params = BatchParams {
        api_key: &key(key_number),
        schema_type: SchemaType::Event,
        version: 100,
        batch_id: 1,
        data: &data[range],
    };
    encode_batch_into(&mut out, &params);
    out
}

fn json_line(n: u64) -> String {
    format!(
        "{{\"type\":\"track\",\"event\":\"Page Viewed\",\"device_id\":\"550e8400-e29b-41d4-a716-446655440000\",\
         \"session_id\":\"650e8400-e29b-41d4-a716-446655440000\",\"user_id\":\"user_{n:08}\",\
         \"timestamp\":{},\"properties\":{{\"page\":\"/home\",\"n\":{n}}}}}\n",
        1_760_000_000_000 + n
    )
}

const SYSLOG_MESSAGE: &str = "<134>1 2026-11-21T21:42:00.123Z web-1 checkout 4242 ID47 - order placed id=12345 amount=49.99 currency=USD user=user_00000042\n";

fn syslog_message(key_number: u64) -> String {
    format!("{} {SYSLOG_MESSAGE}", hex(&key(key_number)))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
