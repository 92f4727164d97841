//! What holds for whatever bytes a segment has. The target in `fuzz/` and the unit tests run it.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::cursor::Found;
use super::format::{
    BLOCK_BYTES, HEADER_BYTES, RECORD_ALIGN, RecordHeader, SegmentId, crc32c, encode_record_header,
    encode_segment_header,
};
use super::read;
use super::recovery::{self, OpenError};
use super::storage::{ReadAt, SegmentFile, SmallFile, Space, Storage};
use super::{Encoding, Facts, lock};
use crate::origin::{KeyId, Source, Workspace};

/// A segment of sound records with anything between them: reading delivers the sound records and no others,
/// a recovery loses none of them, and a second recovery finds nothing to do.
pub fn fuzz_segment(data: &[u8]) {
    let Some(workspace) = Workspace::new(7) else {
        return;
    };
    let mut segment = Forged::new(data, workspace);
    segment.follow(data);
    let name = segment.id.file_name();

    let disk = Memory::default();
    disk.put(&name, &segment.bytes);
    segment.check_reading(&disk);

    let disk = Memory::default();
    disk.put(&name, &segment.bytes);
    let first = recovery::recover(&disk, 0).map(|opened| opened.recovered);
    let recovered_files = disk.files();
    if let Err(OpenError::Newer { .. }) = first {
        assert!(
            recovered_files == [(name, segment.bytes)],
            "a later format is not touched"
        );
        return;
    }
    let is_kept = recovered_files.iter().any(|(kept, _)| *kept == name);
    assert!(is_kept || segment.sound.is_empty());
    let again = recovery::recover(&disk, 0).map(|opened| opened.recovered);
    assert!(
        disk.files() == recovered_files,
        "a second recovery changes nothing"
    );
    for recovered in [first, again] {
        assert_eq!(
            recovered.map(|r| r.last_segment_records).ok(),
            Some(segment.sound.len() as u64)
        );
    }
    segment.check_reading(&disk);
}

/// A segment made from instructions, and what of it is sound.
struct Forged {
    id: SegmentId,
    facts: Facts,
    bytes: Vec<u8>,
    next_index: u32,
    sound: Vec<Sound>,
}

#[derive(Debug, PartialEq, Eq)]
struct Sound {
    sequence: u64,
    payload: Vec<u8>,
}

impl Forged {
    fn new(data: &[u8], workspace: Workspace) -> Self {
        let id = SegmentId {
            number: 1,
            // As no client knows the salt, no input does: it changes with every byte.
            salt: u64::from(crc32c(data)),
        };
        let mut bytes = vec![0; BLOCK_BYTES];
        encode_segment_header(&mut bytes, id);
        Self {
            id,
            facts: Facts {
                workspace,
                key_id: KeyId(7),
                source: Source::Tcp,
                encoding: Encoding::JsonEvents,
                received_at_ns: 1,
                peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 9)),
            },
            bytes,
            next_index: 0,
            sound: Vec::new(),
        }
    }

    /// Each instruction is a byte that says what, a byte that says how much, and that many bytes.
    fn follow(&mut self, mut data: &[u8]) {
        while let Some((&[what, len], rest)) = data.split_first_chunk::<2>() {
            let (bytes, rest) = rest.split_at(rest.len().min(usize::from(len)));
            data = rest;
            match what % 10 {
                0..=2 => self.push_sound(bytes),
                3 => self.end_commit(),
                4 => self.push_raw(bytes),
                5 => self.push_changed(bytes, HEADER_BYTES + usize::from(len) / 2),
                6 => self.push_changed(bytes, usize::from(len) % HEADER_BYTES),
                7 => self.push_foreign(bytes),
                8 => self.push_replayed(),
                _ => self.overwrite_segment_header(bytes),
            }
        }
    }

    fn record(&self, id: SegmentId, payload: &[u8]) -> Vec<u8> {
        let header = RecordHeader {
            sequence: id.sequence(self.next_index),
            facts: self.facts,
            marked: false,
            payload_len: payload.len() as u32,
            payload_crc: crc32c(payload),
        };
        let mut record = encode_record_header(&header, id.crc_seed()).to_vec();
        record.extend_from_slice(payload);
        record
    }

    fn push_sound(&mut self, payload: &[u8]) {
        self.sound.push(Sound {
            sequence: self.id.sequence(self.next_index),
            payload: payload.to_vec(),
        });
        let record = self.record(self.id, payload);
        self.push_raw(&record);
        self.next_index += 1;
    }

    fn end_commit(&mut self) {
        let end = self.bytes.len().next_multiple_of(BLOCK_BYTES);
        self.bytes.resize(end, 0);
    }

    fn push_raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let end = self.bytes.len().next_multiple_of(RECORD_ALIGN);
        self.bytes.resize(end, 0);
    }

    /// A record with one byte changed, in its header or in its payload.
    fn push_changed(&mut self, payload: &[u8], at: usize) {
        let mut record = self.record(self.id, payload);
        if let Some(byte) = record.get_mut(at) {
            *byte ^= 1;
            self.push_raw(&record);
            self.next_index += 1;
        }
    }

    /// A record of another segment, as a block that was never overwritten may hold.
    fn push_foreign(&mut self, payload: &[u8]) {
        let other = SegmentId {
            salt: !self.id.salt,
            ..self.id
        };
        let record = self.record(other, payload);
        self.push_raw(&record);
    }

    /// All records so far once more: whoever reads must not deliver them twice.
    fn push_replayed(&mut self) {
        let so_far = self.bytes.get(BLOCK_BYTES..).unwrap_or_default().to_vec();
        if so_far.len() <= 1 << 16 {
            self.push_raw(&so_far);
        }
    }

    fn overwrite_segment_header(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    /// Reads all that the disk holds, with a sound segment behind it, so that this one is not the newest,
    /// in which damage may be a write that is going on.
    fn check_reading(&self, disk: &Memory) {
        let last = Self {
            id: SegmentId { number: 2, salt: 0 },
            ..Self::new(b"", self.facts.workspace)
        };
        let mut bytes = vec![0; BLOCK_BYTES];
        encode_segment_header(&mut bytes, last.id);
        bytes.extend(last.record(last.id, b"last"));
        disk.put(&last.id.file_name(), &bytes);

        let mut found = Vec::new();
        let mut damage_end = 0;
        let read = read::for_each(disk, |item| {
            match item {
                Found::Record(record) => {
                    assert_eq!(record.facts, self.facts);
                    found.push(Sound {
                        sequence: record.sequence,
                        payload: record.payload.to_vec(),
                    });
                }
                Found::DamagedPayload(record) => assert_eq!(record.facts, self.facts),
                Found::DamagedBytes { offset, bytes, .. } => {
                    assert!(offset >= damage_end && bytes > 0);
                    damage_end = offset + bytes;
                    let end = self.bytes.len().next_multiple_of(BLOCK_BYTES);
                    assert!(damage_end <= end as u64);
                }
                Found::Missing { .. } => {}
            }
            true
        });
        if let Err(OpenError::Newer { .. }) = read {
            return;
        }
        assert!(read.is_ok(), "{read:?}");
        assert_eq!(
            found.pop().map(|last| last.payload),
            Some(b"last".to_vec()),
            "the segment behind is read whatever stands before it"
        );
        assert_eq!(found, self.sound);
        assert!(disk.remove(&last.id.file_name()).is_ok());
    }
}

/// Segments in memory, which are read in short reads.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

const SHORT_READ_BYTES: usize = 3000;

impl Memory {
    fn put(&self, name: &str, bytes: &[u8]) {
        lock(&self.0).insert(name.to_owned(), bytes.to_vec());
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        lock(&self.0).clone().into_iter().collect()
    }
}

impl Storage for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.0).keys().cloned().collect())
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Box<dyn SegmentFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        let bytes = lock(&self.0).get(name).cloned();
        Ok(Box::new(Bytes(bytes.ok_or(io::ErrorKind::NotFound)?)))
    }

    fn reopen(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(Segment {
            files: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn open_small(&self, _: &str) -> io::Result<Box<dyn SmallFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(name, bytes);
        Ok(())
    }

    fn truncate(&self, name: &str, bytes: u64) -> io::Result<()> {
        let mut files = lock(&self.0);
        let file = files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        file.resize(bytes as usize, 0);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = lock(&self.0).remove(name);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_ancestors(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[derive(Debug)]
struct Segment {
    files: Memory,
    name: String,
}

impl SegmentFile for Segment {
    fn write_at(&self, slices: &[io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut files = lock(&self.files.0);
        let file = files.get_mut(&self.name).ok_or(io::ErrorKind::NotFound)?;
        let mut at = offset as usize;
        for slice in slices {
            file.resize(file.len().max(at + slice.len()), 0);
            file[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len()).min(SHORT_READ_BYTES);
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Every case reads four times through windows of a megabyte.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn only_sound_records_of_a_segment_are_delivered(
            instructions in vec((any::<u8>(), vec(any::<u8>(), 0..100)), 0..30),
        ) {
            let mut data = Vec::new();
            for (what, bytes) in &instructions {
                data.extend_from_slice(&[*what, bytes.len() as u8]);
                data.extend_from_slice(bytes);
            }
            fuzz_segment(&data);
        }
    }
}
