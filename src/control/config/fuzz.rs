//! The body of the `config` fuzz target.

use std::path::Path;

use super::{Config, Raw, WrittenAt, settings};
use crate::journal::JournalLimit;

/// Text that sets a file, variables and flags at will: parts divided by NUL; the first is the file,
/// the others are `NAME=VALUE`, a flag where NAME is a setting's flag and otherwise the end of a
/// `TELL_` variable's name.
///
/// # Panics
///
/// Where an invariant is broken: an accepted configuration keeps its bounds; a refused one has
/// faults, each in one line, at a line that the file has, and shows nothing that may be a key.
pub fn fuzz_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();

    let (mut flags, mut variables) = (Vec::new(), Vec::new());
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match settings::all().find(|setting| setting.flag == name) {
            Some(setting) => flags.push((setting, value.into())),
            None => variables.push((format!("TELL_{name}").into(), value.into())),
        }
    }
    let mut raw = Raw::default();
    raw.add_flags(flags);
    raw.add_environment(variables);
    raw.add_file(Path::new("fuzz.toml"), file);

    match Config::validate(raw) {
        Ok(config) => check_config(&config),
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            for fault in faults.iter() {
                let shown = fault.to_string();
                assert!(!shown.contains('\n'), "{shown:?}");
                let longest = shown
                    .split(|c: char| !c.is_ascii_hexdigit())
                    .map(str::len)
                    .max();
                assert!(longest < Some(32), "may be a key: {shown}");
                if let WrittenAt::File {
                    position: Some((line, column)),
                    ..
                } = &fault.place
                {
                    assert!(*line >= 1 && *column >= 1, "{shown}");
                    assert!(*line <= file.matches('\n').count() + 1, "{shown}");
                }
            }
        }
    }
}

fn check_config(config: &Config) {
    let (limits, journal) = (&config.limits, &config.journal);
    assert!((1 << 20..=1 << 30).contains(&journal.segment_size));
    assert!((1..=16 << 20).contains(&limits.max_frame_size));
    assert!(limits.max_queued_bytes >= limits.max_frame_size.max(limits.max_body_size));
    assert!(limits.max_connections >= 1 && config.process.worker_threads >= 1);
    let (data_dir, keys) = (&config.files.data_dir, &config.files.keys);
    assert!(!data_dir.as_os_str().is_empty() && !keys.as_os_str().is_empty());
    if let JournalLimit::Bytes(limit) = journal.journal_limit {
        assert!(limit >= journal.segment_size);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_hold() {
        let seeds: [&[u8]; 8] = [
            b"",
            b"tcp = \"off\"\nmax_connections = 5\n",
            b"\0tcp=127.0.0.1:1\0TCP=off",
            b"tcp = = 1",
            b"\"a\\nb\" = 1\n[x]\n[[y]]\n",
            b"keys = \"a1b2c3d4e5f60718293a4b5c6d7e8f90\\u0000\"\na1b2c3d4e5f60718293a4b5c6d7e8f90 = 1",
            b"[[listen.tcp]]\naddress = 1\n[[listen.syslog_udp]]\nworkspace = 1\nallow = [\"x\", 1]\n[listen]",
            b"\xff\xfe\0\xff=\xff",
        ];
        for seed in seeds {
            fuzz_config(seed);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_hold(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            fuzz_config(&data);
        }

        #[test]
        fn near_misses_hold(
            data in "((tcp|keys|segment_size|log_level|x) = (\"[a-z0-9:.\\[\\]]{0,40}\"|-?[0-9]{1,20}|true|\\[\\])\n){0,5}(\0[a-zA-Z_-]{1,6}=[a-f0-9]{0,40}){0,3}"
        ) {
            fuzz_config(data.as_bytes());
        }
    }
}
