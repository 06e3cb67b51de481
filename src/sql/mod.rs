//! `warpline sql`: a statement over HTTP, its answer as a table, JSON or CSV. Without one a shell
//! asks one after the other.

mod shell;

use crate::Failure;
use crate::remote::{RemoteOptions, http_client};
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use clap::ValueEnum;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use std::io::{Read, Write};
use std::time::Instant;
use warpline_ingest::Remote;

const EXAMPLES: &str = "\
Examples:
  warpline sql \"SELECT count(*), max(time) FROM gpu\"
  warpline sql --format csv \"SELECT node, avg(power_usage) FROM gpu GROUP BY node\" > power.csv
  warpline sql - < report.sql                         (a statement from standard input)
  warpline sql                                        (a prompt with history; \\? helps)";

/// Ask a server one SQL statement.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct SqlOptions {
    #[command(flatten)]
    pub remote: RemoteOptions,

    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Tell how long each answer took
    #[arg(long)]
    pub timing: bool,

    /// The statement; - reads it from standard input; without one, statements that end with ; are
    /// asked one after the other
    #[arg(value_name = "SQL")]
    pub statement: Option<String>,
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
    let client = Client::of(options.remote.remote()?)?;
    let SqlOptions { format, timing, .. } = options;
    match options.statement {
        Some(statement) => answer(&client, &text(statement)?, format, timing).await,
        None => shell::run(client, format, timing).await,
    }
}

/// Asks, and writes the answer and, where `timing` wants it, how long it took.
async fn answer(
    client: &Client,
    statement: &str,
    format: Format,
    timing: bool,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let response = client.ask(statement, format).await?;
    write(response, format).await?;
    if timing {
        eprintln!("Time: {:.1} ms", begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(())
}

async fn write(mut response: reqwest::Response, format: Format) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    if format == Format::Table {
        return Ok(writeln!(out, "{}", draw(&response.bytes().await?)?)?);
    }
    let mut line = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        out.write_all(&chunk)?;
        keep_last_line(&mut line, &chunk);
    }
    out.flush()?;
    match broken_off(&line) {
        Some(message) if format == Format::Json => Err(message.into()),
        _ => Ok(()),
    }
}

/// The line that a body ends with, its line feed included.
fn keep_last_line(line: &mut Vec<u8>, chunk: &[u8]) {
    for part in chunk.split_inclusive(|byte| *byte == b'\n') {
        if line.ends_with(b"\n") {
            line.clear();
        }
        line.extend_from_slice(part);
    }
}

/// What a JSON answer says when its statement failed after the first rows: it ends with
/// `],"error":...}`, which no string of a row can hold unescaped.
fn broken_off(last_line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(last_line).ok()?;
    let (_, failure) = line.rsplit_once("],\"error\":")?;
    refusal(&format!("{{\"error\":{failure}"))
}

/// The answer to a statement, drawn as a table.
pub async fn table(server: impl Into<Remote>, statement: &str) -> Result<String, Failure> {
    let response = Client::of(server.into())?.ask(statement, Format::Table).await?;
    draw(&response.bytes().await?)
}

fn text(statement: String) -> Result<String, Failure> {
    if statement != "-" {
        return Ok(statement);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// A server that is asked, over a connection that is kept.
pub(crate) struct Client {
    server: Remote,
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn of(server: Remote) -> Result<Self, Failure> {
        Ok(Self { http: http_client(&server)?, server })
    }

    pub(crate) async fn ask(
        &self,
        statement: &str,
        format: Format,
    ) -> Result<reqwest::Response, Failure> {
        let url = self.server.url.join("sql")?;
        let mut request = self
            .http
            .post(url.clone())
            .header(ACCEPT, format.media_type())
            .header(CONTENT_TYPE, "application/sql")
            .body(statement.to_owned());
        if let Some(token) = &self.server.token {
            request = request.bearer_auth(token);
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| {
            let hint = if error.is_connect() { "; is `warpline serve` running there?" } else { "" };
            format!("cannot ask {url}: {}{hint}", innermost(&error))
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let told = refusal(&body);
        Err(told.unwrap_or_else(|| format!("the server answered {status}: {body}")).into())
    }
}

/// The message of `{"error": ...}`, where the server sent one.
fn refusal(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(body.get("error")?.as_str()?.to_owned())
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

#[cfg(test)]
mod tests {
    use super::{broken_off, keep_last_line};

    #[test]
    fn a_json_answer_that_failed_on_its_way_is_told() {
        let ended = |body: &str| {
            let mut line = Vec::new();
            for chunk in body.as_bytes().chunks(3) {
                keep_last_line(&mut line, chunk);
            }
            broken_off(&line)
        };
        let failed =
            "{\"columns\":[],\"rows\":[\n[1],\n[2]],\"error\":\"too late\",\"code\":\"57014\"}\n";
        assert_eq!(ended(failed).as_deref(), Some("too late"));
        assert_eq!(ended("{\"columns\":[],\"rows\":[\n[1],\n[\"],\\\"error\\\":\"]]}\n"), None);
        assert_eq!(ended(""), None);
    }
}
