//! Table `gpu`: one wide row per GPU and time.

use std::sync::Arc;

use bytes::Bytes;
use warpline_storage::model::{BlockBuilder, Layout, LayoutError, Series, Timestamp};

use super::Report;
use super::sheet::Sheet;
use crate::dictionary::is_blank;
use crate::exposition::Sample;
use crate::naming::{
    AboutGpu, Attributes, Columns, GPU_IDENTITY, GPU_TABLE, GpuCell, GpuNames, carry,
};

#[derive(Debug, Default)]
pub(super) struct GpuTable {
    // What was ever seen.
    names: GpuNames,
    columns: Columns,
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
        let cell = self.names.register(about, &mut self.columns);
        self.present.resize(self.names.gpus(), Vec::new());
        self.used.resize(self.columns.all().len(), false);
        cell
    }

    pub(super) fn put(
        &mut self,
        cell: GpuCell,
        sample: &Sample<'_>,
        time: Timestamp,
        report: &mut Report,
    ) {
        if let Err(why) = carry(&mut self.present[cell.gpu as usize], cell.attributes) {
            report.refused.add(|| format!("line {}: {why}", sample.line));
            return;
        }
        let row = self.sheet.row(cell.gpu, time);
        self.used[cell.column as usize] = true;
        let column = &self.columns.all()[cell.column as usize];
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
                    report.refused.add(|| format!("table {GPU_TABLE} of this scrape: {error}"));
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
        let merged: Vec<Attributes> =
            self.present.iter().map(|carried| self.names.merge(carried)).collect();
        let names = attribute_names(&merged);
        let mut series = vec![None; self.names.gpus()];
        let mut listed = Vec::new();
        for (gpu, carried) in self.present.iter().enumerate().filter(|(_, c)| !c.is_empty()) {
            series[gpu] = Some((listed.len() as u32, carried.clone()));
            let own = |name: &Arc<str>| merged[gpu].iter().find(|(known, _)| known == name);
            let value = |name| own(name).map_or_else(|| "".into(), |(_, value)| value.clone());
            listed.push(Series {
                identity: self.names.identity(gpu as u32),
                attributes: names.iter().map(value).collect(),
            });
        }
        let mut columns = vec![None; self.columns.all().len()];
        let mut used = Vec::new();
        for (number, column) in self.columns.all().iter().enumerate() {
            if self.used[number] {
                columns[number] = Some(used.len());
                used.push(column.clone());
            }
        }
        let identity = GPU_IDENTITY.map(Into::into).to_vec();
        let layout = Layout::new(GPU_TABLE, identity, names, used, listed)?;
        Ok(Made { builder: BlockBuilder::new(Arc::new(layout)), series, columns })
    }

    fn clear(&mut self) {
        self.present.iter_mut().for_each(Vec::clear);
        self.used.fill(false);
    }
}

/// The names of all attributes, in the order they are first met.
fn attribute_names(of: &[Attributes]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for (name, _) in of.iter().flatten() {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}
