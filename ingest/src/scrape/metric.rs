//! Table `metric`: one narrow row per series and time, for all that no wide table knows.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use warpline_storage::model::{BlockBuilder, Layout, LayoutError, Series, Timestamp};

use super::Report;
use super::sheet::Sheet;
use crate::exposition::{MetricType, Sample};
use crate::naming::{
    AboutMetric, METRIC_ATTRIBUTES, METRIC_IDENTITY, METRIC_TABLE, family_of, is_dcgm,
    metric_column, number_of,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct MetricCell {
    series: u32,
    /// Whether the number may be one of DCGM's blanks.
    dcgm: bool,
}

/// The family that TYPE and UNIT lines speak of: its samples follow them.
#[derive(Debug, Default)]
pub(super) struct Family<'a> {
    metric: &'a str,
    metric_type: Option<MetricType>,
    unit: &'a str,
}

impl<'a> Family<'a> {
    pub(super) fn set_type(&mut self, metric: &'a str, metric_type: MetricType) {
        self.turn_to(metric);
        self.metric_type = Some(metric_type);
    }

    pub(super) fn set_unit(&mut self, metric: &'a str, unit: &'a str) {
        self.turn_to(metric);
        self.unit = unit;
    }

    fn turn_to(&mut self, metric: &'a str) {
        if self.metric != metric {
            *self = Self { metric, ..Self::default() };
        }
    }

    /// Kind and unit of a sample's series; empty where unknown.
    fn about(&self, name: &str) -> [&'a str; 2] {
        if self.metric.is_empty() || !family_of(name).any(|family| family == self.metric) {
            return ["", ""];
        }
        let known = self.metric_type.filter(|one| *one != MetricType::Unknown);
        [known.map_or("", MetricType::as_str), self.unit]
    }
}

#[derive(Debug, Default)]
pub(super) struct MetricTable {
    series: Vec<Series>,
    by_identity: HashMap<Vec<Arc<str>>, u32>,
    sheet: Sheet,
    /// By number of the series: whether this scrape has it.
    present: Vec<bool>,
    made: Option<Made>,
}

#[derive(Debug)]
struct Made {
    builder: BlockBuilder,
    /// By number of the series: its index in the layout.
    indexes: Vec<Option<u32>>,
}

impl MetricTable {
    pub(super) fn register(
        &mut self,
        about: AboutMetric,
        name: &str,
        family: &Family<'_>,
    ) -> MetricCell {
        let identity = vec![about.cluster, about.node, name.into(), about.labels];
        let attributes = family.about(name).map(Into::into).to_vec();
        let next = self.series.len() as u32;
        let series = *self.by_identity.entry(identity.clone()).or_insert(next);
        if series == next {
            self.series.push(Series { identity, attributes });
            self.present.push(false);
        }
        MetricCell { series, dcgm: is_dcgm(name) }
    }

    pub(super) fn put(
        &mut self,
        cell: MetricCell,
        sample: &Sample<'_>,
        time: Timestamp,
        report: &mut Report,
    ) {
        let Some(number) = number_of(sample.value, cell.dcgm) else {
            report.blank += 1;
            return;
        };
        self.present[cell.series as usize] = true;
        let row = self.sheet.row(cell.series, time);
        self.sheet.put(row, 0, number.to_bits().cast_signed());
    }

    /// The block of this scrape's rows, if it had any.
    pub(super) fn finish(&mut self, report: &mut Report) -> Option<(Arc<Layout>, Bytes)> {
        if self.sheet.is_empty() {
            return None;
        }
        if !self.made.as_ref().is_some_and(|made| self.covered_by(made)) {
            match self.make() {
                Ok(made) => self.made = Some(made),
                Err(error) => {
                    report.refused.add(|| format!("table {METRIC_TABLE} of this scrape: {error}"));
                    self.present.fill(false);
                    self.sheet = Sheet::default();
                    return None;
                }
            }
        }
        let made = self.made.as_mut().expect("made above");
        let indexes = &made.indexes;
        let index = |series: u32| indexes[series as usize].unwrap_or(0);
        let bytes = self.sheet.encode(&mut made.builder, index, |_| 0, report);
        self.present.fill(false);
        Some((made.builder.layout().clone(), bytes))
    }

    fn covered_by(&self, made: &Made) -> bool {
        let has = |series: usize| made.indexes.get(series).is_some_and(Option::is_some);
        self.present.iter().enumerate().all(|(series, present)| !present || has(series))
    }

    fn make(&self) -> Result<Made, LayoutError> {
        let mut indexes = vec![None; self.series.len()];
        let mut listed = Vec::new();
        for (number, series) in self.series.iter().enumerate().filter(|(n, _)| self.present[*n]) {
            indexes[number] = Some(listed.len() as u32);
            listed.push(series.clone());
        }
        let layout = Layout::new(
            METRIC_TABLE,
            METRIC_IDENTITY.map(Into::into).to_vec(),
            METRIC_ATTRIBUTES.map(Into::into).to_vec(),
            vec![metric_column()],
            listed,
        )?;
        Ok(Made { builder: BlockBuilder::new(Arc::new(layout)), indexes })
    }
}
