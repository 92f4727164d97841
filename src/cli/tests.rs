//! The command line as it is typed.

use super::*;

fn typed(line: &str) -> Result<Cli, clap::Error> {
    Cli::from_args(line.split(' '))
}

fn flags_of(line: &str) -> Vec<(&'static str, String)> {
    let flags = match typed(line).unwrap().command.unwrap() {
        Command::Serve(flags) => flags.given().clone(),
        Command::Apikeys(apikeys) => apikeys.settings.given().clone(),
        Command::Status(status) => status.settings.given().clone(),
        other => panic!("{other:?}"),
    };
    let mut flags: Vec<_> = flags
        .iter()
        .map(|(setting, text)| (setting.key, text.to_str().unwrap().to_owned()))
        .collect();
    flags.sort();
    flags
}

fn refused(line: &str) -> String {
    let error = typed(line).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{line}");
    error.to_string()
}

fn owned(flags: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn no_command_takes_the_flags_of_serve_wherever_they_stand() {
    let expected = owned(&[("data_dir", "d"), ("tcp", "off")]);
    for line in [
        "tell --tcp off --data-dir d",
        "tell serve --tcp off --data-dir d",
        "tell start --tcp off --data-dir d",
        "tell --data-dir d serve --tcp off",
        "tell --tcp off --data-dir d serve",
        "tell --tcp off --data-dir e serve --data-dir d",
    ] {
        assert_eq!(flags_of(line), expected, "{line}");
    }
}

#[test]
fn a_command_takes_the_flags_that_do_something_there_and_no_others() {
    let expected = owned(&[("data_dir", "d"), ("keys", "k")]);
    for line in [
        "tell --data-dir d --keys k apikeys",
        "tell --data-dir d apikeys --keys k list",
        "tell apikeys list --data-dir d --keys k",
        "tell --keys other apikeys --data-dir d list --keys k",
    ] {
        assert_eq!(flags_of(line), expected, "{line}");
    }
    assert_eq!(
        flags_of("tell --data-dir d status"),
        owned(&[("data_dir", "d")])
    );
    for (line, flag, command) in [
        ("tell --tcp off apikeys", "--tcp", "apikeys"),
        (
            "tell --strict-permissions status",
            "--strict-permissions",
            "status",
        ),
        ("tell --data-dir d version", "--data-dir", "version"),
    ] {
        let said = refused(line);
        assert!(
            said.contains(&format!("{flag} is a flag of `serve`")),
            "{said}"
        );
        assert!(said.contains(&format!("`{command}`")), "{said}");
    }
    for line in [
        "tell apikeys --tcp off",
        "tell status --tcp off",
        "tell storage --strict-permissions",
        "tell export --workspace 1 --http off",
        "tell version --data-dir d",
    ] {
        assert!(refused(line).contains("unexpected argument"), "{line}");
    }
}

#[test]
fn what_was_probably_meant_is_named() {
    for (line, meant) in [
        ("tell aipkeys", "'apikeys'"),
        ("tell statsu", "'status'"),
        ("tell apikeys lst", "'list'"),
        ("tell apikeys rotat x", "'rotate'"),
        ("tell config lsit", "'list'"),
        ("tell serve --htpp off", "'--http'"),
        ("tell --htpp off", "'--http'"),
        ("tell export --worspace 1", "'--workspace'"),
        ("tell export --workspace 1 --table evnts", "'events'"),
        ("tell apikeys --sort naem", "'name'"),
    ] {
        let said = refused(line);
        assert!(
            said.contains("similar") && said.contains(meant),
            "{line}: {said}"
        );
    }
}

#[test]
fn commands_have_the_names_that_people_try() {
    for (line, same) in [
        (
            "tell apikeys create a -w 1",
            "tell apikeys new a --workspace 1",
        ),
        (
            "tell apikeys add a -w ws-1",
            "tell apikeys new a --workspace 1",
        ),
        (
            "tell apikeys generate a -w 1",
            "tell apikeys new a --workspace 1",
        ),
        ("tell apikeys ls", "tell apikeys list"),
        ("tell apikeys get a", "tell apikeys show a"),
        ("tell apikeys rm a b", "tell apikeys delete a b"),
        ("tell apikeys revoke a", "tell apikeys delete a"),
        ("tell keys ls -w 1", "tell apikeys list --workspace 1"),
        ("tell config ls", "tell config list"),
        ("tell config show", "tell config list"),
        (
            "tell export -w 1 -t logs",
            "tell export --workspace 1 --table logs",
        ),
        ("tell run", "tell serve"),
        ("tell", "tell serve"),
    ] {
        let (one, other) = (typed(line).unwrap(), typed(same).unwrap());
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "{line}");
    }
}

#[test]
fn every_command_has_help_in_three_ways() {
    fn each(command: &clap::Command, path: &str, paths: &mut Vec<String>) {
        paths.push(path.to_owned());
        for below in command.get_subcommands().filter(|c| c.get_name() != "help") {
            each(below, &format!("{path} {}", below.get_name()), paths);
        }
    }
    let mut paths = Vec::new();
    each(&Cli::command(), "tell", &mut paths);
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        let help = path.replacen("tell", "tell help", 1);
        for line in [help, format!("{path} --help"), format!("{path} -h")] {
            let error = typed(&line).unwrap_err();
            assert_eq!(error.exit_code(), 0, "{line}: {error}");
            assert!(error.to_string().contains("Usage: tell"), "{line}: {error}");
        }
    }
}

#[test]
fn the_example_of_the_help_is_accepted() {
    let example = AFTER_HELP.lines().last().unwrap().trim();
    assert_eq!(flags_of(example).len(), 4);
}

#[test]
fn the_help_lists_a_setting_where_it_does_something() {
    let help = |line: &str| typed(line).unwrap_err().to_string();
    assert!(help("tell serve --help").contains("--max-body-size"));
    for line in ["tell --help", "tell apikeys --help", "tell status --help"] {
        assert!(!help(line).contains("--max-body-size"), "{line}");
        assert!(help(line).contains("--data-dir"), "{line}");
    }
    assert!(!help("tell status --help").contains("--keys"));
    assert!(!help("tell version --help").contains("--data-dir"));
}

#[test]
fn every_fault_of_the_settings_is_a_line_of_the_error() {
    let cli = typed("tell --tcp nowhere --worker-threads 0").unwrap();
    let error = cli.run([("TELL_HTTP".into(), "8080".into())]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
}
