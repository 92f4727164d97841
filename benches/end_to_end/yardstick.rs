//! What nothing that does the job can go below: receiving, keeping and answering, each alone.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

/// What this program is started with to be a yardstick.
pub const ARGUMENT: &str = "yardstick-";

pub const BLOCK_BYTES: usize = 4096;
const WRITE_BYTES: usize = 4 << 20;

pub fn run(role: &str, bytes: Option<&str>) {
    match role {
        "receiver" => receiver(),
        "hyper" => hyper(),
        "writer" => writer(bytes.expect("a number of bytes").parse().expect("a number")),
        other => panic!("no yardstick {other}"),
    }
}

/// Reads and discards, a blocking thread a connection.
fn receiver() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    announce(&listener);
    for stream in listener.incoming() {
        let mut stream = stream.expect("accept");
        std::thread::spawn(move || {
            let mut buffer = vec![0; 256 << 10];
            while matches!(stream.read(&mut buffer), Ok(n) if n > 0) {}
        });
    }
}

/// Reads the body and answers 202, on the runtime that the server uses.
fn hyper() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("bind");
        println!("{}", listener.local_addr().expect("an address"));
        loop {
            let (stream, _) = listener.accept().await.expect("accept");
            stream.set_nodelay(true).expect("no delay");
            let service = service_fn(|request: Request<Incoming>| async {
                let body = request
                    .into_body()
                    .collect()
                    .await
                    .map(|body| body.to_bytes().len());
                let mut response = Response::new(Full::new(Bytes::from(format!(
                    "{{\"accepted\":{}}}",
                    body.is_ok()
                ))));
                *response.status_mut() = StatusCode::ACCEPTED;
                Ok::<_, Infallible>(response)
            });
            tokio::spawn(async move {
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

/// Appends and syncs `bytes` past the page cache, in writes as large as the server's commits.
fn writer(bytes: u64) {
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32)
        .open("bytes")
        .expect("a file system with direct I/O");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).expect("space");
    let block = Block::new(WRITE_BYTES);
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at)
            .min(WRITE_BYTES as u64)
            .next_multiple_of(BLOCK_BYTES as u64);
        file.write_all_at(block.bytes(n as usize), at)
            .expect("write");
        file.sync_data().expect("sync");
        at += n;
    }
    println!("done");
    std::io::stdout().flush().expect("stdout");
    // It is measured now, and ended.
    let _ = std::io::stdin().read(&mut [0]);
}

/// Bytes where direct I/O wants them.
pub struct Block {
    memory: Vec<u8>,
    start: usize,
}

impl Block {
    pub fn new(bytes: usize) -> Self {
        let memory = vec![7; bytes + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { memory, start }
    }

    pub fn bytes(&self, n: usize) -> &[u8] {
        &self.memory[self.start..self.start + n]
    }
}

fn announce(listener: &TcpListener) {
    println!("{}", listener.local_addr().expect("an address"));
    std::io::stdout().flush().expect("stdout");
}
