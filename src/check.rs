//! `check`: verifies a store, its server on or off, and changes nothing.
//!
//! Promises: 0 where nothing was found, 1 where something was, 2 where the store could not be
//! looked at to the end; each finding names its place and what to do.

use crate::serve::ServeOptions;
use crate::{Failure, progress};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use warpline_storage::{AuditOptions, AuditReport, FindingKind, audit};

const EXAMPLES: &str = "\
Examples:
  warpline check --data /var/lib/warpline
  warpline check --data /var/lib/warpline --quick
  warpline check --config warpline.toml --table gpu --table node

The exit status is 0 where nothing was found, 1 where something was, 2 where it could not look.
docs/operating.md says what is verified.";

/// Verify files, rollups and the log of a store, which may be in use.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckOptions {
    #[command(flatten)]
    server: ServeOptions,

    /// Verify this table and its rollups alone; may be given several times
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,

    /// Decode no rows: only that files are there, and that footers and the log are sound
    #[arg(long)]
    quick: bool,
}

/// Verifies, prints what was found, and says by the exit status whether anything was.
pub async fn run(options: CheckOptions) -> ExitCode {
    match look(&options).await {
        Ok(AuditReport { broken_off: Some(error), .. }) => unfinished(&error),
        Ok(report) if report.findings.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(failure) => unfinished(&failure),
    }
}

fn unfinished(why: &impl std::fmt::Display) -> ExitCode {
    eprintln!("warpline: {why}");
    ExitCode::from(2)
}

async fn look(options: &CheckOptions) -> Result<AuditReport, Failure> {
    let config = options.server.configuration()?;
    let settings = config.storage_options_of_a_store()?;
    let what = AuditOptions { tables: options.tables.clone(), quick: options.quick };
    let bar = progress::bytes("verifying", 1);
    let report = audit(&settings, &what, &mut progress::of(&bar)).await;
    bar.finish_and_clear();
    let report = report?;
    write(&report, &mut std::io::stdout().lock())?;
    Ok(report)
}

fn write(report: &AuditReport, out: &mut impl Write) -> std::io::Result<()> {
    let AuditReport { tables, files, rows, bytes, rollup_rows, batches, .. } = report;
    let AuditReport { findings, left_out, broken_off, .. } = report;
    let megabytes = bytes / 1_000_000;
    writeln!(out, "{tables} tables, {files} files, {rows} rows, {megabytes} MB verified")?;
    writeln!(out, "{rollup_rows} rows of rollups compared, {batches} batches of the log read")?;
    for what in left_out {
        writeln!(out, "left out: {what}")?;
    }
    if broken_off.is_some() {
        writeln!(out, "it was broken off: what follows is not all")?;
    }
    if findings.is_empty() {
        return writeln!(out, "nothing was found");
    }
    let wide = findings.iter().map(|found| found.place.chars().count()).max().unwrap_or(0);
    writeln!(out, "\n{:<12}  {:<wide$}  found", "what", "where")?;
    for found in findings {
        writeln!(out, "{:<12}  {:<wide$}  {}", found.kind, found.place, found.found)?;
    }
    writeln!(out, "\nwhat to do")?;
    let kinds: BTreeSet<FindingKind> = findings.iter().map(|found| found.kind).collect();
    kinds.iter().try_for_each(|kind| writeln!(out, "{kind:<12}  {}", kind.advice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use warpline_storage::Finding;

    #[test]
    fn findings_stand_in_a_table_with_what_to_do() {
        let found = |kind, place: &str| Finding { kind, place: place.into(), found: "why".into() };
        let findings = vec![
            found(FindingKind::Missing, "gpu/date=2026-01-01/a.parquet"),
            found(FindingKind::Rollup, "gpu_1m"),
            found(FindingKind::Rollup, "gpu_1h"),
        ];
        let report = AuditReport { findings, ..AuditReport::default() };
        let mut out = Vec::new();
        write(&report, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("missing file  gpu/date=2026-01-01/a.parquet  why\n"), "{text}");
        assert!(text.contains("rollup        gpu_1m                         why\n"), "{text}");
        assert_eq!(text.matches(FindingKind::Rollup.advice()).count(), 1, "{text}");
    }
}
