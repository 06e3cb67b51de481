//! One scrape of an exporter becomes blocks: a wide row per GPU, and a row per series of all else.
//!
//! What names and labels mean is [`crate::naming`]'s; `instance` is the exporter's address where
//! its samples have none.
//!
//! A series is looked at once: its text is the key under which the mapper remembers its place.
//! Layouts are remade only when a series or column is there that the last layout had not, or a
//! GPU's attributes changed.

mod gpu;
mod metric;
mod report;
mod sheet;

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use warpline_storage::model::{Layout, Timestamp};

use crate::dictionary::Dictionary;
use crate::exposition::{Entry, Format, Parser, Sample};
pub use crate::naming::Origin;
use crate::naming::{self, Found, GpuCell};
use gpu::GpuTable;
use metric::{Family, MetricCell, MetricTable};
pub use report::{Refusals, Report};

/// Samples of one scrape beyond this many are refused.
pub const MAX_SAMPLES: usize = 1 << 18;
/// Series texts that may be remembered beyond twice those of the last scrape.
const SPARE_PLACES: usize = 1_024;

/// What a scrape became.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// A block per table that has rows. A layout keeps its `Arc` from scrape to scrape.
    pub blocks: Vec<(Arc<Layout>, Bytes)>,
    pub report: Report,
}

/// Maps the scrapes of one target. It remembers series between scrapes, and no values.
#[derive(Debug)]
pub struct Mapper {
    dictionary: Arc<Dictionary>,
    origin: Origin,
    places: HashMap<Box<str>, Known>,
    scrape: u64,
    gpu: GpuTable,
    metric: MetricTable,
}

/// Where a series goes, once its names have numbers.
#[derive(Debug)]
enum Place {
    Gpu(GpuCell),
    Metric(MetricCell),
    Refused(String),
}

/// Where a series goes, and the last scrape that had it.
#[derive(Debug)]
struct Known {
    place: Place,
    scrape: u64,
}

impl Mapper {
    pub fn new(dictionary: Arc<Dictionary>, origin: Origin) -> Self {
        Self {
            dictionary,
            origin,
            places: HashMap::new(),
            scrape: 0,
            gpu: GpuTable::default(),
            metric: MetricTable::default(),
        }
    }

    /// Maps one answer of the target. Samples without a timestamp get `time`.
    pub fn map(&mut self, text: &[u8], format: Format, time: Timestamp) -> Mapped {
        self.scrape += 1;
        let mut report = Report::default();
        let mut family = Family::default();
        for entry in Parser::new(text, format) {
            match entry {
                Ok(Entry::Sample(_)) if report.samples == MAX_SAMPLES => {
                    report.refused.add(|| format!("more than {MAX_SAMPLES} samples in one scrape"));
                }
                Ok(Entry::Sample(sample)) => self.sample(&sample, &family, time, &mut report),
                Ok(Entry::Type { metric, metric_type }) => family.set_type(metric, metric_type),
                Ok(Entry::Unit { metric, unit }) => family.set_unit(metric, unit),
                Ok(Entry::Help { .. }) => {}
                Err(malformed) => report.refused.add(|| malformed.to_string()),
            }
        }
        let gpu = self.gpu.finish(&mut report);
        let metric = self.metric.finish(&mut report);
        self.forget(report.series);
        Mapped { blocks: gpu.into_iter().chain(metric).collect(), report }
    }

    fn sample(
        &mut self,
        sample: &Sample<'_>,
        family: &Family<'_>,
        time: Timestamp,
        report: &mut Report,
    ) {
        report.samples += 1;
        report.exemplars += usize::from(sample.exemplar);
        let time = sample.timestamp.unwrap_or(time);
        let scrape = self.scrape;
        if !self.places.contains_key(sample.series) {
            let place = self.find_place(sample, family);
            self.places.insert(sample.series.into(), Known { place, scrape: 0 });
        }
        let known = self.places.get_mut(sample.series).expect("inserted above");
        report.series += usize::from(known.scrape != scrape);
        known.scrape = scrape;
        match &known.place {
            Place::Gpu(cell) => self.gpu.put(*cell, sample, time, report),
            Place::Metric(cell) => self.metric.put(*cell, sample, time, report),
            Place::Refused(reason) => {
                report.refused.add(|| format!("line {}: {reason}", sample.line));
            }
        }
    }

    fn find_place(&mut self, sample: &Sample<'_>, family: &Family<'_>) -> Place {
        let labels = sample.labels.clone();
        match naming::find(&sample.metric, labels, &self.dictionary, &self.origin) {
            Ok(Found::Gpu(about)) => Place::Gpu(self.gpu.register(about)),
            Ok(Found::Metric(about)) => {
                Place::Metric(self.metric.register(about, &sample.metric, family))
            }
            Err(reason) => Place::Refused(reason),
        }
    }

    /// Starts over when most of what is remembered is no longer sent.
    fn forget(&mut self, series: usize) {
        if self.places.len() > 2 * series + SPARE_PLACES {
            self.places = HashMap::new();
            self.gpu = GpuTable::default();
            self.metric = MetricTable::default();
        }
    }
}

#[cfg(test)]
mod tests;
