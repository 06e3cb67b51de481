//! The command line: what can be asked of Warpline, with examples that can be pasted.

use crate::{
    Failure, access, agent, backup, check, compact, demo, export, fields, import, serve, simulate,
    sql,
};
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

const OVERVIEW: &str = "\
Start here:
  warpline demo                       a server with a simulated fleet, and queries to try
  warpline serve                      a server on ./warpline-data
  warpline sql \"SELECT count(*) FROM gpu\"
  psql -h 127.0.0.1 -p 7432 -U warpline postgres

Each command explains itself: warpline help serve";

/// Statements are read, and their trees dropped, by recursion.
const STACK_BYTES: usize = 64 << 20;

/// How long what nobody waits for may go on at the end.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// A time-series store for GPU fleets: streams in, Parquet in a Delta table, SQL out.
#[derive(Debug, Parser)]
#[command(name = "warpline", version, after_help = OVERVIEW, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// What is written to standard error, as tracing directives.
    #[arg(long, global = true, env = "WARPLINE_LOG", default_value = "warn,warpline=info")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoOptions),
    Serve(serve::ServeOptions),
    Compact(compact::CompactOptions),
    Check(check::CheckOptions),
    Backup(backup::BackupOptions),
    Restore(backup::RestoreOptions),
    Sql(sql::SqlOptions),
    Simulate(simulate::SimulateOptions),
    Import(import::ImportOptions),
    Export(export::ExportOptions),
    Agent(agent::AgentOptions),
    Fields(fields::FieldsOptions),
    Token(access::TokenOptions),
}

/// Parses the command line and runs it to its end.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match start(cli) {
        Ok(status) => status,
        Err(failure) if is_closed_pipe(&failure) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("warpline: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output went away, as `head` does: nothing to complain about.
fn is_closed_pipe(failure: &Failure) -> bool {
    let cause = failure.downcast_ref::<std::io::Error>();
    cause.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn start(cli: Cli) -> Result<ExitCode, Failure> {
    let filter = EnvFilter::try_new(&cli.log)
        .map_err(|error| format!("--log {:?} is not usable: {error}", cli.log))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    // Two providers are linked; rustls refuses to choose between them.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "another part of the program has chosen a TLS provider")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()?;
    let done = runtime.block_on(dispatch(cli.command));
    // What still runs has nothing to finish, and may hang in a driver or in a file system.
    runtime.shutdown_timeout(STRAGGLERS);
    done
}

/// Runs the command; only `check` says something by its exit status that is no failure.
async fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(options) => return Ok(check::run(options).await),
        Command::Demo(options) => demo::run(options).await,
        Command::Serve(options) => serve::run(options).await,
        Command::Compact(options) => compact::run(options).await,
        Command::Backup(options) => backup::run_backup(options).await,
        Command::Restore(options) => backup::run_restore(options).await,
        Command::Sql(options) => sql::run(options).await,
        Command::Simulate(options) => simulate::run(options).await.map(drop),
        Command::Import(options) => import::run(options).await,
        Command::Export(options) => export::run(options).await,
        Command::Agent(options) => agent::run(options).await,
        Command::Fields(options) => fields::run(&options),
        Command::Token(options) => access::run_command(options),
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        }
    }
}
