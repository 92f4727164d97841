//! The program: the command line has it all.

use std::process::ExitCode;

fn main() -> ExitCode {
    tell_server::cli::main(std::env::args_os(), std::env::vars_os())
}
