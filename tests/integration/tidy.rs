//! The rules of the source tree that neither the compiler nor clippy knows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the top level of the repository holds.
const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".clippy.toml",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "docs",
    "fuzz",
    "keys.example",
    "packaging",
    "src",
    "tests",
];

/// A file that is longer holds more than one thing.
const LINES_MAX: usize = 500;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[(
    "src/journal/recovery.rs",
    "recovery of segments and the sealing of the last one, to be split",
)];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the repository, by its path in it, with its text.
pub fn sources() -> Vec<(String, String)> {
    let mut directories: Vec<PathBuf> = ["src", "tests", "benches", "fuzz/fuzz_targets"]
        .iter()
        .map(|name| root().join(name))
        .filter(|path| path.is_dir())
        .collect();
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                sources.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(sources.len() > 50, "the sources are looked for elsewhere");
    sources.sort();
    sources
}

/// Fails with all that was found, not only the first.
pub fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_thing() {
    let mut faults = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        let excused = LONGER.iter().any(|(longer, _)| *longer == name);
        if lines > LINES_MAX && !excused {
            faults.push(format!("{name}: {lines} lines, more than {LINES_MAX}"));
        }
        if lines <= LINES_MAX && excused {
            faults.push(format!("{name}: short enough; take it off the list"));
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_opens_with_its_purpose() {
    let faults: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| format!("{name}: does not open with //!"))
        .collect();
    assert_none(&faults);
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let mut faults = Vec::new();
    for (name, text) in sources() {
        for (line, number) in text.lines().zip(1..) {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn a_module_with_a_folder_has_its_text_in_the_folder() {
    let faults: Vec<String> = sources()
        .into_iter()
        .filter(|(name, _)| root().join(name).with_extension("").is_dir())
        .map(|(name, _)| format!("{name}: belongs into its folder, as mod.rs"))
        .collect();
    assert_none(&faults);
}

#[test]
fn the_top_level_holds_what_is_known_there_and_what_git_ignores() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let known: BTreeSet<&str> = ignored
        .lines()
        .map(|line| line.trim_matches('/'))
        .chain(TOP_LEVEL.iter().copied())
        .collect();
    let faults: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !known.contains(name.as_str()))
        .map(|name| format!("{name}: not expected at the top level"))
        .collect();
    assert_none(&faults);
}

#[test]
fn every_fuzz_target_is_built() {
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let built: BTreeSet<&str> = manifest
        .lines()
        .filter_map(|line| {
            line.strip_prefix("path = \"fuzz_targets/")?
                .strip_suffix(".rs\"")
        })
        .collect();
    let sources = sources();
    let written: BTreeSet<&str> = sources
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("fuzz/fuzz_targets/")?.strip_suffix(".rs"))
        .collect();
    assert!(!written.is_empty());
    assert_eq!(built, written);
}
