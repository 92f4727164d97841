//! Every bound that is not a setting, with its reason, and how the bounds relate.
//!
//! The bounds that operators may move are settings (`control::config::settings`), each with its own range.

use std::time::Duration;

/// How much a connection reads at a time. Larger reads mean fewer system calls and larger appends; past
/// this the gain is gone and the bytes no longer fit the second-level cache.
pub const READ_BYTES: usize = 512 << 10;

/// Syslog messages of a read are appended in one piece up to this, which leaves room for one more
/// message in the smallest segment.
pub const GATHERED_BYTES: usize = 768 << 10;

const _: () = assert!(GATHERED_BYTES + 2 * SYSLOG_MESSAGE_BYTES + 2 * 4096 < 1 << 20);

/// A connection that waits so long for room in the journal reads a little all the same, to see whether its
/// peer is still there.
pub const CROWDED_LOOK: Duration = Duration::from_secs(1);

/// How much that is: what thousands of connections may hold.
pub const CROWDED_READ_BYTES: usize = 4 << 10;

/// A connection keeps what it read of an unfinished frame. Up to this it is copied back in front of the next
/// read; above, the frame is read in place, so that a large frame is not copied again and again.
pub const COPIED_REST_BYTES: usize = 64 << 10;

const _: () = assert!(
    COPIED_REST_BYTES <= READ_BYTES / 2,
    "half of a read must remain for new bytes"
);

/// What a connection may keep of an unfinished frame without asking for memory. Most frames are no larger;
/// with the connection's own state it stays below 16 KiB.
pub const UNRESERVED_BYTES: usize = 8 << 10;

/// Frames and bodies up to this have a share of the memory of their own: what is small does not stand behind
/// what is large.
pub const SMALL_BYTES: usize = 64 << 10;

const _: () = assert!(UNRESERVED_BYTES <= SMALL_BYTES && SYSLOG_MESSAGE_BYTES <= SMALL_BYTES);

/// How many times `max_body_size` a body may grow while it is held: once as it comes, once inflated.
pub const GROWTH_OF_BODIES: usize = 2;

/// The least that `max_in_flight_bytes` may be, so that every share holds the largest of what it is for
/// (`ingest::admit::bounds`).
pub const fn least_in_flight_bytes(frame_bytes: usize, body_bytes: usize) -> usize {
    3 * frame_bytes + 6 * body_bytes + 4 * SMALL_BYTES
}

/// Source addresses whose failed authentications are counted one by one: about 100 bytes each.
pub const FAILURE_SOURCES: usize = 4096;

/// Failures of one source are told in one log line for this long.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// How often it is looked for windows that are over.
pub const FAILURE_SWEEP: Duration = Duration::from_secs(5);

/// Failures in a window that cost nothing: a client with an old key and a few connections.
pub const FAILURES_FREE: u64 = 10;

/// Each further failure delays its own answer by this much more.
pub const FAILURE_DELAY_STEP: Duration = Duration::from_millis(50);

/// The longest delay. Longer ones would tie up connections of ours, not effort of theirs.
pub const FAILURE_DELAY_MAX: Duration = Duration::from_secs(1);

/// How long one who watches the server may take to send the head of a request, or wait between two.
pub const OBSERVE_HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections of those who watch. They count against no setting, so their number is bounded here.
pub const OBSERVE_CONNECTIONS: usize = 32;

/// File descriptors that connections leave alone: the journal's segments, the files of the control plane, the
/// sockets of listeners and runtime, and what is accepted only to be closed.
pub const RESERVED_DESCRIPTORS: usize = 128;

const _: () = assert!(OBSERVE_CONNECTIONS <= RESERVED_DESCRIPTORS / 2);

/// hyper's read buffer, which grows to this while a body with room reserved for it arrives fast, and with it the
/// longest head of a request.
pub const HTTP_BUFFER_BYTES: usize = 64 << 10;

/// What is read at once where no more is reserved: just below what hyper allocates at first (8 KiB), so that it
/// finds no reason to allocate more.
pub const HTTP_READ_BYTES: usize = (8 << 10) - 1;

/// What is reserved for a head that turns out longer than [`UNRESERVED_BYTES`]: all that hyper's buffer may grow
/// to until the head is known to be too long, which doubles.
pub const HTTP_HEAD_BYTES: usize = 2 * (HTTP_BUFFER_BYTES + HTTP_READ_BYTES);

/// What is reserved besides a body that is read in large pieces: hyper's buffer, and the piece before.
pub const HTTP_WIDE_BYTES: usize = 2 * HTTP_BUFFER_BYTES;

/// Of an HTTP/1 connection on which nothing went on for this long nothing is kept but the socket.
pub const HTTP_IDLE_AFTER: Duration = Duration::from_secs(1);

/// Fields in the head of a request: hyper's own bound for HTTP/1, and three times what browsers send through
/// proxies.
pub const HTTP_FIELDS: usize = 100;

/// Requests that one HTTP/2 connection may have open at once: what RFC 9113 calls the least that lets a client
/// work in parallel.
pub const HTTP2_STREAMS: u32 = 100;

/// The same before the first good key came on it, and until then the bytes of bodies while any is open. Whoever
/// has a good key is through with the first request.
pub const STRANGER_REQUESTS: u64 = 8;

/// See [`STRANGER_REQUESTS`].
pub const STRANGER_BODY_BYTES: usize = 64 << 10;

/// What an open HTTP/2 request takes besides its fields: its stream, its task, its answer.
pub const HTTP2_REQUEST_BYTES: usize = 2 << 10;

/// What a field takes once it is decoded, whatever it says: two entries of about 100 bytes in tables that
/// double, so up to twice that.
pub const HTTP2_FIELD_BYTES: usize = 256;

/// What is reserved at a time for the heads of an HTTP/2 connection with a good key: some thirty requests.
pub const HTTP2_HEADS_STEP_BYTES: usize = 128 << 10;

/// Bytes of one body that an HTTP/2 client may send before they are read: at 20 ms of round trip this allows
/// 12 MB/s, more than one uploader in a hundred needs.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// The same of all bodies of a connection together: what a connection can make the server hold unread.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

const _: () = assert!(
    HTTP2_STREAM_WINDOW_BYTES <= HTTP2_CONNECTION_WINDOW_BYTES,
    "one body alone must be able to use its window"
);

/// How often an HTTP/2 peer is asked whether it is there, and how long it may take to say so: one that went
/// away without a word is noticed within the time that HTTP/1 allows.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);

/// See [`HTTP2_PING_INTERVAL`].
pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(
    HTTP2_PING_INTERVAL.as_secs() + HTTP2_PING_TIMEOUT.as_secs() <= 30,
    "no version of HTTP may hold a connection longer than stall_timeout lets the other"
);

/// After a refusal, the longest rest of a body that is read so that the connection stays: what is on its way
/// already on most of them.
pub const REST_BYTES: usize = 256 << 10;

/// How long a refusal waits for the end of a body of unknown length, which is mostly there already.
pub const REST_WAIT: Duration = Duration::from_millis(10);

/// After a refusal that leaves a body unread, how much of it is thrown away so that the client sees the
/// answer: the default of `max_body_size`, once and a half.
pub const LINGER_BYTES: usize = 15 << 20;

/// How much at a time.
pub const LINGER_READ_BYTES: usize = 16 << 10;

/// And for how long: the client needs a round trip, and to look up from its sending.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest id of a request that a client may choose: twice a UUID and a trace id together.
pub const REQUEST_ID_BYTES: usize = 128;

/// How long browsers may remember what they were told before they sent, seconds: a day, of which Chromium
/// takes two hours.
pub const PREFLIGHT_SECS: u32 = 86_400;

/// The longest `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;

/// How long a request with an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// How many such requests are remembered, the latest ones: three a second over the whole window, at about
/// 100 bytes each.
pub const IDEMPOTENT_REQUESTS: usize = 256 << 10;

/// How often they are saved.
pub const IDEMPOTENCY_SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// After this much journal they are saved too: after a crash a start reads the journal behind what was saved,
/// and a slow disk reads this in a second.
pub const IDEMPOTENCY_SAVE_BYTES: u64 = 256 << 20;

/// The first allocation for a body that comes in pieces: an announced length is not trusted with more.
pub const BODY_FIRST_BYTES: usize = 64 << 10;

/// A body up to this is checked at once, in a millisecond; a larger one waits for its turn.
pub const HEAVY_BODY_BYTES: usize = 256 << 10;

/// A body that inflates to no more than this is inflated at once, in a tenth of a millisecond; a larger one waits
/// for its turn, and begins anew then.
pub const QUICK_INFLATE_BYTES: usize = 64 << 10;

/// How much of a body is inflated before others are let in front, in half a millisecond.
pub const INFLATE_STEP_BYTES: usize = 256 << 10;

/// How much of the compressed body that may read: what makes nothing takes time too.
pub const INFLATE_INPUT_BYTES: usize = 64 << 10;

/// The largest window of a zstd body, as a power of two: the 8 MiB that RFC 9659 asks content codings to keep to.
pub const ZSTD_WINDOW_LOG: u32 = 23;

/// How long an HTTP request waits for room in the journal's queue before it is answered with 503. At disk
/// speed the whole queue is committed within a tenth of this.
pub const ROOM_WAIT: Duration = Duration::from_secs(1);

/// What clients that are refused for want of room are told to wait, seconds.
pub const RETRY_AFTER_SECS: u32 = 1;

/// The largest UDP datagram: the 16-bit length of UDP over IPv4.
pub const DATAGRAM_BYTES: usize = 65_535;

/// The largest syslog message; what is longer is cut and marked. RFC 5425 asks for 8 KiB at least.
pub const SYSLOG_MESSAGE_BYTES: usize = 64 << 10;

/// Room for one datagram. A distance of 64 KiB would put the starts of all slots into the same sets of the
/// caches.
pub const DATAGRAM_SLOT_BYTES: usize = (64 << 10) + 704;

const _: () = assert!(DATAGRAM_SLOT_BYTES >= DATAGRAM_BYTES);

/// Datagrams received with one system call. With 32 the call costs little beside the datagrams, and the
/// slots of a socket take 2 MiB, of which only what datagrams fill is ever touched.
pub const DATAGRAMS_PER_CALL: usize = 32;

/// Datagrams of one turn: what they carry is appended to the journal together.
pub const DATAGRAMS_PER_TURN: usize = 256;

/// How long a thread waits for a datagram before it looks whether the server drains.
pub const UDP_WAIT: Duration = Duration::from_millis(500);

/// A socket that was emptied is left alone this long, so that what a busy sender sends comes in batches
/// instead of waking the server for each datagram. A buffer of 208 KiB, which the kernel grants without
/// being asked (net.core.rmem_default), holds what 200,000 small datagrams a second bring in twice the time.
pub const UDP_GATHER: Duration = Duration::from_millis(1);

/// Sockets of one UDP listener at most: the kernel spreads senders over them, one a thread is enough.
pub const UDP_SOCKETS_MAX: usize = 16;

/// How often the kernel's counts of dropped datagrams are read between scrapes.
pub const UDP_DROPS_INTERVAL: Duration = Duration::from_secs(5);

/// What UDP sockets ask the kernel to buffer: at 200,000 datagrams of 200 bytes a second (768 bytes each in
/// the kernel's accounting) this rides out 50 ms in which the server is not scheduled.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 8 << 20;

/// Connections the kernel completes before the server accepts them: its own usual cap.
pub const ACCEPT_BACKLOG: i32 = 4096;

/// Pause after accept fails for want of file descriptors or memory.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// A message that anybody can cause again and again is logged at most once in this time.
pub const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Log lines that wait to be written, bytes: thousands, which a reader that pauses for a moment catches up with.
pub const LOG_QUEUE_BYTES: usize = 1 << 20;

/// How long the thread that writes the log tries a full pipe that does not block, before it gives the line up.
pub const LOG_FULL_PIPE_WAIT: Duration = Duration::from_secs(1);

/// How long it pauses between two tries.
pub const LOG_FULL_PIPE_PAUSE: Duration = Duration::from_millis(10);

/// How often a stop looks whether a thread has ended.
pub const JOIN_POLL: Duration = Duration::from_millis(5);

/// How long the process waits at its end for the last log lines to be written.
pub const LOG_FLUSH_WAIT: Duration = Duration::from_secs(1);

/// How long a start waits for the journal's first segment. On a disk that takes longer the server starts all
/// the same, and holds senders back.
pub const FIRST_SEGMENT_WAIT: Duration = Duration::from_secs(5);

/// How long a connection goes on reading what was on its way when the server began to drain.
pub const DRAIN_READ: Duration = Duration::from_millis(500);

/// How often the key file is looked at, for changes that the file system does not report.
pub const KEY_FILE_POLL: Duration = Duration::from_millis(300);

/// A key file that was closed or renamed into place is read after this: editors do both in quick succession.
pub const KEY_FILE_SETTLE: Duration = Duration::from_millis(50);

/// A key file that changed without word that its writer is done is read when it was quiet this long, so that
/// a file written in two halves a second apart is not read half.
pub const KEY_FILE_QUIET: Duration = Duration::from_millis(1300);

/// A key file that goes on changing is read after this, quiet or not: who keeps on writing must not keep revoked keys
/// alive. What was written in two halves a second apart is whole by then.
pub const KEY_FILE_LONGEST_WAIT: Duration = Duration::from_millis(1500);

const _: () = assert!(
    KEY_FILE_LONGEST_WAIT.as_millis() + KEY_FILE_POLL.as_millis() < 2000,
    "a removed key is refused within 2 s, whatever the writer does"
);

const _: () = assert!(
    KEY_FILE_QUIET.as_millis() + 2 * KEY_FILE_POLL.as_millis() < 2000,
    "good content is live within 2 s, also where nothing but the poll finds it"
);

/// The same fault of the key file is logged at most once in this time.
pub const KEY_FILE_ERROR_INTERVAL: Duration = Duration::from_secs(60);

/// How long a TLS handshake may take: several round trips to the far side of the world, with losses.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long telling a TLS peer that the connection ends may take.
pub const TLS_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

const _: () = assert!(
    TLS_HANDSHAKE_TIMEOUT.as_secs() + PROXY_HEADER_TIMEOUT.as_secs() < 30,
    "nothing holds a connection for 30 s without progress"
);

/// The largest file of certificates or of a key: hundreds of client authorities fit.
pub const PEM_FILE_BYTES: u64 = 1 << 20;

/// How long a proxy may take to send its header, which it sends before anything else.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest PROXY header of version 2 that is taken. Addresses take 216 bytes at most; the rest is room
/// for what a proxy tells of its TLS session.
pub const PROXY_HEADER_BYTES: usize = 4 << 10;

/// How often what was counted for each key is written to disk.
pub const USAGE_SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// How many of the busiest keys and workspaces are shown as metrics.
pub const BUSIEST_SHOWN: usize = 20;

/// How often the counters are read for the rates of `tell status`.
pub const RATE_INTERVAL: Duration = Duration::from_secs(1);

/// Readings that are kept: rates are of the last five seconds, long enough to be steady and short enough to
/// be of now.
pub const RATE_SAMPLES: usize = 6;

/// How long a status waits for what the file system has to tell.
pub const EXTENT_WAIT: Duration = Duration::from_secs(1);

/// How long `tell status` waits for the server.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

const _: () = assert!(
    EXTENT_WAIT.as_millis() * 2 < STATUS_TIMEOUT.as_millis(),
    "a server whose disk stalls still answers in time"
);

/// How often it is looked whether the service manager is to be told another status.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// How often gathered histogram samples are folded into their buckets.
pub const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Keys that one entry of the audit log names; a larger change takes several entries.
pub const AUDIT_ENTRY_KEYS: usize = 1000;

/// Keys that entries may name while they wait to be appended: twice those of the largest key file, which one reload
/// may replace whole, at about 100 bytes each.
pub const AUDIT_QUEUE_KEYS: usize = 2_100_000;

/// Entries that wait longer than this for the audit log are said in readiness.
pub const AUDIT_PATIENCE: Duration = Duration::from_secs(5);

/// How long after an append failed it is tried again.
pub const AUDIT_RETRY: Duration = Duration::from_secs(1);

/// Such entries that are made and appended together: one fsync for them, and at most some 10 MB as JSON.
pub const AUDIT_ENTRIES_AT_ONCE: usize = 16;
