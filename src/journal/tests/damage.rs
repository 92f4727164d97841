//! What rots, what is cut short and what a kill leaves unsynced: told apart, said, and never in the way of a start.

use std::io::IoSlice;
use std::sync::Arc;

use super::super::buffer::Chunk;
use super::super::committed;
use super::super::format::encode_segment_header;
use super::super::read;
use super::super::simulated::SimulatedDisk;
use super::super::storage::Storage;
use super::super::{Journal, Recovered};
use super::*;

/// Several finished segments, and their names.
fn segments(all: &[Kept]) -> (SimulatedDisk, Vec<String>) {
    let disk = SimulatedDisk::default();
    let (journal, _) = open(&disk, OPTIONS);
    for kept in all {
        append(&journal, kept).unwrap();
    }
    journal.close().unwrap();
    let names = read::segments(&disk).unwrap();
    let names: Vec<String> = names.into_iter().map(|s| s.name).collect();
    assert!(names.len() > 3);
    (disk, names)
}

/// What a start says, and that a second one says the same but for what was cut.
fn start_twice(disk: &SimulatedDisk) -> Recovered {
    let (journal, first) = open(disk, OPTIONS);
    journal.close().unwrap();
    let (journal, second) = open(disk, OPTIONS);
    journal.close().unwrap();
    assert_eq!(second.torn_bytes, 0, "torn bytes are cut once");
    assert!(second.damaged >= first.damaged, "damage stays damage");
    first
}

#[test]
fn a_flipped_bit_in_the_version_of_any_segment_is_damage_and_no_later_version() {
    let all = payloads(60);
    for (at, bit) in [(8, 1), (9, 7), (11, 3)] {
        for place in ["first", "middle", "last"] {
            let (disk, names) = segments(&all);
            let name = match place {
                "first" => &names[0],
                "middle" => &names[1],
                _ => names.last().unwrap(),
            };
            disk.flip_bit(name, at, bit);
            assert_eq!(read_all(&disk), (all.clone(), 1), "{place}");
            assert_eq!(start_twice(&disk).damaged, 1, "{place}");
            assert_eq!(read_all(&disk), (all.clone(), 1), "{place}");
        }
    }
}

#[test]
fn a_segment_of_a_later_version_is_refused_in_words_wherever_it_stands() {
    let (disk, names) = segments(&payloads(60));
    for name in [&names[1], names.last().unwrap()] {
        let disk = disk.after_power_cut(0);
        let (mut bytes, _) = disk.file(name).unwrap();
        bytes[8] = 2;
        bytes[24..28].fill(0);
        let check = super::super::format::crc32c(&bytes[..BLOCK_BYTES]);
        bytes[24..28].copy_from_slice(&check.to_le_bytes());
        disk.put(name, &bytes);
        let opened = Journal::open(Arc::new(disk.clone()), OPTIONS);
        let error = opened.err().unwrap().to_string();
        assert!(error.contains("has format version 2"), "{error}");
        assert_eq!(disk.file(name).unwrap().0, bytes, "it is not touched");
    }
}

#[test]
fn a_middle_segment_that_was_cut_short_is_damage_wherever_the_cut_is() {
    let all = payloads(60);
    let (intact, names) = segments(&all);
    let (whole, _) = intact.file(&names[1]).unwrap();
    let cuts = [
        4096,
        4196,
        8192,
        whole.len() / 2,
        whole.len() - 4096,
        whole.len() - 1,
    ];
    for cut in cuts {
        let disk = intact.after_power_cut(0);
        disk.put(&names[1], &whole[..cut]);
        let (kept, damaged) = read_all(&disk);
        assert!(damaged > 0, "cut to {cut} of {}", whole.len());
        assert!(kept.iter().all(|kept| all.contains(kept)));
        assert!(start_twice(&disk).damaged > 0, "cut to {cut}");
    }
}

#[test]
fn zeros_where_the_end_of_a_middle_segment_was_are_damage() {
    let all = payloads(60);
    let (disk, names) = segments(&all);
    let (mut bytes, _) = disk.file(&names[1]).unwrap();
    let seal = bytes.len() - BLOCK_BYTES;
    bytes[seal - BLOCK_BYTES..seal].fill(0);
    disk.put(&names[1], &bytes);
    let (kept, damaged) = read_all(&disk);
    assert!(damaged > 0 && kept.len() < all.len());
}

#[test]
fn a_segment_that_is_missing_between_others_is_damage() {
    let all = payloads(60);
    let (intact, names) = segments(&all);
    for (n, name) in names.iter().enumerate() {
        let disk = intact.after_power_cut(0);
        disk.remove(name).unwrap();
        let (kept, damaged) = read_all(&disk);
        assert!(kept.len() < all.len());
        let is_last = n + 1 == names.len();
        // Behind the last nothing tells a reader that there was more: a start knows, and keeps it in mind.
        assert_eq!(damaged, usize::from(!is_last), "segment {n}");
        assert_eq!(open_and_close(&disk).damaged, 1, "segment {n}");
    }
}

fn open_and_close(disk: &SimulatedDisk) -> Recovered {
    let (journal, recovered) = open(disk, OPTIONS);
    append(&journal, &payloads(1)[0]).unwrap();
    journal.close().unwrap();
    assert_eq!(read_all(disk).1, 1);
    recovered
}

#[test]
fn records_that_were_committed_and_cut_off_the_end_are_damage() {
    let all = payloads(10);
    let (disk, name) = one_segment(&all);
    let (bytes, _) = disk.file(&name).unwrap();
    disk.put(&name, &bytes[..bytes.len() - 3 * BLOCK_BYTES]);
    assert!(start_twice(&disk).damaged > 0);
    let (kept, damaged) = read_all(&disk);
    assert!(kept.len() < all.len() && all.starts_with(&kept));
    assert!(damaged > 0);
}

#[test]
fn a_last_segment_whose_single_record_rotted_is_set_aside_and_not_removed() {
    let text = Kept {
        workspace: 1,
        payload: b"a record without zeros ".repeat(300),
    };
    // In its header, in its payload; with the committed position, and after a power cut that took it away.
    for byte in [BLOCK_BYTES + 20, BLOCK_BYTES + HEADER_BYTES + 3000] {
        for is_said in [true, false] {
            let (disk, name) = one_segment(std::slice::from_ref(&text));
            disk.flip_bit(&name, byte, 2);
            if !is_said {
                disk.remove(committed::FILE_NAME).unwrap();
                // Nor was it sealed.
                let (bytes, _) = disk.file(&name).unwrap();
                disk.put(&name, &bytes[..bytes.len() - BLOCK_BYTES]);
            }
            let before = disk.file(&name).unwrap().0;
            let recovered = start_twice(&disk);
            assert_eq!((recovered.damaged, recovered.torn_bytes), (1, 0));
            let after = disk.file(&name).expect("it is not removed").0;
            let end = before.len() - if is_said { BLOCK_BYTES } else { 0 };
            assert_eq!(after[..end], before[..end]);
            assert_eq!(read_all(&disk), (vec![], 1));
        }
    }
}

#[test]
fn torn_bytes_inside_the_last_block_are_cut_once() {
    let all = payloads(10);
    let (disk, name) = one_segment(&all);
    let (mut bytes, _) = disk.file(&name).unwrap();
    // No seal, no word of what was committed, and part of another record of the last commit.
    bytes.truncate(bytes.len() - BLOCK_BYTES);
    let end = bytes.iter().rposition(|&b| b != 0).unwrap() + 1;
    let torn = bytes.len() - end.next_multiple_of(8) - 8;
    bytes[end.next_multiple_of(8)..][..torn].fill(0xAB);
    disk.put(&name, &bytes);
    disk.remove(committed::FILE_NAME).unwrap();
    let recovered = start_twice(&disk);
    assert_eq!(recovered.damaged, 0);
    assert!(recovered.torn_bytes >= torn as u64);
    assert_eq!(read_all(&disk), (all, 0));
}

#[test]
fn what_a_kill_left_in_the_page_cache_is_durable_after_a_start_also_in_a_full_segment() {
    let disk = SimulatedDisk::default();
    let id = SegmentId { number: 1, salt: 7 };
    let name = id.file_name();
    let file = disk.create(&name, 2 * BLOCK_BYTES as u64).unwrap();
    let mut block = vec![0; BLOCK_BYTES];
    encode_segment_header(&mut block, id);
    let mut chunk = Chunk::default();
    chunk.fill(&block);
    let payload = vec![7; BLOCK_BYTES - HEADER_BYTES];
    let header = RecordHeader {
        sequence: id.sequence(0),
        facts: facts(1),
        marked: false,
        payload_len: payload.len() as u32,
        payload_crc: super::super::format::crc32c(&payload),
    };
    chunk.fill(&encode_record_header(&header, id.crc_seed()));
    chunk.fill(&payload);
    file.write_at(&[IoSlice::new(chunk.bytes())], 0).unwrap();
    assert!(!disk.file(&name).unwrap().1, "no sync came before the kill");
    let (journal, recovered) = open(&disk, OPTIONS);
    assert_eq!(recovered.last_segment_records, 1);
    assert!(disk.file(&name).unwrap().1);
    journal.close().unwrap();
}

#[test]
fn a_directory_whose_creator_was_killed_is_durable_before_anything_is_acknowledged() {
    for seed in 0..8 {
        let disk = SimulatedDisk::just_created();
        let (journal, _) = open(&disk, OPTIONS);
        let all = payloads(2);
        for kept in &all {
            append(&journal, kept).unwrap();
        }
        assert_eq!(read_all(&disk.after_power_cut(seed)), (all, 0));
        journal.close().unwrap();
    }
}
