//! Many `tell apikeys` at once, some of them killed: nothing that was said to be done is lost.

use std::collections::HashSet;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tell_server::control::keys::file::KeyFile;

use crate::apikeys::{Done, Place, mode};
use crate::harness::{SOON, wait_for};

/// Commands that add keys, and as many that delete some.
const EACH: u32 = 25;

fn there_before(n: u32) -> String {
    format!("{:032x}", u128::from(n) + (1 << 100))
}

/// A file of comments, blank lines and the keys that are to be deleted or to stay.
fn key_file() -> String {
    let mut text = String::from("# A file that somebody keeps in order\n\n");
    for n in 0..2 * EACH {
        let key = there_before(n);
        text += &format!("# key number {n}\n{key}:{}:before-{n}\n\n", n + 1);
    }
    text
}

enum Edit {
    New(String),
    Delete(u32),
}

struct Running {
    edit: Edit,
    child: Child,
    killed_at: Option<Instant>,
}

impl Running {
    fn start(place: &Place, edit: Edit, killed_at: Option<Instant>) -> Self {
        let mut command = match &edit {
            Edit::New(name) => place.command(&["new", name, "--workspace", "9", "--quiet"]),
            Edit::Delete(n) => place.command(&["delete", &format!("before-{n}"), "--yes"]),
        };
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tell runs");
        Self {
            edit,
            child,
            killed_at,
        }
    }
}

/// Numbers without a pattern, from the clock: every run kills at other moments.
fn random() -> impl FnMut(u64) -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut state = since.as_nanos() as u64 | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

/// Parses the file again and again until `done`; returns how often.
fn keep_parsing(place: &Place, done: &AtomicBool) -> u32 {
    let mut parsed = 0;
    while !done.load(Ordering::Relaxed) {
        KeyFile::read(&place.keys()).expect("the file parses at every moment");
        parsed += 1;
    }
    parsed
}

/// Starts all edits, kills every third at a random moment, and says which were reported as done.
fn run_edits(place: &Place) -> Vec<(Edit, Option<Done>)> {
    let mut random = random();
    let mut running = Vec::new();
    for n in 0..EACH {
        for edit in [Edit::New(format!("new-{n}")), Edit::Delete(n)] {
            let is_killed = random(3) == 0;
            // From at once to a quarter of a second, so that some die in every phase of an edit.
            let after = Duration::from_micros(1 << random(19));
            let killed_at = is_killed.then(|| Instant::now() + after);
            running.push(Running::start(place, edit, killed_at));
        }
    }
    // The moments of the kills are spread over the time in which the edits queue for the lock.
    wait_for("the moments of all kills", || {
        let mut waits = false;
        for edit in &mut running {
            match edit.killed_at {
                Some(at) if at <= Instant::now() => {
                    edit.child.kill().unwrap();
                    edit.killed_at = None;
                }
                Some(_) => waits = true,
                None => {}
            }
        }
        (!waits).then_some(())
    });
    running
        .into_iter()
        .map(|mut edit| {
            let deadline = Instant::now() + SOON;
            while edit.child.try_wait().unwrap().is_none() {
                assert!(Instant::now() < deadline, "an edit does not end");
                std::thread::sleep(Duration::from_millis(5));
            }
            let output = edit.child.wait_with_output().unwrap();
            let done = output.status.code().map(|code| Done {
                code: Some(code),
                out: String::from_utf8(output.stdout).unwrap(),
                err: String::from_utf8(output.stderr).unwrap(),
            });
            (edit.edit, done)
        })
        .collect()
}

#[test]
fn fifty_parallel_edits_with_kills_lose_nothing_and_break_nothing() {
    let before = key_file();
    let place = Place::new(Some(&before));
    let all_done = AtomicBool::new(false);
    let edits = std::thread::scope(|scope| {
        let parsing = scope.spawn(|| keep_parsing(&place, &all_done));
        let edits = run_edits(&place);
        all_done.store(true, Ordering::Relaxed);
        let parsed = parsing.join().expect("the file parses at every moment");
        assert!(parsed > 0);
        edits
    });

    let file = KeyFile::read(&place.keys()).expect("the file parses");
    let keys: HashSet<String> = file.entries.iter().map(|e| e.key.reveal()).collect();
    let names: HashSet<&str> = file
        .entries
        .iter()
        .filter_map(|e| e.name.as_deref())
        .collect();
    let (mut killed, mut added) = (0, 0);
    for (edit, done) in &edits {
        match (edit, done) {
            (Edit::New(name), Some(done)) => {
                assert!(
                    keys.contains(done.ok().trim()),
                    "{name} was made and is not there"
                );
                assert!(names.contains(name.as_str()));
                added += 1;
            }
            (Edit::Delete(n), Some(done)) => {
                done.ok();
                assert!(
                    !keys.contains(&there_before(*n)),
                    "before-{n} was deleted and is there"
                );
            }
            (_, None) => killed += 1,
        }
    }
    assert!(killed > 0 && added > 0, "{killed} killed, {added} added");
    for n in EACH..2 * EACH {
        assert!(
            keys.contains(&there_before(n)),
            "before-{n} was never touched"
        );
    }

    // What is left of the lines of before stands in its order, with every comment and blank line.
    let after = place.text();
    let is_kept = |line: &&str| !line.contains(":before-") || after.contains(*line);
    let expected: Vec<_> = before.lines().filter(is_kept).collect();
    let kept: Vec<_> = after
        .lines()
        .filter(|line| !line.contains(":9:new-"))
        .collect();
    assert_eq!(kept, expected);
    assert_eq!(mode(&place.keys()), 0o600);
    // Whoever was killed holds no lock and leaves nothing that the next edit trips over.
    let last = Done::of(place.command(&["new", "last", "--workspace", "9"]));
    last.ok();
}
