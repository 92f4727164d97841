//! The words of the command line on their way in: parsed, or explained.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::error::report;
use super::{Cli, Error};
use crate::limits;

/// Runs the program: parses the command line, runs the command, prints its error, chooses the exit code.
pub fn main(
    words: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let cli = match Cli::from_args(words.iter().cloned()) {
        Ok(cli) => cli,
        Err(error) => return explain(&error, &words),
    };
    let json = cli.json;
    match cli.run(environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            report_within(limits::LOG_FLUSH_WAIT, move || error.report(json));
            ExitCode::from(code)
        }
    }
}

/// Reports an error, but does not wait longer than this for standard error to take it: a reader that does not read
/// must not keep a server from its end.
fn report_within(patience: Duration, report: impl FnOnce() + Send + 'static) {
    let (done, reported) = channel();
    let reporting = std::thread::Builder::new().spawn(move || {
        report();
        let _ = done.send(());
    });
    if reporting.is_ok() {
        let _ = reported.recv_timeout(patience);
    }
}

/// Prints help or version, or what is wrong with the command line.
fn explain(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(1);
    let rendered = error.render();
    if !error.use_stderr() {
        let text = rendered.ansi().to_string();
        let mut out = anstream::stdout().lock();
        return match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(failed) if failed.kind() != ErrorKind::BrokenPipe => {
                report(
                    false,
                    "output_failed",
                    &Error::Output(failed).to_string(),
                    1,
                );
                ExitCode::FAILURE
            }
            _ => ExitCode::from(code),
        };
    }
    // The command line did not parse: whether JSON was asked for can only be seen in its words.
    if words.iter().any(|word| word == "--json") {
        let text = rendered.to_string();
        let text = text.trim();
        let text = text.strip_prefix("error: ").unwrap_or(text);
        report(true, "usage", &without_secrets(text), code);
    } else {
        let mut err = anstream::stderr().lock();
        // Nowhere is left to report that standard error cannot be written.
        let _: io::Result<()> = write!(err, "{}", without_secrets(&rendered.ansi().to_string()));
    }
    ExitCode::from(code)
}

/// What may be a streaming key, whole or with some digits lost, has this many hexadecimal digits.
const SECRET_DIGITS_MIN: usize = 24;

/// The text without what may be a streaming key that was typed in the wrong place.
fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = rest
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(rest.len());
        let taken = digits.max(first.len_utf8());
        let (word, behind) = rest.split_at(taken);
        out.push_str(if digits >= SECRET_DIGITS_MIN {
            "<hidden>"
        } else {
            word
        });
        rest = behind;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_wrong_place_is_not_repeated() {
        let key = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
        let said = without_secrets(&format!(
            "no such command 'größe' or '{key}' or {}",
            &key[..25]
        ));
        assert_eq!(said, "no such command 'größe' or '<hidden>' or <hidden>");
        assert_eq!(without_secrets("deadbeef é"), "deadbeef é");
    }
}
