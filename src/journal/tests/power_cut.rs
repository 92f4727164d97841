//! The power goes at every operation in turn, also during recovery.

use std::sync::Arc;

use super::super::Journal;
use super::super::simulated::SimulatedDisk;
use super::{Kept, OPTIONS, append_while, open, payloads, read_all};

/// Runs a load until the power goes at `operation`, and returns what was acknowledged.
fn load_until_power_cut(disk: &SimulatedDisk, all: &[Kept], operation: u64) -> usize {
    disk.cut_power_at(operation);
    let Ok((journal, _)) = Journal::open(Arc::new(disk.clone()), OPTIONS) else {
        return 0;
    };
    let mut acked = 0;
    for kept in all {
        // Without power no segment can be prepared: that refusal would be for ever.
        let refused = disk.operations() > operation;
        if refused || append_while(&journal, kept, || disk.operations() <= operation).is_err() {
            break;
        }
        acked += 1;
    }
    let _ = journal.close();
    acked
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let all = payloads(40);
    let mut cuts_with_acks = 0;
    for operation in 0..130 {
        let disk = SimulatedDisk::default();
        let acked = load_until_power_cut(&disk, &all, operation);
        cuts_with_acks += usize::from(acked > 0);
        for seed in 0..3 {
            let disk = disk.after_power_cut(seed);
            let (journal, recovered) = open(&disk, OPTIONS);
            assert_eq!(
                recovered.damaged, 0,
                "a torn write is no damage (cut {operation}, seed {seed})"
            );
            journal.close().unwrap();
            let (kept, damaged) = read_all(&disk);
            assert_eq!(damaged, 0);
            assert!(
                kept.len() >= acked && kept.len() <= acked + 1,
                "acknowledged {acked}, found {} (cut {operation}, seed {seed})",
                kept.len()
            );
            assert_eq!(kept[..], all[..kept.len()], "in order and byte for byte");
        }
    }
    assert!(
        cuts_with_acks > 60,
        "the cuts must fall into the load: {cuts_with_acks}"
    );
}

#[test]
fn a_power_cut_during_recovery_loses_nothing_either() {
    let all = payloads(30);
    let disk = SimulatedDisk::default();
    let acked = load_until_power_cut(&disk, &all, 60);
    assert!(acked > 0);
    for operation in 0..12 {
        let disk = disk.after_power_cut(operation);
        disk.cut_power_at(operation);
        if let Ok((journal, _)) = Journal::open(Arc::new(disk.clone()), OPTIONS) {
            let _ = journal.close();
        }
        let disk = disk.after_power_cut(operation + 1);
        let (journal, _) = open(&disk, OPTIONS);
        journal.close().unwrap();
        let (kept, _) = read_all(&disk);
        assert!(kept.len() >= acked);
        assert_eq!(kept[..], all[..kept.len()]);
    }
}
