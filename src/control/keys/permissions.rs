//! Who else may read or change the key file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Others may read the keys, or add some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key file {path} has mode {mode:04o}: {problem}; repair it with: chmod 600 {path}", path = path.display())]
pub struct LoosePermissions {
    path: PathBuf,
    mode: u32,
    problem: &'static str,
}

/// Checks the file that a path leads to. A group that may read is fine: that is how a server under an
/// account of its own gets to see a file of root's.
pub fn check(path: &Path) -> Result<(), LoosePermissions> {
    // A file that is not there, or not reachable, is reported by whoever reads it.
    let Ok(metadata) = fs::metadata(path) else {
        return Ok(());
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let problem = match mode {
        mode if mode & 0o002 != 0 => "everybody may change it",
        mode if mode & 0o004 != 0 => "everybody may read the keys",
        mode if mode & 0o020 != 0 => "its group may change it",
        _ => return Ok(()),
    };
    Err(LoosePermissions {
        path: path.to_owned(),
        mode,
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_may_read_or_write_is_reported_with_its_repair() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        fs::write(&path, "").unwrap();
        for (mode, loose) in [
            (0o600, false),
            (0o640, false),
            (0o660, true),
            (0o604, true),
            (0o602, true),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let checked = check(&path);
            assert_eq!(checked.is_err(), loose, "{mode:o}");
            if let Err(error) = checked {
                assert!(
                    error
                        .to_string()
                        .ends_with(&format!("chmod 600 {}", path.display())),
                    "{error}"
                );
            }
        }
        assert_eq!(check(&directory.path().join("none")), Ok(()));
    }
}
