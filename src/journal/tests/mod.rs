//! The journal against a disk that loses power, fails, fills up and rots.

mod damage;
mod power_cut;
mod reading;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::format::{BLOCK_BYTES, HEADER_BYTES, RecordHeader, SegmentId, encode_record_header};
use super::read::{self, Found};
use super::simulated::SimulatedDisk;
use super::storage::Disk;
use super::*;
use crate::origin::{KeyId, Source, Workspace};

const OPTIONS: Options = Options {
    segment_bytes: 64 << 10,
    limit: JournalLimit::TenthFree,
    max_queued_bytes: 1 << 20,
    headroom_bytes: 512 << 10,
    on_commit: |_, _| {},
};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    workspace: u32,
    payload: Vec<u8>,
}

fn facts(workspace: u32) -> Facts {
    Facts {
        workspace: Workspace::new(workspace).unwrap(),
        key_id: KeyId(7),
        source: Source::Tcp,
        encoding: Encoding::FlatBuffer { schema_type: 1 },
        received_at_ns: 1,
        peer: SocketAddr::from(([127, 0, 0, 1], 9)),
    }
}

fn open(disk: &SimulatedDisk, options: Options) -> (Journal, Recovered) {
    Journal::open(Arc::new(disk.clone()), options).unwrap()
}

/// Appends and waits; retries while the next segment is being prepared.
fn append(journal: &Journal, kept: &Kept) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    append_while(journal, kept, || Instant::now() < deadline)
}

/// The same, but retries only while that holds.
fn append_while(journal: &Journal, kept: &Kept, goes_on: impl Fn() -> bool) -> Result<(), String> {
    let entry = Entry::new(facts(kept.workspace), &kept.payload);
    loop {
        match journal.append_acked(&[entry]) {
            Ok(ticket) => {
                return ticket
                    .0
                    .blocking_recv()
                    .map_err(|_| "commit failed".to_owned());
            }
            Err(Refused::Busy) if goes_on() => std::thread::yield_now(),
            Err(refused) => return Err(refused.to_string()),
        }
    }
}

fn read_all(disk: &SimulatedDisk) -> (Vec<Kept>, usize) {
    let mut kept = Vec::new();
    let mut damaged = 0;
    let mut last = 0;
    read::for_each(disk, |found| {
        match found {
            Found::Record(record) => {
                assert!(record.sequence > last, "sequences grow");
                last = record.sequence;
                kept.push(Kept {
                    workspace: record.facts.workspace.get(),
                    payload: record.payload.to_vec(),
                });
            }
            Found::DamagedPayload(_) | Found::DamagedBytes { .. } | Found::Missing { .. } => {
                damaged += 1;
            }
        }
        true
    })
    .unwrap();
    (kept, damaged)
}

/// Distinct payloads of many sizes, some larger than a chunk's rest or a block.
fn payloads(n: u32) -> Vec<Kept> {
    (0..n)
        .map(|i| {
            let len = [0, 1, 63, 64, 500, 4032, 4096, 9000, 20_000][i as usize % 9];
            let mut payload = i.to_le_bytes().to_vec();
            payload.resize(4 + len, i as u8);
            Kept {
                workspace: i % 3 + 1,
                payload,
            }
        })
        .collect()
}

#[test]
fn a_mark_is_read_back_with_its_record_and_apart_from_the_payload() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let mark = Mark {
        request: [1; 16],
        body: [2; 16],
    };
    let before = journal.position();
    for (mark, payload) in [
        (Some(mark), &b"marked"[..]),
        (None, b"not"),
        (Some(mark), b""),
    ] {
        let entry = Entry::marked(facts(1), mark, payload);
        while journal.append(&[entry]).is_err() {
            std::thread::yield_now();
        }
    }
    journal.close().unwrap();
    let mut found = Vec::new();
    read::for_each(&disk, |item| {
        let Found::Record(record) = item else {
            panic!("{item:?}");
        };
        assert!((before..journal.position()).contains(&record.sequence));
        found.push((record.mark, record.payload.to_vec()));
        true
    })
    .unwrap();
    let expected = [
        (Some(mark), b"marked".to_vec()),
        (None, b"not".to_vec()),
        (Some(mark), Vec::new()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_was_appended_is_read_back_in_order_over_several_segments() {
    let disk = SimulatedDisk::default();
    let (journal, recovered) = open(&disk, OPTIONS);
    assert_eq!(recovered.segments, 0);
    let all = payloads(60);
    for kept in &all {
        append(&journal, kept).unwrap();
    }
    assert_eq!(read_all(&disk), (all.clone(), 0));
    journal.close().unwrap();
    assert!(journal.append(&[]).is_err());
    assert_eq!(read_all(&disk), (all, 0));
    assert!(read::segments(&disk).unwrap().len() > 2);
}

#[test]
fn a_restart_goes_on_behind_what_it_finds() {
    let disk = SimulatedDisk::default();
    let all = payloads(20);
    for (i, kept) in all.iter().enumerate() {
        let (journal, recovered) = open(&disk, OPTIONS);
        assert_eq!(
            (recovered.segments, recovered.damaged, recovered.torn_bytes),
            (i, 0, 0)
        );
        append(&journal, kept).unwrap();
        journal.close().unwrap();
    }
    assert_eq!(read_all(&disk), (all, 0));
}

#[test]
fn growth_is_told_after_so_many_bytes_of_segments() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let since = journal.position();
    let grown = |bytes, patience| {
        runtime.block_on(async {
            let grown = journal.has_grown(since, bytes);
            tokio::time::timeout(Duration::from_millis(patience), grown)
                .await
                .is_ok()
        })
    };
    let segments = |n: u64| n * OPTIONS.segment_bytes;
    assert!(!grown(segments(2), 20), "nothing was appended");
    // Two of them do not fit one segment.
    let half = Kept {
        workspace: 1,
        payload: vec![7; 40 << 10],
    };
    for _ in 0..3 {
        append(&journal, &half).unwrap();
    }
    assert!(grown(segments(2), 10_000));
    assert!(!grown(segments(3), 20));
    journal.close().unwrap();
}

#[test]
fn records_that_nobody_waits_for_are_committed_soon_and_at_close() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let all = payloads(5);
    append(&journal, &all[0]).unwrap();
    for kept in &all[1..] {
        journal
            .append(&[Entry::new(facts(kept.workspace), &kept.payload)])
            .unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while journal.counters().records.load(Ordering::Relaxed) < 5 {
        assert!(Instant::now() < deadline, "not committed");
        std::thread::sleep(Duration::from_millis(1));
    }
    journal.append(&[Entry::new(facts(1), b"last")]).unwrap();
    journal.close().unwrap();
    assert_eq!(read_all(&disk).0.len(), 6);
}

#[test]
fn entries_of_one_append_are_kept_together_or_not_at_all() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let big = vec![1; OPTIONS.segment_bytes as usize / 2];
    let entry = Entry::new(facts(1), &big);
    assert_eq!(journal.append(&[entry, entry]), Err(Refused::TooLarge));
    append(
        &journal,
        &Kept {
            workspace: 1,
            payload: b"x".to_vec(),
        },
    )
    .unwrap();
    journal.close().unwrap();
    assert_eq!(read_all(&disk).0.len(), 1);
}

#[test]
fn a_failed_sync_stops_the_writer_for_good_and_acknowledges_nothing() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let all = payloads(8);
    for kept in &all[..4] {
        append(&journal, kept).unwrap();
    }
    let failure = journal.failure();
    assert!(failure.borrow().is_none());
    disk.fail_sync_at(disk.operations());
    assert!(append(&journal, &all[4]).is_err());
    assert!(matches!(journal.append(&[]), Err(Refused::Failed(_))));
    assert!(failure.borrow().is_some());
    assert!(journal.close().is_err());
    assert!(
        !disk.synced_after_failure(),
        "a descriptor whose sync failed is not synced again"
    );
    let (journal, _) = open(&disk, OPTIONS);
    append(&journal, &all[5]).unwrap();
    journal.close().unwrap();
    let (kept, _) = read_all(&disk);
    assert_eq!(kept[..4], all[..4]);
    assert_eq!(kept.last(), Some(&all[5]));
}

#[test]
fn a_full_disk_refuses_before_it_accepts_and_resumes_by_itself() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let kept = Kept {
        workspace: 1,
        payload: vec![3; 10_000],
    };
    append(&journal, &kept).unwrap();
    disk.set_out_of_space(true);
    let mut acked = 1;
    let refused = loop {
        match append(&journal, &kept) {
            Ok(()) => acked += 1,
            Err(refused) => break refused,
        }
        assert!(acked < 100, "never refused");
    };
    assert!(refused.contains("journal is full"), "{refused}");
    assert!(matches!(journal.status().refusing, Some(Refused::Full(_))));
    disk.set_out_of_space(false);
    let deadline = Instant::now() + Duration::from_secs(5);
    while append(&journal, &kept).is_err() {
        assert!(Instant::now() < deadline, "did not resume within 5 s");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(journal.status().refusing, None);
    journal.close().unwrap();
    assert_eq!(read_all(&disk).0.len(), acked + 1);
}

#[test]
fn the_journal_stays_below_its_limit() {
    let disk = SimulatedDisk::default();
    let limit = 3 * OPTIONS.segment_bytes + 5000;
    let options = Options {
        limit: JournalLimit::Bytes(limit),
        ..OPTIONS
    };
    let (journal, _) = open(&disk, options);
    let kept = Kept {
        workspace: 1,
        payload: vec![3; 5000],
    };
    while append(&journal, &kept).is_ok() {}
    assert!(journal.status().disk_bytes <= limit);
    journal.close().unwrap();
    let used: u64 = read::segments(&disk)
        .unwrap()
        .iter()
        .map(|s| s.disk_bytes)
        .sum();
    assert!(used <= limit && used > 2 * OPTIONS.segment_bytes, "{used}");
}

#[test]
fn a_stalled_disk_bounds_what_is_queued() {
    let disk = SimulatedDisk::default();
    let options = Options {
        segment_bytes: 8 << 20,
        ..OPTIONS
    };
    let (journal, _) = open(&disk, options);
    append(
        &journal,
        &Kept {
            workspace: 1,
            payload: vec![1],
        },
    )
    .unwrap();
    disk.set_stalled(true);
    let payload = vec![2; 50_000];
    let mut accepted = 0;
    while journal.append(&[Entry::new(facts(1), &payload)]).is_ok() {
        accepted += 1;
        assert!(accepted < 1000);
    }
    assert!(journal.status().queued_bytes <= options.max_queued_bytes);
    disk.set_stalled(false);
    journal.close().unwrap();
    assert_eq!(read_all(&disk).0.len(), accepted + 1);
}

/// One segment with these records, in one commit each, and its name.
fn one_segment(all: &[Kept]) -> (SimulatedDisk, String) {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(
        &disk,
        Options {
            segment_bytes: 1 << 20,
            ..OPTIONS
        },
    );
    for kept in all {
        append(&journal, kept).unwrap();
    }
    journal.close().unwrap();
    let name = read::segments(&disk).unwrap()[0].name.clone();
    (disk, name)
}

#[test]
fn a_forged_record_in_a_payload_is_not_delivered_when_the_header_before_it_is_damaged() {
    let forged = encode_record_header(
        &RecordHeader {
            sequence: SegmentId { number: 1, salt: 0 }.sequence(1),
            facts: facts(666),
            marked: false,
            payload_len: 0,
            payload_crc: 0,
        },
        SegmentId { number: 1, salt: 0 }.crc_seed(),
    );
    let hostile = Kept {
        workspace: 1,
        payload: forged.repeat(200),
    };
    let after = Kept {
        workspace: 2,
        payload: b"after".to_vec(),
    };
    let (disk, name) = one_segment(&[hostile, after.clone()]);
    disk.flip_bit(&name, BLOCK_BYTES + 20, 3);
    let (kept, damaged) = read_all(&disk);
    assert_eq!((kept, damaged), (vec![after], 1));
}

#[test]
fn records_are_read_from_a_real_directory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let disk = Arc::new(Disk::create(&path).unwrap());
    let options = Options {
        segment_bytes: 4 << 20,
        ..OPTIONS
    };
    let (journal, _) = Journal::open(disk.clone(), options).unwrap();
    let all = payloads(300);
    for kept in &all {
        append(&journal, kept).unwrap();
    }
    journal.close().unwrap();
    let mut found = 0;
    read::for_each(disk.as_ref(), |item| {
        assert!(matches!(item, Found::Record(r) if r.payload == all[found].payload));
        found += 1;
        true
    })
    .unwrap();
    assert_eq!(found, all.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A flipped bit costs at most the record it is in.
    #[test]
    fn a_flipped_bit_costs_one_record_and_is_reported(record in 0..12usize, at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let all = payloads(12);
        let (disk, name) = one_segment(&all);
        // Every record is a commit of its own, so each starts at a block.
        let blocks = |k: &Kept| (HEADER_BYTES + k.payload.len()).div_ceil(BLOCK_BYTES);
        let start = BLOCK_BYTES * (1 + all[..record].iter().map(blocks).sum::<usize>());
        let len = HEADER_BYTES + all[record].payload.len();
        disk.flip_bit(&name, start + at.index(len), bit);
        let mut expected = all.clone();
        expected.remove(record);
        let (kept, damaged) = read_all(&disk);
        prop_assert_eq!(&kept, &expected);
        prop_assert_eq!(damaged, 1);
        for _ in 0..2 {
            let (journal, recovered) = open(&disk, OPTIONS);
            prop_assert_eq!((recovered.damaged, recovered.torn_bytes), (1, 0));
            journal.close().unwrap();
        }
        prop_assert_eq!(read_all(&disk), (expected, damaged));
    }

    /// Whatever the disk holds, reading it neither panics nor loops.
    #[test]
    fn arbitrary_bytes_in_a_segment_are_no_records(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let disk = SimulatedDisk::default();
        let id = SegmentId { number: 1, salt: 5 };
        let blocks = bytes.len().div_ceil(BLOCK_BYTES).max(1) * BLOCK_BYTES;
        disk.create(&id.file_name(), blocks as u64).unwrap();
        for (i, byte) in bytes.iter().enumerate() {
            for bit in 0..8 {
                if byte & (1 << bit) != 0 && !(8..BLOCK_BYTES).contains(&i) {
                    disk.flip_bit(&id.file_name(), i, bit);
                }
            }
        }
        prop_assert_eq!(read_all(&disk).0.len(), 0);
        let (journal, _) = open(&disk, OPTIONS);
        journal.close().unwrap();
    }
}
