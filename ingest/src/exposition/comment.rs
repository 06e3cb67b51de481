//! Lines that begin with '#': HELP, TYPE, UNIT, and remarks for people.

use super::scan::Scan;
use super::{Entry, Reason};

/// What an exporter says its metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    StateSet,
    Info,
    Unknown,
}

impl MetricType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::StateSet => "stateset",
            Self::Info => "info",
            Self::Unknown => "unknown",
        }
    }

    fn named(word: &str) -> Option<Self> {
        let all = [
            Self::Counter,
            Self::Gauge,
            Self::Histogram,
            Self::GaugeHistogram,
            Self::Summary,
            Self::StateSet,
            Self::Info,
            Self::Unknown,
        ];
        let untyped = (word == "untyped").then_some(Self::Unknown);
        all.into_iter().find(|one| one.as_str() == word).or(untyped)
    }
}

/// Reads a line after its '#'.
pub(super) fn parse(remark: &str) -> Result<Option<Entry<'_>>, Reason> {
    let mut scan = Scan::new(remark);
    scan.skip_space();
    let keyword = scan.word();
    if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
        return Ok(None);
    }
    scan.skip_space();
    let metric = if scan.peek() == Some(b'"') { scan.quoted()? } else { scan.word() };
    scan.skip_space();
    let text = scan.rest();
    if metric.is_empty() {
        return Err(Reason::Remark);
    }
    Ok(Some(match keyword {
        "HELP" => Entry::Help { metric, text },
        "UNIT" => Entry::Unit { metric, unit: text.trim_end() },
        _ => {
            let metric_type = MetricType::named(text.trim_end()).ok_or(Reason::UnknownType)?;
            Entry::Type { metric, metric_type }
        }
    }))
}
