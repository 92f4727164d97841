//! One HTTP connection that sends the same request again and again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Nothing here takes as long, unless the other side is stuck.
const TIMEOUT: Duration = Duration::from_secs(60);

pub struct Client {
    stream: TcpStream,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            stream: connect(address),
        }
    }

    pub fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).expect("send a request");
    }

    /// Whether the answer is 202.
    pub fn receive(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // The answer is far smaller than the buffer and written at once.
        let n = self.stream.read(&mut buffer).expect("an answer");
        buffer[..n].starts_with(b"HTTP/1.1 202")
    }

    /// How long a request takes until its answer is there.
    pub fn time(&mut self, request: &[u8]) -> Duration {
        let start = Instant::now();
        self.send(request);
        assert!(self.receive(), "the request was refused");
        start.elapsed()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream.set_nodelay(true).expect("no delay");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    stream.set_write_timeout(Some(TIMEOUT)).expect("a timeout");
    stream
}
