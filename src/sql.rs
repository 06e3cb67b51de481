//! `warpline sql`: one statement over HTTP, its answer as a table, JSON or CSV.

use crate::Failure;
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::ValueEnum;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use std::io::{Read, Write};
use url::Url;

const EXAMPLES: &str = "\
Examples:
  warpline sql \"SELECT count(*), max(time) FROM gpu\"
  warpline sql --format csv \"SELECT node, avg(power_usage) FROM gpu GROUP BY node\" > power.csv
  warpline sql - < report.sql                         (a statement from standard input)";

/// Ask a server one SQL statement.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SqlOptions {
    /// The server's HTTP address
    #[arg(
        long,
        value_name = "URL",
        env = "WARPLINE_SERVER",
        default_value = "http://127.0.0.1:7480"
    )]
    pub server: Url,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// The statement; - reads it from standard input
    #[arg(value_name = "SQL")]
    pub statement: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
    Csv,
}

impl Format {
    /// The media type that is asked for; tables are drawn here from Arrow.
    fn media_type(self) -> &'static str {
        match self {
            Self::Table => "application/vnd.apache.arrow.stream",
            Self::Json => "application/json",
            Self::Csv => "text/csv",
        }
    }
}

/// Sends the statement and writes the answer to standard output as it comes.
pub async fn run(options: SqlOptions) -> Result<(), Failure> {
    let statement = statement(&options.statement)?;
    let mut response = ask(&options.server, &statement, options.format).await?;
    let mut out = std::io::stdout();
    if options.format == Format::Table {
        return Ok(writeln!(out, "{}", draw(&response.bytes().await?)?)?);
    }
    while let Some(chunk) = response.chunk().await? {
        out.write_all(&chunk)?;
    }
    Ok(out.flush()?)
}

/// The answer to a statement, drawn as a table.
pub async fn table(server: &Url, statement: &str) -> Result<String, Failure> {
    let response = ask(server, statement, Format::Table).await?;
    draw(&response.bytes().await?)
}

fn statement(argument: &str) -> Result<String, Failure> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

async fn ask(server: &Url, statement: &str, format: Format) -> Result<reqwest::Response, Failure> {
    let url = server.join("sql")?;
    let sent = reqwest::Client::new()
        .post(url.clone())
        .header(ACCEPT, format.media_type())
        .header(CONTENT_TYPE, "application/sql")
        .body(statement.to_owned())
        .send()
        .await;
    let response = sent.map_err(|error| {
        let hint = if error.is_connect() { "; is `warpline serve` running there?" } else { "" };
        format!("cannot ask {url}: {}{hint}", innermost(&error))
    })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    Err(refusal(&body).unwrap_or_else(|| format!("the server answered {status}: {body}")).into())
}

/// The message of `{"error": ...}`, where the server sent one.
fn refusal(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let error = body.get("error")?;
    let message = error.get("message").unwrap_or(error);
    Some(message.as_str()?.to_owned())
}

/// The cause behind the causes: "connection refused" rather than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn draw(stream: &[u8]) -> Result<String, Failure> {
    let reader = StreamReader::try_new(stream, None)?;
    let mut batches = vec![RecordBatch::new_empty(reader.schema())];
    for batch in reader {
        batches.push(batch?);
    }
    let options = FormatOptions::default().with_null("NULL").with_display_error(true);
    Ok(pretty_format_batches_with_options(&batches, &options)?.to_string())
}
