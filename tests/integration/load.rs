//! Load from several HTTP clients and TCP connections at once, every event with an id of its own, and the
//! check that what was acknowledged is there exactly once, byte for byte.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::frames::{event_batch, frame};
use crate::harness::{KEY, KEY_2, SOON, Server, wait_for};

const HTTP_CLIENTS: usize = 4;
const TCP_CLIENTS: usize = 2;
/// Between two frames of a TCP client.
const PACE: Duration = Duration::from_millis(1);

/// The workspace that a client's every second request or frame goes to, and its key.
const WORKSPACES: [(u32, &str); 2] = [(1, KEY), (2, KEY_2)];

/// What clients sent, over all rounds of load on one data directory.
#[derive(Debug, Default)]
pub struct Sent {
    /// Ids that were acknowledged, with their workspace.
    acknowledged: HashMap<String, u32>,
    /// Ids whose answer did not come; they may be there or not.
    unanswered: HashMap<String, u32>,
    /// The ids of each TCP connection in order; those that are there are the first ones.
    streams: Vec<Vec<(String, u32)>>,
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    http: Vec<JoinHandle<Sent>>,
    tcp: Vec<JoinHandle<Vec<(String, u32)>>>,
}

impl Load {
    /// Starts the clients; `round` makes their ids different from those of other rounds.
    pub fn start(server: &Server, round: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let at = server.at();
        let http = (0..HTTP_CLIENTS).map(|client| {
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            let prefix = format!("{round}-http{client}");
            std::thread::spawn(move || http_client(at.http, &prefix, &stop, &acknowledged))
        });
        let tcp = (0..TCP_CLIENTS).map(|client| {
            let stop = Arc::clone(&stop);
            let prefix = format!("{round}-tcp{client}");
            std::thread::spawn(move || tcp_client(at.tcp, &prefix, &stop))
        });
        Self {
            http: http.collect(),
            tcp: tcp.collect(),
            stop,
            acknowledged,
        }
    }

    /// Waits until so many events of this load are acknowledged.
    pub fn wait_for_acknowledged(&self, events: u64) {
        wait_for(&format!("{events} acknowledged events"), || {
            (self.acknowledged.load(Ordering::Relaxed) >= events).then_some(())
        });
    }

    /// Lets the clients finish their requests, or find the server gone, and adds up what they sent.
    pub fn stop(self, sent: &mut Sent) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.http {
            let of_client = client.join().expect("an HTTP client ends well");
            sent.acknowledged.extend(of_client.acknowledged);
            sent.unanswered.extend(of_client.unanswered);
        }
        for client in self.tcp {
            sent.streams
                .push(client.join().expect("a TCP client ends well"));
        }
    }
}

impl Sent {
    /// How many events were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Asserts that every acknowledged event is in its workspace exactly once, byte for byte, and that
    /// nothing else is there but what was on its way.
    pub fn assert_kept(&self, server: &Server) {
        let mut kept: HashMap<String, u32> = HashMap::new();
        for (workspace, _) in WORKSPACES {
            for id in exported_ids(&export(server, workspace)) {
                let twice = kept.insert(id.clone(), workspace);
                assert_eq!(twice, None, "{id} is there twice");
            }
        }
        for (id, workspace) in &self.acknowledged {
            assert_eq!(kept.remove(id), Some(*workspace), "{id} was acknowledged");
        }
        for stream in &self.streams {
            let found: Vec<bool> = stream
                .iter()
                .map(|(id, workspace)| kept.remove(id) == Some(*workspace))
                .collect();
            assert!(
                found.is_sorted_by(|a, b| a >= b),
                "frames in the middle of {stream:?} are missing"
            );
        }
        let unknown: Vec<_> = kept
            .iter()
            .filter(|(id, w)| self.unanswered.get(*id) != Some(w))
            .collect();
        assert!(unknown.is_empty(), "nobody sent {unknown:?}");
    }

    /// Asserts that of each TCP connection everything that was sent is there.
    pub fn assert_streams_kept_whole(&self, server: &Server) {
        let kept: HashSet<String> = WORKSPACES
            .iter()
            .flat_map(|(workspace, _)| exported_ids(&export(server, *workspace)))
            .collect();
        for (id, _) in self.streams.iter().flatten() {
            assert!(
                kept.contains(id),
                "{id} was sent before the connection was closed"
            );
        }
    }
}

/// The events of a workspace as `tell export` prints them.
pub fn export(server: &Server, workspace: u32) -> String {
    let output = server.tell(&["export", "--workspace", &workspace.to_string()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("export prints UTF-8")
}

/// The ids of whole lines; a line of other bytes than were sent for its id fails.
pub fn exported_ids(text: &str) -> Vec<String> {
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "the last line is cut"
    );
    let id_of = |line: &str| {
        let (_, rest) = line.split_once("\"name\":\"").expect("a name");
        let (id, _) = rest.split_once('"').expect("the end of the name");
        // `properties` is the last column, so this compares it to the end of the line.
        let expected = format!("\"properties\":{}}}", properties(id));
        assert!(
            line.ends_with(&expected),
            "{line} does not end with {expected}"
        );
        id.to_owned()
    };
    text.lines().map(id_of).collect()
}

/// The properties of the event with this id: of different lengths, with what is easily changed in passing.
fn properties(id: &str) -> String {
    let hash = id
        .bytes()
        .fold(7_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
    let padding = "ż\\n".repeat((hash % 97) as usize);
    format!("{{\"hash\":{hash},\"n\":1.50,\"e\":1E2,\"text\":\"\\\"{padding}\\u0000\"}}")
}

/// Posts batches on one connection until it is told to stop or the server is gone.
fn http_client(at: SocketAddr, prefix: &str, stop: &AtomicBool, acknowledged: &AtomicU64) -> Sent {
    let mut sent = Sent::default();
    let Ok(mut stream) = TcpStream::connect(at) else {
        return sent;
    };
    let mut next = 0;
    for request in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (workspace, key) = WORKSPACES[request % 2];
        let ids: Vec<String> = (next..next + 1 + request % 10)
            .map(|n| format!("{prefix}-{n}"))
            .collect();
        next += ids.len();
        let answer = post(&mut stream, key, &ids);
        let events = ids.len() as u64;
        let ids = ids.into_iter().map(|id| (id, workspace));
        match answer {
            Ok(202) => {
                acknowledged.fetch_add(events, Ordering::Relaxed);
                sent.acknowledged.extend(ids);
            }
            // A refusal says that nothing was kept; then the ids must not be there.
            Ok(503) => {}
            Ok(other) => panic!("status {other}"),
            Err(_) => {
                sent.unanswered.extend(ids);
                break;
            }
        }
    }
    sent
}

fn post(stream: &mut TcpStream, key: &str, ids: &[String]) -> io::Result<u16> {
    let line = |id: &String| {
        let properties = properties(id);
        format!(
            "{{\"event\":\"{id}\",{}\n",
            properties.strip_prefix('{').unwrap_or_default()
        )
    };
    let body: String = ids.iter().map(line).collect();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all([head, body].concat().as_bytes())?;
    stream.set_read_timeout(Some(SOON))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let invalid = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(invalid)?;
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(invalid());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| invalid())?;
        }
        if line == "\r\n" {
            break;
        }
    }
    // The status decides: a server that answered has kept it, even if the rest of the answer is lost.
    let _ = reader.read_exact(&mut vec![0; length]);
    Ok(status)
}

/// Sends frames on one connection until it is told to stop or the server is gone.
fn tcp_client(at: SocketAddr, prefix: &str, stop: &AtomicBool) -> Vec<(String, u32)> {
    let mut sent = Vec::new();
    let Ok(mut stream) = TcpStream::connect(at) else {
        return sent;
    };
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (workspace, key) = WORKSPACES[n % 2];
        let id = format!("{prefix}-{n}");
        let bytes = frame(&event_batch(key, &[(&id, &properties(&id))]));
        sent.push((id, workspace));
        if stream.write_all(&bytes).is_err() {
            break;
        }
        // The kind of load matters here, not the amount, which would have to be checked event by event.
        std::thread::sleep(PACE);
    }
    sent
}
