//! Which part of the house may know which: imports run one way, between rooms and between files.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::{assert_none, sources};

/// What each room of `src/` may import of the house, from the ground up: arrows run one way. Who is not listed
/// may import nothing of it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("wire", &["limits", "origin"]),
    ("auth", &["limits", "origin", "wire"]),
    ("journal", &["origin"]),
    ("tables", &["journal", "limits", "origin", "wire"]),
    ("fault", &["journal", "limits", "wire"]),
    ("meters", &["auth", "fault", "limits", "origin"]),
    (
        "ingest",
        &[
            "auth", "fault", "files", "journal", "limits", "meters", "origin", "wire",
        ],
    ),
    (
        "listen",
        &[
            "auth", "fault", "ingest", "journal", "limits", "meters", "network", "origin", "wire",
        ],
    ),
    (
        "control",
        &[
            "auth", "files", "journal", "limits", "meters", "network", "origin", "wire",
        ],
    ),
    (
        "server",
        &[
            "auth", "control", "fault", "files", "ingest", "journal", "limits", "listen", "meters",
            "network", "origin", "tables", "wire",
        ],
    ),
    (
        "cli",
        &[
            "auth", "control", "files", "journal", "limits", "network", "origin", "server",
            "tables", "wire",
        ],
    ),
];

/// The text of a file without its comments, as one line.
fn code_of(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line.trim(), " "])
        .collect()
}

/// The rooms of the house that a file imports, each with a path that does. Its tests count too.
fn imported_rooms(text: &str) -> BTreeMap<String, String> {
    let code = code_of(text);
    let mut paths = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        expand(&code[at + start.len()..], Vec::new(), &mut paths);
    }
    paths
        .into_iter()
        .filter_map(|path| Some((path.first()?.clone(), format!("crate::{}", path.join("::")))))
        .collect()
}

#[test]
fn imports_of_every_form_are_found() {
    let text = "//! crate::server is not imported here.\nuse crate::auth::{Keys, usage};\nuse crate::{limits, meters::Busiest};\nfn f() { crate::wire::key::g() }\n";
    let rooms: Vec<String> = imported_rooms(text).into_keys().collect();
    assert_eq!(rooms, ["auth", "limits", "meters", "wire"]);
}

#[test]
fn arrows_between_the_rooms_of_the_house_run_one_way() {
    let may_import: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut faults = Vec::new();
    let mut rooms = BTreeSet::new();
    for (name, text) in sources() {
        let Some(path) = name.strip_prefix("src/") else {
            continue;
        };
        let room = path
            .split('/')
            .next()
            .unwrap_or(path)
            .trim_end_matches(".rs");
        rooms.insert(room.to_owned());
        let allowed = may_import.get(room).copied().unwrap_or_default();
        for (imported, line) in imported_rooms(&text) {
            if imported != room && !allowed.contains(&imported.as_str()) {
                faults.push(format!("{name}: {line}: {room} may not import {imported}"));
            }
        }
    }
    for (room, _) in MAY_IMPORT.iter().filter(|(room, _)| !rooms.contains(*room)) {
        faults.push(format!("{room}: no such room; take it off the list"));
    }
    // The table itself has no way back up.
    let mut left = may_import.clone();
    while let Some(ground) = left
        .iter()
        .find(|(_, imports)| imports.iter().all(|import| !left.contains_key(import)))
        .map(|(room, _)| *room)
    {
        left.remove(ground);
    }
    faults.extend(
        left.keys()
            .map(|room| format!("{room}: imports itself by way of others")),
    );
    assert_none(&faults);
}

/// The module that a file is: `journal/mod.rs` is `journal`, `journal/read.rs` is `journal::read`.
fn module_of(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
    if matches!(parts.last(), Some(&"mod" | &"lib" | &"main")) {
        parts.pop();
    }
    parts
}

/// The paths that a file names behind `crate::` and `super::`, each from the root of its crate.
fn named_paths(text: &str, module: &[&str]) -> Vec<Vec<String>> {
    let code = code_of(text);
    // Tests look at whatever they like.
    let code = code
        .split("#[cfg(test)] mod tests {")
        .next()
        .unwrap_or_default();
    let mut paths = Vec::new();
    for (start, base) in [
        ("crate::", Vec::new()),
        ("super::", module[..module.len().saturating_sub(1)].to_vec()),
    ] {
        for (at, _) in code.match_indices(start) {
            // `super::super::` is read once, from its first word.
            if code[..at].ends_with("super::") {
                continue;
            }
            let mut base: Vec<String> = base.iter().map(|part| (*part).to_owned()).collect();
            let mut rest = &code[at + start.len()..];
            while let Some(further) = rest.strip_prefix("super::") {
                base.pop();
                rest = further;
            }
            expand(rest, base, &mut paths);
        }
    }
    paths
}

/// All paths of the tree of imports that `text` begins with, behind `base`; returns what stands behind it.
fn expand<'a>(text: &'a str, base: Vec<String>, paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut list) = text.strip_prefix('{') {
        loop {
            list = list.trim_start();
            match list.chars().next() {
                None => return list,
                Some('}') => return &list[1..],
                Some(',') => list = &list[1..],
                Some(_) => {
                    let before = list.len();
                    list = expand(list, base.clone(), paths);
                    if list.len() == before {
                        return list;
                    }
                }
            }
        }
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = base;
    if !name.is_empty() && name != "self" {
        path.push(name.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(behind) => expand(behind, path, paths),
        None => {
            paths.push(path);
            rest
        }
    }
}

/// Which file imports which, within one crate whose files are given by their paths in its folder. A folder's
/// `mod.rs` is its front: it and what is in the folder are one thing to the rest of the house, and between
/// those two no arrow counts.
fn arrows(files: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: BTreeMap<Vec<&str>, &str> = files
        .keys()
        .map(|path| (module_of(path), path.as_str()))
        .collect();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in files {
        let module = module_of(path);
        for named in named_paths(text, &module) {
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            let longest = (1..=named.len())
                .rev()
                .find_map(|n| modules.get_key_value(&named[..n]));
            let Some((target, file)) = longest else {
                continue;
            };
            if !target.starts_with(&module) && !module.starts_with(target) {
                arrows.entry(path).or_default().insert(file);
            }
        }
    }
    arrows
}

/// The files that are left when those are taken away, again and again, that import none that is left.
fn in_circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<String> {
    let mut left = arrows.clone();
    while let Some(done) = left
        .iter()
        .find(|(_, to)| !to.iter().any(|to| left.contains_key(to)))
        .map(|(from, _)| *from)
    {
        left.remove(done);
    }
    // Who only leads into a circle is no part of it.
    while let Some(outside) = left
        .keys()
        .find(|from| !left.values().any(|to| to.contains(**from)))
        .copied()
    {
        left.remove(outside);
    }
    left.iter()
        .map(|(from, to)| {
            let to: Vec<&str> = to
                .iter()
                .copied()
                .filter(|to| left.contains_key(to))
                .collect();
            format!("{from} is in a circle, by way of {}", to.join(", "))
        })
        .collect()
}

#[test]
fn a_circle_is_found_through_every_form_of_import() {
    let files: BTreeMap<String, String> = [
        ("lib.rs", "pub mod a; pub mod b;"),
        ("a/mod.rs", "mod one;\npub mod two;\nuse one::One;"),
        ("a/one.rs", "use super::two::{self, Two};"),
        ("a/two.rs", "use crate::{\n    b::{B, c::D},\n};"),
        ("b/mod.rs", "use crate::a::one::One;"),
        ("c.rs", "use crate::a::two::Two;"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .into();
    let found = in_circles(&arrows(&files));
    assert_eq!(
        found,
        [
            "a/one.rs is in a circle, by way of a/two.rs",
            "a/two.rs is in a circle, by way of b/mod.rs",
            "b/mod.rs is in a circle, by way of a/one.rs",
        ]
    );
}

/// Files whose circles are still to be opened. Nothing is added here.
const KNOWN_CIRCLES: &[&str] = &[
    "src/cli/apikeys/faults.rs",
    "src/cli/apikeys/mod.rs",
    "src/cli/error.rs",
    "src/cli/output.rs",
    "src/cli/ports.rs",
    "src/ingest/admit/memory.rs",
    "src/ingest/admit/reservation.rs",
    "src/journal/bookmark.rs",
    "src/journal/committed.rs",
    "src/journal/queue.rs",
    "src/journal/recovery.rs",
    "src/journal/write.rs",
    "src/server/error.rs",
];

#[test]
fn no_file_imports_who_imports_it() {
    let mut faults = Vec::new();
    for house in ["src/", "benches/end_to_end/"] {
        let files: BTreeMap<String, String> = sources()
            .into_iter()
            .filter_map(|(name, text)| Some((name.strip_prefix(house)?.to_owned(), text)))
            .filter(|(path, _)| !path.ends_with("tests.rs") && !path.contains("tests/"))
            .collect();
        assert!(files.len() > 5, "{house} is looked for elsewhere");
        let mut known: BTreeSet<&str> = KNOWN_CIRCLES.iter().copied().collect();
        for fault in in_circles(&arrows(&files)) {
            let file = format!("{house}{}", fault.split(' ').next().unwrap_or_default());
            if !known.remove(file.as_str()) {
                faults.push(format!("{house}{fault}"));
            }
        }
        let ended = known.into_iter().filter(|file| file.starts_with(house));
        faults.extend(
            ended.map(|file| format!("{file}: in no circle any more; take it off the list")),
        );
    }
    assert_none(&faults);
}
