//! The numbers that layouts have in a segment.
//!
//! Promises: a segment defines each layout before its first use and once; an unchanged layout
//! costs one lookup by pointer. Layouts outlive the segment, with their encoded definition, while
//! they or most others are in use: a definition is encoded once and copied into each segment.
//! Equal layouts read back from several segments are one `Arc`.

use super::definition::{Shape, append_series, append_shape, series_bytes};
use super::format::{Cursor, Kind, Malformed, append_record};
use crate::model::Layout;
use bytes::Bytes;
use hashbrown::HashMap;
use std::sync::Arc;

/// Unused layouts are forgotten once they are more than one in so many.
const UNUSED_SHARE: usize = 8;

#[derive(Debug, Default)]
pub(super) struct LayoutTable {
    shapes: Vec<KnownShape>,
    shape_by_bytes: HashMap<Bytes, usize>,
    layouts: Vec<KnownLayout>,
    by_address: HashMap<usize, usize>,
    by_content: HashMap<(usize, Bytes), usize>,
    /// Shapes and layouts by their number in the segment.
    shape_numbers: Vec<usize>,
    layout_numbers: Vec<usize>,
}

#[derive(Debug)]
struct KnownShape {
    bytes: Bytes,
    shape: Shape,
    number: Option<u32>,
}

#[derive(Debug)]
struct KnownLayout {
    layout: Arc<Layout>,
    shape: usize,
    series: Bytes,
    number: Option<u32>,
}

impl LayoutTable {
    /// Begins a segment: nothing has a number. What the segment before did not use is forgotten
    /// once it is worth putting the rest together anew: series that are written every ten seconds
    /// are not in every segment.
    pub(super) fn begin_segment(&mut self) {
        let unused = self.layouts.iter().filter(|known| known.number.is_none()).count();
        if unused * UNUSED_SHARE > self.layouts.len() {
            self.forget_unused();
        }
        self.shapes.iter_mut().for_each(|known| known.number = None);
        self.layouts.iter_mut().for_each(|known| known.number = None);
        self.shape_numbers.clear();
        self.layout_numbers.clear();
    }

    fn forget_unused(&mut self) {
        let before = std::mem::take(self);
        for known in before.layouts.into_iter().filter(|known| known.number.is_some()) {
            let KnownShape { bytes, shape, .. } = &before.shapes[known.shape];
            let shape = self
                .find_shape(bytes)
                .unwrap_or_else(|| self.add_shape(bytes.clone(), shape.clone()));
            self.add_layout(known.layout, shape, known.series);
        }
    }

    /// The layout's number in this segment. Definitions that this takes are appended as records.
    pub(super) fn number(&mut self, layout: &Arc<Layout>, out: &mut Vec<u8>, seed: u32) -> u32 {
        let index = match self.by_address.get(&address(layout)) {
            Some(index) => *index,
            None => self.learn(layout),
        };
        match self.layouts[index].number {
            Some(number) => number,
            None => self.define(index, out, seed),
        }
    }

    /// An upper bound of the bytes that defining `layout` takes, 0 where it is known.
    pub(super) fn definition_bytes(&self, layout: &Arc<Layout>) -> usize {
        if self.by_address.contains_key(&address(layout)) { 0 } else { series_bytes(layout) }
    }

    /// The layout of a number that has been defined in this segment.
    pub(super) fn get(&self, number: u32) -> Option<&Arc<Layout>> {
        let index = *self.layout_numbers.get(number as usize)?;
        Some(&self.layouts[index].layout)
    }

    /// Takes the body of a shape record.
    pub(super) fn read_shape(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(body);
        let number = next_number(&mut cursor, self.shape_numbers.len())?;
        let shape = match self.find_shape(cursor.rest()) {
            Some(shape) => shape,
            None => {
                self.add_shape(Bytes::copy_from_slice(cursor.rest()), Shape::read(cursor.rest())?)
            }
        };
        self.shapes[shape].number = Some(number);
        self.shape_numbers.push(shape);
        Ok(())
    }

    /// Takes the body of a layout record.
    pub(super) fn read_layout(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(body);
        let number = next_number(&mut cursor, self.layout_numbers.len())?;
        let shape = self.shape_numbers.get(cursor.u32()? as usize);
        let shape = *shape.ok_or(Malformed("the layout's shape is not defined"))?;
        let series = Bytes::copy_from_slice(cursor.rest());
        let known = self.by_content.get(&(shape, series.clone())).copied();
        let index = known.map_or_else(|| self.read_series(shape, series), Ok)?;
        self.layouts[index].number = Some(number);
        self.layout_numbers.push(index);
        Ok(())
    }

    fn read_series(&mut self, shape: usize, series: Bytes) -> Result<usize, Malformed> {
        let layout = self.shapes[shape].shape.layout(&series)?;
        Ok(self.add_layout(Arc::new(layout), shape, series))
    }

    /// Finds a layout at an address not seen before by its content. The newest `Arc` of equal
    /// ones is kept: it is the one that will be used again.
    fn learn(&mut self, layout: &Arc<Layout>) -> usize {
        let (mut bytes, mut series) = (Vec::new(), Vec::with_capacity(series_bytes(layout)));
        append_shape(&mut bytes, layout);
        append_series(&mut series, layout);
        series.shrink_to_fit();
        let known = self.find_shape(&bytes);
        let shape = known.unwrap_or_else(|| self.add_shape(bytes.into(), Shape::of(layout)));
        let key = (shape, Bytes::from(series));
        let Some(index) = self.by_content.get(&key).copied() else {
            return self.add_layout(layout.clone(), shape, key.1);
        };
        let old = std::mem::replace(&mut self.layouts[index].layout, layout.clone());
        self.by_address.remove(&address(&old));
        self.by_address.insert(address(layout), index);
        index
    }

    fn define(&mut self, index: usize, out: &mut Vec<u8>, seed: u32) -> u32 {
        let shape = self.define_shape(self.layouts[index].shape, out, seed);
        let number = self.layout_numbers.len() as u32;
        append_record(out, seed, Kind::Layout, |out| {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&shape.to_le_bytes());
            out.extend_from_slice(&self.layouts[index].series);
        });
        self.layouts[index].number = Some(number);
        self.layout_numbers.push(index);
        number
    }

    fn define_shape(&mut self, shape: usize, out: &mut Vec<u8>, seed: u32) -> u32 {
        if let Some(number) = self.shapes[shape].number {
            return number;
        }
        let number = self.shape_numbers.len() as u32;
        append_record(out, seed, Kind::Shape, |out| {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&self.shapes[shape].bytes);
        });
        self.shapes[shape].number = Some(number);
        self.shape_numbers.push(shape);
        number
    }

    fn find_shape(&self, bytes: &[u8]) -> Option<usize> {
        self.shape_by_bytes.get(bytes).copied()
    }

    fn add_shape(&mut self, bytes: Bytes, shape: Shape) -> usize {
        let index = self.shapes.len();
        self.shape_by_bytes.insert(bytes.clone(), index);
        self.shapes.push(KnownShape { bytes, shape, number: None });
        index
    }

    fn add_layout(&mut self, layout: Arc<Layout>, shape: usize, series: Bytes) -> usize {
        let index = self.layouts.len();
        self.by_address.insert(address(&layout), index);
        self.by_content.insert((shape, series.clone()), index);
        self.layouts.push(KnownLayout { layout, shape, series, number: None });
        index
    }
}

/// Unique while the table holds the layout.
fn address(layout: &Arc<Layout>) -> usize {
    Arc::as_ptr(layout).addr()
}

fn next_number(cursor: &mut Cursor<'_>, expected: usize) -> Result<u32, Malformed> {
    let number = cursor.u32()?;
    if number as usize == expected { Ok(number) } else { Err(Malformed("a definition is missing")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, FieldType, Series};

    fn layout(table: &str) -> Arc<Layout> {
        let column = Column { name: "power".into(), field_type: FieldType::Int32 };
        let series = Series { identity: vec!["n1".into()], attributes: vec![] };
        let (table, tags) = (Arc::from(table), vec!["node".into()]);
        let layout = Layout::new(table, tags, vec![], vec![column], vec![series]);
        Arc::new(layout.unwrap())
    }

    /// Numbers begin anew in each segment, with the definitions before them.
    #[test]
    fn layouts_outlive_a_segment_that_used_them() {
        let (used, other) = (layout("gpu"), layout("node"));
        let mut table = LayoutTable::default();
        let numbers = |table: &mut LayoutTable, layouts: &[&Arc<Layout>]| {
            let mut defined = Vec::new();
            let number = |layout: &&Arc<Layout>| table.number(layout, &mut defined, 0);
            let numbers: Vec<u32> = layouts.iter().map(number).collect();
            (numbers, defined)
        };
        let (first, of_both) = numbers(&mut table, &[&used, &other]);
        assert_eq!(first, [0, 1]);
        assert_eq!(numbers(&mut table, &[&other, &used]), (vec![1, 0], vec![]));
        table.begin_segment();
        assert_eq!(table.get(0), None);
        let known =
            |table: &LayoutTable| [&used, &other].map(|layout| table.definition_bytes(layout) == 0);
        assert_eq!(known(&table), [true, true]);
        assert_eq!(numbers(&mut table, &[&used, &other]), (vec![0, 1], of_both.clone()));
        table.begin_segment();
        let (second, of_one) = numbers(&mut table, &[&used]);
        assert_eq!(second, [0]);
        assert!(of_one.len() < of_both.len());
        table.begin_segment();
        assert_eq!(known(&table), [true, false]);
        assert_eq!((table.layouts.len(), table.shapes.len()), (1, 1));
        assert_eq!(numbers(&mut table, &[&used, &other]), (vec![0, 1], of_both));
    }
}
