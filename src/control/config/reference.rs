//! The README's reference of settings, rendered from their table.

use std::fmt::Write;

use super::SETTINGS;
use super::settings::CONFIG;

/// The settings as a Markdown table, as it stands in the README between `<!-- settings:begin -->` and
/// `<!-- settings:end -->`.
#[must_use]
pub fn reference() -> String {
    let mut out = String::from(
        "| In the file | Flag | Variable | Default | Accepts | Meaning |\n|---|---|---|---|---|---|\n",
    );
    for setting in SETTINGS {
        let key = if setting.key == CONFIG.key {
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
            out,
            "| {key} | `--{}` | `{}` | {} | {} | {} |",
            setting.flag,
            setting.variable,
            default,
            setting.kind.right(),
            setting.help,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_exactly_the_settings() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
        let (_, rest) = readme.split_once("<!-- settings:begin -->\n").unwrap();
        let (block, _) = rest.split_once("<!-- settings:end -->").unwrap();
        let expected = reference();
        assert!(
            block == expected,
            "README.md has to have, between the settings marks:\n{expected}"
        );
    }

    #[test]
    fn no_cell_breaks_the_table() {
        for line in reference().lines() {
            assert_eq!(line.matches('|').count(), 7, "{line}");
        }
    }
}
