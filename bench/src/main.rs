//! `warpline-bench`: measures the real code on this machine, prints tables, writes figures.
//!
//! Promises: the client's cost is kept apart from the server's; what a run acknowledged is counted
//! again in the server before a figure is shown; nothing is left behind but the JSON asked for.

mod commits;
mod encode;
mod growth;
mod harness;
mod http;
mod ingest;
mod kernel;
mod ladder;
mod limits;
mod open;
mod peers;
mod process;
mod queries;
mod recovery;
mod replay;
mod report;
mod server;
mod simulator;
mod streams;
mod sustain;
mod viewers;

use clap::{Parser, Subcommand};
use report::Report;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What ends a command; its text says what to do.
type Failure = Box<dyn Error + Send + Sync>;

const EXAMPLES: &str = "\
Examples:
  warpline-bench limits
  warpline-bench ingest --gpus 1000,8000 --duration 60s
  warpline-bench ingest --peers DIR --peer-size S --systems victoriametrics
  warpline-bench commits --commits 5760 --plot DIR
  warpline-bench encode --peers DIR --sizes S,M --traces DIR
  warpline-bench growth --days 1,7,30
  warpline-bench ladder --gpus 222000 --ticks 20
  warpline-bench recovery --seconds 10,60,300
  warpline-bench streams --streams 27750 --per-connection 1000,2
  warpline-bench sustain --gpus 222000 --duration 30m
  warpline-bench viewers --gpus 16667 --viewers 50
  warpline-bench open --files 10000,100000
  warpline-bench kernel --python venv/bin/python
  warpline-bench queries --peers DIR --sizes S,M";

/// Measure Warpline on this machine.
#[derive(Debug, Parser)]
#[command(name = "warpline-bench", version, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Write the figures to a file as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Commits(commits::CommitOptions),
    Encode(encode::EncodeOptions),
    Growth(growth::GrowthOptions),
    Ingest(Box<ingest::IngestOptions>),
    Kernel(kernel::KernelOptions),
    Ladder(Box<ladder::LadderOptions>),
    Limits(limits::LimitsOptions),
    Open(open::OpenOptions),
    Queries(Box<queries::QueryOptions>),
    Recovery(recovery::RecoveryOptions),
    Streams(streams::StreamsOptions),
    Sustain(sustain::SustainOptions),
    Viewers(viewers::ViewersOptions),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("warpline-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let report = match &cli.command {
        Command::Commits(options) => commits::run(options)?,
        Command::Encode(options) => encode::run(options)?,
        Command::Growth(options) => growth::run(options)?,
        Command::Ingest(options) => ingest::run(options)?,
        Command::Kernel(options) => kernel::run(options)?,
        Command::Ladder(options) => ladder::run(options)?,
        Command::Limits(options) => limits::run(options)?,
        Command::Open(options) => open::run(options)?,
        Command::Queries(options) => queries::run(options)?,
        Command::Recovery(options) => recovery::run(options)?,
        Command::Streams(options) => streams::run(options)?,
        Command::Sustain(options) => sustain::run(options)?,
        Command::Viewers(options) => viewers::run(options)?,
    };
    for table in &report.tables {
        println!("{table}");
    }
    cli.json.as_deref().map_or(Ok(()), |file| write_json(file, &report))
}

fn write_json(file: &Path, report: &Report) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&report.figures)?;
    std::fs::write(file, text + "\n")
        .map_err(|error| format!("cannot write {}: {error}", file.display()).into())
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
