//! Data directories that earlier versions wrote: every later version opens and exports them.
//!
//! `tests/data/VERSION/tell-data` is what a killed server of that version left behind, its reserved space cut
//! off and a torn write at its end; `export/` is what `tell export` of that version printed for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::Server;

/// The versions whose directories are kept.
fn versions() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut versions: Vec<PathBuf> = fs::read_dir(all)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    versions.sort();
    assert!(!versions.is_empty());
    versions
}

/// A copy of a directory in the place of a server's, private as the server makes it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

/// Every export that is stored is what is exported now.
fn assert_exported(server: &Server, version: &Path) {
    let mut compared = 0;
    for entry in fs::read_dir(version.join("export")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let (workspace, table) = name.split_once('-').unwrap();
        let output = server.tell(&["export", "--workspace", workspace, "--table", table]);
        assert!(output.status.success(), "{name}: {output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed, fs::read_to_string(&path).unwrap(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 12, "two workspaces with six tables each");
}

#[test]
fn a_data_directory_of_an_earlier_version_opens_goes_on_and_exports_what_it_did() {
    for version in versions() {
        let mut server = Server::new();
        assert!(server.stop().success());
        fs::remove_dir_all(server.data_dir()).unwrap();
        copy(&version.join("tell-data"), &server.data_dir());

        // Read by the commands before any server of this version touched it.
        assert_exported(&server, &version);
        server.start();
        assert_exported(&server, &version);
        assert_eq!(server.post_events("{\"event\":\"newer\"}").status, 202);
        let rows = server.export(1, "events");
        assert_eq!(rows[rows.len() - 1]["name"], "newer");
        server.kill();
        server.start();
        assert_eq!(server.export(1, "events"), rows);
        let report = server.tell(&["storage", "--json"]);
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(report["damaged"], 0, "{report}");
        assert!(server.stop().success());
    }
}
