//! `backup` and `restore`: copies of a store at one moment, and stores made of them.

use crate::serve::ServeOptions;
use crate::{Failure, progress};
use std::collections::HashMap;
use std::path::Path;
use url::Url;
use warpline_storage::{BackedUpTable, BackupPlace, backup, restore};

const BACKUP_EXAMPLES: &str = "\
Examples:
  warpline backup /backups/warpline --data /var/lib/warpline
  warpline backup s3://bucket/backup --config warpline.toml --option aws_region=eu-central-1

The server may run; rows that it has not flushed are in the backup only where it does not run. A
second backup to the same place copies what is new. docs/operating.md says more.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  warpline restore /backups/warpline --data /var/lib/warpline-restored
  warpline restore s3://bucket/backup --data ./log --store s3://bucket/restored

Data folder and store must be empty.";

/// Where a backup is, on the command line.
#[derive(Clone, Debug, clap::Args)]
struct PlaceOptions {
    /// Option of the backup's object store, as in the setting store.options; may be given several times
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
}

/// Copy a store, whose server may run, to a folder or an object store.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = BACKUP_EXAMPLES)]
pub struct BackupOptions {
    /// A folder, or a URL as --store takes it
    #[arg(value_name = "TARGET")]
    target: String,

    /// Write over a backup of another store, or one that has more than this store has
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    place: PlaceOptions,

    #[command(flatten)]
    server: ServeOptions,
}

/// Make a store of a backup, in an empty data folder.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = RESTORE_EXAMPLES)]
pub struct RestoreOptions {
    /// A folder, or a URL as --store takes it
    #[arg(value_name = "SOURCE")]
    source: String,

    #[command(flatten)]
    place: PlaceOptions,

    #[command(flatten)]
    server: ServeOptions,
}

/// Makes a backup and says how far it goes.
pub async fn run_backup(options: BackupOptions) -> Result<(), Failure> {
    let settings = options.server.configuration()?.storage_options_of_a_store()?;
    let target = options.place.place(&options.target)?;
    let bar = progress::bytes("copying", 1);
    let report = backup(&settings, &target, options.replace, &mut progress::of(&bar)).await;
    bar.finish_and_clear();
    let report = report?;
    report.tables.iter().for_each(print);
    println!(
        "{} files, {} MB; {} of them, {} MB, were copied now",
        report.files,
        report.bytes / 1_000_000,
        report.copied_files,
        report.copied_bytes / 1_000_000
    );
    if report.log {
        println!("the log is in it: nothing that was acknowledged is missing");
    } else {
        println!(
            "the server is running: rows that it had not flushed (past the positions above) are \
             not in it"
        );
    }
    Ok(())
}

/// Restores a backup.
pub async fn run_restore(options: RestoreOptions) -> Result<(), Failure> {
    let settings = options.server.configuration()?.storage_options()?;
    let source = options.place.place(&options.source)?;
    let bar = progress::bytes("restoring", 1);
    let report = restore(&source, &settings, &mut progress::of(&bar)).await;
    bar.finish_and_clear();
    let report = report?;
    report.tables.iter().for_each(print);
    let (files, megabytes) = (report.files, report.bytes / 1_000_000);
    println!("{files} files, {megabytes} MB of the backup of {} were restored", report.made);
    if !report.log {
        println!("without a log: a server begins a new one, and producers send what they hold");
    }
    Ok(())
}

fn print(table: &BackedUpTable) {
    let until = table.until.and_then(chrono::DateTime::from_timestamp_micros);
    let until = until.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339());
    println!(
        "{}: version {}, {} rows up to {until}, log position {}",
        table.name, table.version, table.rows, table.covered
    );
}

impl PlaceOptions {
    fn place(&self, text: &str) -> Result<BackupPlace, Failure> {
        let options: HashMap<_, _> = self.options.iter().cloned().collect();
        Ok(BackupPlace { url: url(text)?, options })
    }
}

/// A URL with a scheme of more than a letter, or else a folder.
fn url(text: &str) -> Result<Url, Failure> {
    if text.contains("://") {
        return Ok(Url::parse(text).map_err(|error| format!("{text} is no URL: {error}"))?);
    }
    let folder = std::path::absolute(Path::new(text))
        .map_err(|error| format!("{text:?} is no folder: {error}"))?;
    Url::from_directory_path(folder).map_err(|()| format!("{text:?} is no folder").into())
}

fn option(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{option, url};

    #[test]
    fn a_place_is_a_folder_or_a_url() {
        assert_eq!(url("/backups/a b").unwrap().as_str(), "file:///backups/a%20b/");
        assert_eq!(url("s3://bucket/x").unwrap().as_str(), "s3://bucket/x");
        assert!(url("here").unwrap().as_str().ends_with("/here/"));
        assert!(url("://").is_err());
    }

    #[test]
    fn an_option_is_a_key_and_a_value() {
        assert_eq!(option("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(option("a").is_err());
    }
}
