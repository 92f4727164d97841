//! The reference of settings, `docs/settings.md`, made from their declarations.

use std::fmt::Write;

use super::Setting;
use super::settings::{self, FilesConfig, listen};
use crate::origin::Source;

const HEAD: &str = "\
# Settings

<!-- Made from src/control/config; a test compares. `TELL_WRITE_DOCS=1 cargo test --lib settings_md` writes it. -->

Everything has a default. A flag wins over the environment, the environment over the file, the file over the
default; every fault of all of them is reported at once, each with its place, and the server does not start.
The file is the one that `--config` names, or else `./tell.toml`, or else `/etc/tell/tell.toml`, whichever is there:

```toml
data_dir = \"/var/lib/tell\"
http = \"0.0.0.0:8080\"
syslog_udp = \"off\"
journal_limit = \"200GiB\"
```

`tell config list` prints each setting as it counts and where it comes from; `tell config set KEY VALUE` and
`unset KEY` change the file and leave everything else in it as it is. A running server takes changes up when it is
started again.

Sizes are bytes, or take `KB`, `MB`, `GB`, `TB` (powers of 1000) and `KiB`, `MiB`, `GiB`, `TiB` or `K`, `M`, `G`, `T`
(powers of 1024). Durations take `ms`, `s`, `m` or `h`.
";

const TABLES: &str = "
## Listeners of the file

Any number of tables for each kind of listener, beside the settings above: `[[listen.tcp]]`, `[[listen.http]]`,
`[[listen.syslog_tcp]]` and `[[listen.syslog_udp]]`. A kind that has tables has no default address.

| Key | In | Accepts | Meaning |
|---|---|---|---|
";

/// The page of settings, in Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    let mut section = "";
    for setting in settings::all() {
        if setting.section != section {
            section = setting.section;
            page.push_str(&format!("\n## {section}\n\n"));
            page.push_str("| In the file | Flag | Variable | Default | Accepts | Meaning |\n");
            page.push_str("|---|---|---|---|---|---|\n");
        }
        row(&mut page, setting);
    }
    page.push_str(TABLES);
    for field in listen::fields(Source::SyslogTcp) {
        let takes = |source: &Source| listen::fields(*source).any(|f| f.key == field.key);
        let kinds: Vec<&str> = Source::ALL
            .iter()
            .filter(|source| takes(source))
            .map(|source| source.as_str())
            .collect();
        let kinds = if kinds.len() == Source::ALL.len() {
            "all".to_owned()
        } else {
            kinds.join(", ")
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {kinds} | {} | {} |",
            field.key,
            field.kind.right(),
            field.help
        );
    }
    page
}

fn row(page: &mut String, setting: &Setting) {
    let key = if setting.key == FilesConfig::config.key {
        String::new()
    } else {
        format!("`{}`", setting.key)
    };
    let default = match setting.derived_default() {
        Some(words) => words.to_owned(),
        None => format!("`{}`", setting.default),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "| {key} | `--{}` | `{}` | {default} | {} | {} |",
        setting.flag,
        setting.variable,
        setting.kind.right(),
        setting.help,
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::{env, fs};

    use super::*;
    use crate::control::config::{Config, Raw};

    #[test]
    fn docs_settings_md_is_what_the_settings_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        let page = reference();
        if env::var_os("TELL_WRITE_DOCS").is_some() {
            fs::write(path, &page).unwrap();
        }
        let written = fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page,
            "docs/settings.md is out of date: TELL_WRITE_DOCS=1 cargo test --lib settings_md"
        );
    }

    #[test]
    fn the_example_of_the_page_is_accepted() {
        let (_, rest) = HEAD.split_once("```toml\n").unwrap();
        let (example, _) = rest.split_once("```").unwrap();
        let mut raw = Raw::default();
        raw.add_file(Path::new("tell.toml"), example);
        let config = Config::validate(raw).unwrap();
        assert_eq!(config.listeners.len(), 3);
    }

    #[test]
    fn no_cell_breaks_a_table() {
        let page = reference();
        let tables = page.split("\n\n").filter(|part| part.starts_with('|'));
        let mut rows = 0;
        for table in tables {
            let columns = table.lines().next().unwrap().matches('|').count();
            for line in table.lines() {
                assert_eq!(line.matches('|').count(), columns, "{line}");
                rows += 1;
            }
        }
        assert!(rows > settings::all().count());
    }
}
