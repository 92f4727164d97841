//! A reader beside the writer, at every operation of the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::cursor::{Cursor, Start};
use super::super::read::{self, Found};
use super::super::recovery::OpenError;
use super::super::simulated::SimulatedDisk;
use super::super::storage::Storage;
use super::super::{Journal, committed, numbers::Numbers};
use super::{Kept, OPTIONS, append, open, payloads, read_all};

/// Everything between a cursor and its end; damage fails the test.
fn collect(mut cursor: Cursor<'_>) -> Result<Vec<Kept>, OpenError> {
    let mut kept = Vec::new();
    while let Some(found) = cursor.advance()? {
        let Found::Record(record) = found else {
            panic!("{found:?}");
        };
        kept.push(Kept {
            workspace: record.facts.workspace.get(),
            payload: record.payload.to_vec(),
        });
    }
    Ok(kept)
}

/// What `tell export` reads beside a running server.
fn beside_a_server(disk: &SimulatedDisk) -> Vec<Kept> {
    collect(Cursor::beside_a_server(disk, Start::Segment(0)).unwrap()).unwrap()
}

#[test]
fn a_reader_sees_only_what_no_power_cut_takes_away_and_no_damage_at_any_operation() {
    let all = payloads(40);
    let disk = SimulatedDisk::default();
    // The file says nothing before the first start has said it.
    let (journal, _) = open(&disk, OPTIONS);
    let live = journal.clone();
    let looks = Arc::new(AtomicUsize::new(0));
    let (looked, expected) = (Arc::clone(&looks), all.clone());
    disk.watch(move |disk| {
        let look = looked.fetch_add(1, Ordering::Relaxed);
        let seen = beside_a_server(disk);
        assert_eq!(seen[..], expected[..seen.len()], "in order, byte for byte");
        let here = collect(live.cursor_to_here(Start::Segment(0)).unwrap()).unwrap();
        assert!(expected.starts_with(&here));
        assert!(
            here.len() <= seen.len(),
            "the file says it before the writer tells anybody"
        );
        // The power goes now, in one of the ways it can.
        let after = disk.after_power_cut(look as u64);
        let (survivors, damaged) = read_all(&after);
        assert!(
            survivors.len() >= seen.len(),
            "seen and lost at look {look}"
        );
        assert_eq!((damaged, &survivors[..seen.len()]), (0, &seen[..]));
    });
    for (n, kept) in all.iter().enumerate() {
        append(&journal, kept).unwrap();
        assert_eq!(
            beside_a_server(&disk).len(),
            n + 1,
            "what is acknowledged is there to read"
        );
    }
    journal.close().unwrap();
    assert!(looks.load(Ordering::Relaxed) > 200);
    assert_eq!(beside_a_server(&disk), all);
    assert!(read::segments(&disk).unwrap().len() > 2);
}

#[test]
fn what_is_written_and_not_synced_is_shown_to_nobody() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let all = payloads(3);
    append(&journal, &all[0]).unwrap();
    disk.hold_syncs(true);
    let before = disk.operations();
    let second = all[1].clone();
    let ticket = {
        let entry = super::Entry::new(super::facts(second.workspace), &second.payload);
        journal.append_acked(&[entry]).unwrap()
    };
    while disk.operations() == before {
        std::thread::yield_now();
    }
    // Written, as recovery would find it, and not synced.
    assert_eq!(read_all(&disk).0.len(), 2);
    assert_eq!(beside_a_server(&disk), all[..1]);
    let here = journal.cursor_to_here(Start::Segment(0)).unwrap();
    assert_eq!(collect(here).unwrap(), all[..1]);
    disk.hold_syncs(false);
    ticket.0.blocking_recv().unwrap();
    assert_eq!(beside_a_server(&disk), all[..2]);
    journal.close().unwrap();
}

#[test]
fn a_cursor_in_process_follows_what_is_committed_and_goes_on_from_where_another_stood() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let all = payloads(60);
    let mut cursor = journal.cursor(Start::Segment(0)).unwrap();
    assert!(cursor.advance().unwrap().is_none());
    assert_eq!(cursor.position(), None);
    let (mut seen, mut places) = (0, Vec::new());
    for kept in &all {
        append(&journal, kept).unwrap();
        assert!(runtime.block_on(cursor.wait()));
        while let Some(found) = cursor.advance().unwrap() {
            assert!(matches!(found, Found::Record(r) if r.payload == all[seen].payload));
            seen += 1;
        }
        places.push(cursor.position().unwrap());
    }
    assert_eq!(seen, all.len());
    for (n, place) in places.iter().enumerate() {
        let cursor = journal.cursor_to_here(Start::Behind(*place)).unwrap();
        assert_eq!(collect(cursor).unwrap(), all[n + 1..]);
    }
    assert_eq!(journal.committed(), places.last().copied());
    journal.close().unwrap();
    drop(journal);
    assert!(!runtime.block_on(cursor.wait()), "there will be no more");
    let cursor = Cursor::without_a_server(&disk, Start::Behind(places[3])).unwrap();
    assert_eq!(collect(cursor).unwrap(), all[4..]);
}

#[test]
fn a_cursor_whose_segment_is_gone_or_ends_before_it_stops_with_a_sentence() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    for kept in payloads(30) {
        append(&journal, &kept).unwrap();
    }
    let here = journal.committed().unwrap();
    journal.close().unwrap();
    let mut other_salt = here;
    other_salt.segment.salt += 1;
    let mut further = here;
    further.offset += 4096;
    let mut later = here;
    later.segment.number += 5;
    for position in [other_salt, further, later] {
        let cursor = Cursor::without_a_server(&disk, Start::Behind(position));
        let error = cursor.err().unwrap().to_string();
        assert!(error.contains("was restored from a copy"), "{error}");
    }
    assert!(Cursor::without_a_server(&disk, Start::Behind(here)).is_ok());
}

#[test]
fn a_server_that_has_not_said_how_far_it_is_is_not_read_past() {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    append(&journal, &payloads(1)[0]).unwrap();
    journal.close().unwrap();
    disk.flip_bit(committed::FILE_NAME, 30, 1);
    let error = Cursor::beside_a_server(&disk, Start::Segment(0)).err();
    assert!(matches!(error, Some(OpenError::NothingSaid)), "{error:?}");
    // A start says it again.
    let (journal, recovered) = open(&disk, OPTIONS);
    assert_eq!(recovered.damaged, 0);
    assert_eq!(beside_a_server(&disk).len(), 1);
    journal.close().unwrap();
}

#[test]
fn numbers_of_segments_never_come_back() {
    let disk = SimulatedDisk::default();
    let mut highest = 0;
    for round in 0..4 {
        let (journal, recovered) = open(&disk, OPTIONS);
        assert!(recovered.next_segment > highest, "round {round}");
        while journal.status().disk_bytes == 0 {
            std::thread::yield_now();
        }
        // The reserve that holds nothing is removed, and its number stays used.
        let names = disk.list().unwrap();
        highest = (names.iter())
            .filter_map(|name| super::SegmentId::parse_file_name(name))
            .map(|id| id.number)
            .max()
            .unwrap_or(highest);
        journal.close().unwrap();
        assert_eq!(read::segments(&disk).unwrap(), []);
        assert_eq!(Numbers::read(&disk).unwrap().removed, highest);
    }
    // Nor where something outside the journal names one.
    let (journal, recovered) = Journal::open_above(Arc::new(disk.clone()), OPTIONS, 900).unwrap();
    assert_eq!(recovered.next_segment, 901);
    journal.close().unwrap();
    let last = Journal::open_above(Arc::new(disk), OPTIONS, u32::MAX);
    let error = last.err().unwrap().to_string();
    assert!(
        error.contains("numbers of journal segments are used up"),
        "{error}"
    );
}
