//! One exporter: where it is, how it is asked, and what became of its last answer.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tracing::{debug, info, warn};
use url::{Host, Url};
use warpline_ingest::dictionary::Dictionary;
use warpline_ingest::exposition::Format;
use warpline_ingest::rocm_smi;
use warpline_ingest::scrape::{Mapped, Mapper, Origin};
use warpline_storage::model::Timestamp;

/// A longer answer is refused: no exporter prints so much, and memory is bounded.
const MAX_ANSWER_BYTES: usize = 64 << 20;
const WANTED: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

/// Where an exporter's text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Url(Url),
    File(PathBuf),
}

/// What a target gave at one tick.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) mapped: Mapped,
    /// Whether its refusals differ in number from those of the scrape before.
    news: bool,
}

#[derive(Debug)]
pub(super) struct Target {
    address: Address,
    client: reqwest::Client,
    mapper: Mapper,
    answers: bool,
    refused: usize,
}

impl Target {
    pub(super) fn new(
        address: Address,
        dictionary: Arc<Dictionary>,
        origin: Origin,
        client: reqwest::Client,
    ) -> Self {
        let mapper = Mapper::new(dictionary, origin);
        Self { address, client, mapper, answers: true, refused: 0 }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks and maps. A failure is logged when it begins and when it ends, not at every tick.
    pub(super) async fn scrape(
        &mut self,
        time: Timestamp,
        timeout: Duration,
    ) -> Result<Scrape, String> {
        let asked = tokio::time::timeout(timeout, self.ask()).await;
        let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")));
        self.tell_change(answer.as_ref().err());
        let (text, format) = answer?;
        let mapped = self.mapper.map(&text, format, time);
        let refused = mapped.report.refused.count;
        let news = refused != std::mem::replace(&mut self.refused, refused);
        Ok(Scrape { mapped, news })
    }

    fn tell_change(&mut self, failure: Option<&String>) {
        match failure {
            Some(reason) if self.answers => warn!("{}: {reason}", self.address),
            Some(reason) => debug!("{}: {reason}", self.address),
            None if !self.answers => info!("{} answers again", self.address),
            _ => {}
        }
        self.answers = failure.is_none();
    }

    async fn ask(&self) -> Result<(Bytes, Format), String> {
        match &self.address {
            Address::Url(url) => get(&self.client, url).await,
            Address::File(path) => {
                let file = tokio::fs::File::open(path).await.map_err(|error| error.to_string())?;
                let mut text = Vec::new();
                let read = file.take(MAX_ANSWER_BYTES as u64 + 1).read_to_end(&mut text).await;
                read.map_err(|error| error.to_string())?;
                check_length(text.len())?;
                Ok(readable(text, None))
            }
        }
    }
}

async fn get(client: &reqwest::Client, url: &Url) -> Result<(Bytes, Format), String> {
    let sent = client.get(url.clone()).header(ACCEPT, WANTED).send().await;
    let mut response =
        sent.and_then(reqwest::Response::error_for_status).map_err(|error| reason(&error))?;
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        check_length(text.len() + chunk.len())?;
        text.extend_from_slice(&chunk);
    }
    Ok(readable(text, content_type.as_deref()))
}

/// The answer as exposition text, and how that is written.
fn readable(text: Vec<u8>, content_type: Option<&str>) -> (Bytes, Format) {
    if let Some(text) = rocm_smi::exposition(&text) {
        return (text.into(), Format::Prometheus);
    }
    let format = Format::detect(content_type, &text);
    (text.into(), format)
}

fn check_length(bytes: usize) -> Result<(), String> {
    if bytes <= MAX_ANSWER_BYTES {
        return Ok(());
    }
    Err(format!("the answer has more than {MAX_ANSWER_BYTES} bytes"))
}

/// The cause behind the causes: "connection refused" rather than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Scrape {
    pub(super) fn summary(&self) -> String {
        let report = &self.mapped.report;
        format!(
            "samples={} series={} rows={} nulls={} blank={} rounded={} repeated={} refused={}",
            report.samples,
            report.series,
            report.rows,
            report.nulls,
            report.blank,
            report.rounded,
            report.repeated,
            report.refused.count,
        )
    }

    /// Logs refusals where their number is new: a bad line comes again at every tick.
    pub(super) fn warn_of_refusals(&self, target: &Address) {
        let refused = &self.mapped.report.refused;
        if self.news && refused.count > 0 {
            warn!("{target}: {} refused: {}", refused.count, refused.reasons.join("; "));
        }
    }
}

impl Address {
    /// The exporter's `host:port`.
    pub(super) fn instance(&self) -> Option<String> {
        let Self::Url(url) = self else { return None };
        Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
    }

    /// The host's name, where it is another machine's.
    pub(super) fn remote_host(&self) -> Option<&str> {
        let Self::Url(url) = self else { return None };
        let local = match url.host()? {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback() || ip.is_unspecified(),
            Host::Ipv6(ip) => ip.is_loopback() || ip.is_unspecified(),
        };
        url.host_str().filter(|_| !local)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let url: Url = text.parse().map_err(|error| format!("{text}: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self::Url(url)),
            "file" => {
                let path = url.to_file_path();
                path.map(Self::File)
                    .map_err(|()| format!("{text} is no local file: use file:///path"))
            }
            other => Err(format!("{other} is not spoken: use http, https, file or a path")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{url}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}
