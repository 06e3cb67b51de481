//! Table `gpu`: one wide row per GPU and time.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use warpline_storage::model::{BlockBuilder, Column, Layout, LayoutError, Series, Timestamp};

use super::Report;
use super::place::{AboutGpu, Attributes};
use super::sheet::Sheet;
use crate::dictionary::is_blank;
use crate::exposition::Sample;

const TABLE: &str = "gpu";
const IDENTITY: [&str; 3] = ["cluster", "node", "gpu"];

/// What one series says: a column of one GPU, and the attributes it carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct GpuCell {
    gpu: u32,
    column: u32,
    attributes: u32,
}

#[derive(Debug, Default)]
pub(super) struct GpuTable {
    // What was ever seen; a place in the vector is the number by which cells name it.
    gpus: Vec<[Arc<str>; 3]>,
    gpu_numbers: HashMap<[Arc<str>; 3], u32>,
    columns: Vec<Column>,
    column_numbers: HashMap<Arc<str>, u32>,
    attributes: Vec<Attributes>,
    attribute_numbers: HashMap<Attributes, u32>,
    // What the present scrape has.
    sheet: Sheet,
    /// GPUs, and for each the numbers of its attributes in the order they came.
    present: Vec<Vec<u32>>,
    used: Vec<bool>,
    made: Option<Made>,
}

/// The last layout with what it was made from.
#[derive(Debug)]
struct Made {
    builder: BlockBuilder,
    /// By number of the GPU: its index in the layout and its attributes.
    series: Vec<Option<(u32, Vec<u32>)>>,
    /// By number of the column: its index in the layout.
    columns: Vec<Option<usize>>,
}

impl GpuTable {
    pub(super) fn register(&mut self, about: AboutGpu) -> GpuCell {
        let gpu = number(&mut self.gpus, &mut self.gpu_numbers, about.identity);
        let next = self.columns.len() as u32;
        let column = *self.column_numbers.entry(about.column.name.clone()).or_insert(next);
        if column == next {
            self.columns.push(about.column);
        }
        let attributes =
            number(&mut self.attributes, &mut self.attribute_numbers, about.attributes);
        self.present.resize(self.gpus.len(), Vec::new());
        self.used.resize(self.columns.len(), false);
        GpuCell { gpu, column, attributes }
    }

    pub(super) fn put(
        &mut self,
        cell: GpuCell,
        sample: &Sample<'_>,
        time: Timestamp,
        report: &mut Report,
    ) {
        let carried = &mut self.present[cell.gpu as usize];
        if !carried.contains(&cell.attributes) {
            carried.push(cell.attributes);
        }
        let row = self.sheet.row(cell.gpu, time);
        self.used[cell.column as usize] = true;
        let column = &self.columns[cell.column as usize];
        if is_blank(sample.value, column.field_type) {
            report.blank += 1;
            return;
        }
        match column.field_type.store(sample.value) {
            Ok(stored) => {
                report.rounded += usize::from(stored.rounded);
                self.sheet.put(row, cell.column, stored.raw);
            }
            Err(refusal) => {
                let name = &column.name;
                report.refused.add(|| format!("line {}: {name}: {refusal}", sample.line));
            }
        }
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
                    report.refused.add(|| format!("table {TABLE} of this scrape: {error}"));
                    self.clear();
                    self.sheet = Sheet::default();
                    return None;
                }
            }
        }
        let made = self.made.as_mut().expect("made above");
        let (all, columns) = (&made.series, &made.columns);
        let index = |gpu: u32| all[gpu as usize].as_ref().map_or(0, |(index, _)| *index);
        let column = |column: u32| columns[column as usize].unwrap_or(0);
        let bytes = self.sheet.encode(&mut made.builder, index, column, report);
        let layout = made.builder.layout().clone();
        self.clear();
        Some((layout, bytes))
    }

    /// Whether a layout has every GPU of this scrape, as it is now, and every column.
    fn covered_by(&self, made: &Made) -> bool {
        let gpu = |(gpu, carried): (usize, &Vec<u32>)| {
            carried.is_empty()
                || made
                    .series
                    .get(gpu)
                    .and_then(Option::as_ref)
                    .is_some_and(|(_, was)| was == carried)
        };
        let column = |(column, used): (usize, &bool)| {
            !used || made.columns.get(column).is_some_and(Option::is_some)
        };
        self.present.iter().enumerate().all(gpu) && self.used.iter().enumerate().all(column)
    }

    /// A layout of what this scrape has.
    fn make(&self) -> Result<Made, LayoutError> {
        let merged: Vec<HashMap<&Arc<str>, &Arc<str>>> =
            self.present.iter().map(|carried| self.merge(carried)).collect();
        let names = self.attribute_names();
        let mut series = vec![None; self.gpus.len()];
        let mut listed = Vec::new();
        for (gpu, carried) in self.present.iter().enumerate().filter(|(_, c)| !c.is_empty()) {
            series[gpu] = Some((listed.len() as u32, carried.clone()));
            let value = |name| merged[gpu].get(name).map_or_else(|| "".into(), |v| Arc::clone(v));
            listed.push(Series {
                identity: self.gpus[gpu].to_vec(),
                attributes: names.iter().map(value).collect(),
            });
        }
        let mut columns = vec![None; self.columns.len()];
        let mut used = Vec::new();
        for (number, column) in self.columns.iter().enumerate().filter(|(n, _)| self.used[*n]) {
            columns[number] = Some(used.len());
            used.push(column.clone());
        }
        let identity = IDENTITY.map(Into::into).to_vec();
        let layout = Layout::new(TABLE, identity, names, used, listed)?;
        Ok(Made { builder: BlockBuilder::new(Arc::new(layout)), series, columns })
    }

    /// One GPU's attributes: of two series that differ in a label, the first stays.
    fn merge(&self, carried: &[u32]) -> HashMap<&Arc<str>, &Arc<str>> {
        let mut merged = HashMap::new();
        for (name, value) in carried.iter().flat_map(|set| &self.attributes[*set as usize]) {
            merged.entry(name).or_insert(value);
        }
        merged
    }

    fn attribute_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        let sets = self.present.iter().flatten().map(|set| &self.attributes[*set as usize]);
        for (name, _) in sets.flatten() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    fn clear(&mut self) {
        self.present.iter_mut().for_each(Vec::clear);
        self.used.fill(false);
    }
}

/// The number of a thing, given when it is first seen.
fn number<T: Clone + Eq + std::hash::Hash>(
    all: &mut Vec<T>,
    numbers: &mut HashMap<T, u32>,
    thing: T,
) -> u32 {
    let next = all.len() as u32;
    let number = *numbers.entry(thing.clone()).or_insert(next);
    if number == next {
        all.push(thing);
    }
    number
}
