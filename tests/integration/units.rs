//! The unit files of the README, as systemd reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::program;

/// The worst exposure that passes, of 100: systemd calls what is below 20 OK.
const EXPOSURE: &str = "--threshold=20";

/// Writes the units of the README, with the binary that was built, and returns their files.
fn units(directory: &Path) -> Vec<PathBuf> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let blocks = readme.split("```ini\n# /etc/systemd/system/").skip(1);
    blocks
        .map(|block| {
            let (name, rest) = block.split_once('\n').unwrap();
            let (unit, _) = rest.split_once("```").expect("the end of the block");
            let file = directory.join(name);
            let unit = unit.replace("/usr/local/bin/tell", env!("CARGO_BIN_EXE_tell"));
            fs::write(&file, unit).unwrap();
            file
        })
        .collect()
}

#[test]
fn the_unit_files_of_the_readme_are_good_and_hardened() {
    let analyze = program("systemd-analyze", "systemd");
    let directory = tempfile::tempdir().unwrap();
    let units = units(directory.path());
    assert_eq!(units.len(), 2, "{units:?}");
    let verified = Command::new(&analyze)
        .arg("verify")
        .args(&units)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");

    let service = units.iter().find(|u| u.extension().unwrap() == "service");
    let judged = Command::new(&analyze)
        .args(["security", "--no-pager", "--offline=yes", EXPOSURE])
        .arg(service.unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{said}");
}
