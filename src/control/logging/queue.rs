//! Log lines on their way to standard error: a bounded queue, and one thread that writes.
//!
//! Standard error may be a pipe whose reader is gone, or does not read, or a file on a full disk. Who logs must
//! notice none of it: a line that finds no room, or that cannot be written, is lost and counted, and once lines can
//! be written again, the log says how many were lost.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

/// The queue. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the thread that writes: there is a line.
    filled: Condvar,
    /// For those who wait until all is written.
    emptied: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// A line is being written right now.
    writing: bool,
}

impl Queue {
    /// An empty queue. Nothing is written before [`write_to`](Self::write_to) runs on a thread.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Takes a line, or counts it as lost where there is no room. Waits for no one who writes.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if state.bytes + line.len() > limits::LOG_QUEUE_BYTES {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.0.filled.notify_one();
    }

    /// Lines that were lost since the start.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written or lost, but not for longer than this.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.writing || !state.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self
                .0
                .emptied
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Writes lines as they come, for ever. `on_loss` is told how many lines were lost, in all, whenever that
    /// changed and a line could be written again; what it logs comes through the queue as any other line.
    pub fn write_to(&self, mut out: impl Write, on_loss: impl Fn(u64)) {
        let mut said = 0;
        loop {
            let line = self.next();
            let written = write_line(&mut out, &line);
            self.lock().writing = false;
            self.0.emptied.notify_all();
            if written.is_err() {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let lost = self.lost();
            if lost != said {
                said = lost;
                on_loss(lost);
            }
        }
    }

    fn next(&self) -> Vec<u8> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.writing = true;
                return line;
            }
            state = self
                .0
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a line whole. A pipe that somebody else set to non-blocking is tried again for a while when it is full.
fn write_line(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    let give_up = Instant::now() + limits::LOG_FULL_PIPE_WAIT;
    let mut rest = line;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < give_up => {
                std::thread::sleep(limits::LOG_FULL_PIPE_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Fails or blocks as the test says: each write takes one verdict.
    struct Moody {
        verdicts: Receiver<Option<ErrorKind>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.verdicts.recv() {
                Ok(Some(kind)) => Err(kind.into()),
                Ok(None) => {
                    let _ = self.written.send(bytes.to_vec());
                    Ok(bytes.len())
                }
                // The test is over.
                Err(_) => loop {
                    std::thread::park();
                },
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        queue: Queue,
        verdicts: Sender<Option<ErrorKind>>,
        written: Receiver<Vec<u8>>,
        losses: Receiver<u64>,
    }

    fn bench() -> Bench {
        let queue = Queue::new();
        let ((verdicts, taken), (out, written)) = (channel(), channel());
        let (lost, losses) = channel();
        let writer = queue.clone();
        std::thread::spawn(move || {
            let out = Moody {
                verdicts: taken,
                written: out,
            };
            writer.write_to(out, move |n| {
                let _ = lost.send(n);
            });
        });
        Bench {
            queue,
            verdicts,
            written,
            losses,
        }
    }

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_said_once_one_can() {
        let bench = bench();
        let failures = [
            ErrorKind::BrokenPipe,
            ErrorKind::StorageFull,
            ErrorKind::Other,
        ];
        for kind in failures {
            bench.verdicts.send(Some(kind)).unwrap();
            bench.queue.push(b"gone\n".to_vec());
        }
        bench.queue.flush(SOON);
        bench.verdicts.send(Some(ErrorKind::Interrupted)).unwrap();
        bench.verdicts.send(None).unwrap();
        bench.queue.push(b"kept\n".to_vec());
        assert_eq!(bench.written.recv_timeout(SOON).unwrap(), b"kept\n");
        assert_eq!(bench.losses.recv_timeout(SOON).unwrap(), 3);
        assert_eq!(bench.queue.lost(), 3);
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_the_queue_stays_within_its_bound() {
        let bench = bench();
        let line = vec![b'x'; 1 << 10];
        let most = (limits::LOG_QUEUE_BYTES >> 10) as u64;
        // The writer may have taken one of them out of the queue, and hangs on it.
        for _ in 0..3 * most {
            bench.queue.push(line.clone());
        }
        assert!(
            (2 * most - 1..=2 * most).contains(&bench.queue.lost()),
            "{}",
            bench.queue.lost()
        );
        // Nobody who waits for the end of it waits longer than it is willing to.
        bench.queue.flush(Duration::from_millis(20));
        assert!(bench.written.try_recv().is_err());
    }
}
