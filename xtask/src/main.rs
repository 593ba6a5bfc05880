//! `cargo xtask`: build, run and check this repository.
//! Reads: the arguments. Writes: nothing itself; each command is one module.
//! Never: part of the product. Why: one tool in the project's own language instead of scripts
//! that each shell and each machine runs differently.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks to the terminal: results on stdout, progress on stderr"
)]

mod catalogue;
mod check;
mod contracts;
mod dashboards;
mod drift;
mod fuzz;
mod load;
mod nightly;
mod repo;
mod rules;
mod runner;
mod shell;
mod tidy;
mod tools;
mod up;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  up [ARGS…]              install nats-server if missing, build in release mode, start `campana up --apps ARGS…`
                            --no-apps      the platform alone, without the four applications beside it
  test [OPTIONS] [NAME]   install what the tests need, then run every check (this is what .ci/run calls)
                            NAME           run only tests whose name contains NAME
                            --quick        only formatting, clippy, tidy and the tests that need no platform
                            --step STEP    only this step (repeatable); --list shows the steps
  ci                      the same as `test`
  tidy                    check the repository's own rules: layers, names, lengths, headers, catalogues
  gen [PART]              regenerate the committed files that `test` compares (OpenAPI, references, dashboards)
  contracts [check]       compare the messages of every service with the schemas released last
  contracts release       record new messages, new versions and new optional fields in contracts/
  tools [NAME…]           install all tools of the tests, or the named ones:
                            nats-server postgresql chromium npm venv cargo-deny curl
  fuzz TARGET [SECONDS]   libFuzzer against json, protobuf or session of ws-edge/fuzz (60 s)
  loadtest [ARGS…]        build in release mode and run the load harness
  nightly [OPTIONS]       about 40 minutes in release mode: scenario nightly, the harness's trial of itself, a soak, fuzzing
                            --soak-minutes N (15), --fuzz-seconds N for each target (300); 0 leaves a part out

Tools go to the git-ignored folder .tools; running a command again costs nothing.
";

/// Wrong usage, as opposed to a check that failed.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        eprint!("{HELP}");
        return ExitCode::from(EXIT_USAGE);
    }
    let command = args.remove(0);
    let outcome = match command.as_str() {
        "up" => up::up(&without_separator(args)),
        "loadtest" => up::loadtest(&without_separator(args)),
        "test" | "ci" => match check::Selection::parse(&args) {
            Ok(selection) => check::run(&selection),
            Err(problem) => return usage(&problem),
        },
        "tidy" => tidy::command(),
        "gen" => drift::write(args.first().map_or("", String::as_str)),
        "contracts" => contracts::command(&args),
        "fuzz" => fuzz::command(&args),
        "nightly" => nightly::command(&args),
        "tools" => tools::command(&args),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => return usage(&format!("no such command: {other}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("error: {problem}\n");
    eprint!("{HELP}");
    ExitCode::from(EXIT_USAGE)
}

/// `up -- --port-offset 1` and `up --port-offset 1` mean the same.
fn without_separator(mut args: Vec<String>) -> Vec<String> {
    if args.first().is_some_and(|first| first == "--") {
        args.remove(0);
    }
    args
}
