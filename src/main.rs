//! The program: parse the command line, run, print the error, choose the exit code.

use std::io::Write;
use std::process::ExitCode;

use tell_server::cli::Cli;

fn main() -> ExitCode {
    let cli = match Cli::from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help, version or a usage error: clap knows which stream each goes to.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match cli.run(std::env::vars_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr().lock();
            for line in error.to_string().lines() {
                // A closed stderr must not turn the exit code into a panic's.
                let _ = writeln!(stderr, "error: {line}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}
