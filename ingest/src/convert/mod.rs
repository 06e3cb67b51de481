//! Blocks as they were sent become blocks as the store takes them.
//!
//! Promises: a clean block under an unchanged layout passes through without a copy; in any other
//! one each value is judged by itself: what does not fit becomes NULL and is told, its row is kept.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use hashbrown::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use warpline_storage::model::{
    Block, BlockBuilder, BlockError, Column, FieldType, Layout, Timestamp, Value, ValueRefusal,
};

/// How blocks sent under one layout become blocks under the layout the store admitted.
#[derive(Debug)]
pub struct Plan {
    /// What blocks are parsed under: the admitted layout itself where nothing differs.
    parsed: Arc<Layout>,
    admitted: Arc<Layout>,
    /// The sent column of each admitted one; empty where blocks pass through.
    sources: Vec<usize>,
}

/// What one block lost on its way.
#[derive(Debug, Default)]
pub struct Losses {
    /// Rows with a time outside the permitted range, with one such time.
    pub rows: u64,
    pub time: Timestamp,
    pub values: Vec<ValueLoss>,
}

/// Values of one column that became NULL.
#[derive(Debug)]
pub struct ValueLoss {
    /// The column of the sent layout.
    pub column: usize,
    pub count: u64,
    pub example: ValueRefusal,
}

impl Plan {
    /// `None` where `admitted` is not `sent` with columns left out or retyped: the store's fault.
    pub fn new(sent: Layout, admitted: Arc<Layout>) -> Option<Self> {
        if sent.series().len() != admitted.series().len() {
            return None;
        }
        if sent.columns() == admitted.columns() {
            return Some(Self { parsed: admitted.clone(), admitted, sources: Vec::new() });
        }
        let sources = sources(&sent, &admitted)?;
        Some(Self { parsed: Arc::new(sent), admitted, sources })
    }

    /// The layout that blocks are sent under.
    pub fn sent(&self) -> &Layout {
        &self.parsed
    }

    fn passes_through(&self) -> bool {
        Arc::ptr_eq(&self.parsed, &self.admitted)
    }

    /// The block to store, or `None` where no row is left, with what was lost.
    pub fn apply(
        &self,
        bytes: Bytes,
        times: &RangeInclusive<Timestamp>,
    ) -> Result<(Option<Block>, Losses), BlockError> {
        let block = Block::parse(self.parsed.clone(), bytes)?;
        let clean = self.passes_through()
            && times_within(&block, times)
            && block.out_of_digits().is_empty();
        if clean {
            let rows = block.rows();
            return Ok(((rows > 0).then_some(block), Losses::default()));
        }
        self.rebuild(&block, times)
    }

    fn rebuild(
        &self,
        block: &Block,
        times: &RangeInclusive<Timestamp>,
    ) -> Result<(Option<Block>, Losses), BlockError> {
        let mut losses = Losses::default();
        let mut builder = BlockBuilder::new(self.admitted.clone());
        for row in 0..block.rows() {
            let time = block.time(row);
            if times.contains(&time) {
                builder.row(block.series_index(row), time);
                self.copy_row(block, row, &mut builder, &mut losses);
            } else {
                losses.rows += 1;
                losses.time = time;
            }
        }
        if builder.is_empty() {
            return Ok((None, losses));
        }
        let block = Block::parse(self.admitted.clone(), builder.finish())?;
        Ok((Some(block), losses))
    }

    fn copy_row(&self, block: &Block, row: usize, into: &mut BlockBuilder, losses: &mut Losses) {
        for (column, target) in self.admitted.columns().iter().enumerate() {
            let source = self.sources.get(column).copied().unwrap_or(column);
            if !block.is_present(source, row) {
                continue;
            }
            let sent_type = self.parsed.columns()[source].field_type;
            match convert(sent_type, block.raw(source, row), target.field_type) {
                Ok(raw) => into.set_stored(column, raw),
                Err(example) => losses.add(source, example),
            }
        }
    }
}

impl Losses {
    fn add(&mut self, column: usize, example: ValueRefusal) {
        match self.values.iter_mut().find(|loss| loss.column == column) {
            Some(loss) => loss.count += 1,
            None => self.values.push(ValueLoss { column, count: 1, example }),
        }
    }
}

fn times_within(block: &Block, times: &RangeInclusive<Timestamp>) -> bool {
    // A tick has one time; asking for the first row's alone would fail on no rows.
    let rows = if block.is_tick() { block.rows().min(1) } else { block.rows() };
    (0..rows).all(|row| times.contains(&block.time(row)))
}

/// Where each admitted column stands in the sent layout. Names differ by more than case.
fn sources(sent: &Layout, admitted: &Layout) -> Option<Vec<usize>> {
    let name = |column: &Column| column.name.to_ascii_lowercase();
    let positions: HashMap<_, _> =
        sent.columns().iter().enumerate().map(|(at, column)| (name(column), at)).collect();
    admitted.columns().iter().map(|column| positions.get(&name(column)).copied()).collect()
}

/// A stored value of one type as another type stores it.
///
/// Between integers and scaled integers no double is involved: digits that the target lacks are
/// rounded half away from zero, as [`FieldType::store`] does.
pub fn convert(from: FieldType, raw: i64, to: FieldType) -> Result<i64, ValueRefusal> {
    let scaled = matches!(from, FieldType::Decimal { .. });
    if scaled && !from.holds(raw) {
        return Err(ValueRefusal::OutOfRange { value: as_double(from, raw), field_type: from });
    }
    if from == to {
        return Ok(raw);
    }
    match (from, to) {
        (FieldType::Float64, _) => {
            Ok(to.store(Value::Float(f64::from_bits(raw.cast_unsigned())))?.raw)
        }
        (_, FieldType::Float64) => Ok(to.store(Value::Float(as_double(from, raw)))?.raw),
        _ => rescale(from, raw, to),
    }
}

fn rescale(from: FieldType, raw: i64, to: FieldType) -> Result<i64, ValueRefusal> {
    let out_of_range = || ValueRefusal::OutOfRange { value: as_double(from, raw), field_type: to };
    let (have, want) = (u32::from(from.decimals()), u32::from(to.decimals()));
    let rescaled = if want >= have {
        raw.checked_mul(10_i64.pow(want - have)).ok_or_else(out_of_range)?
    } else {
        let divisor = 10_i64.pow(have - want);
        let rest = raw % divisor;
        if rest != 0 && !matches!(to, FieldType::Decimal { .. }) {
            return Err(ValueRefusal::Fraction { value: as_double(from, raw), field_type: to });
        }
        let away = i64::from(rest.abs() * 2 >= divisor) * rest.signum();
        raw / divisor + away
    };
    if to.holds(rescaled) { Ok(rescaled) } else { Err(out_of_range()) }
}

fn as_double(from: FieldType, raw: i64) -> f64 {
    match from {
        FieldType::Float64 => f64::from_bits(raw.cast_unsigned()),
        _ => raw as f64 / 10_f64.powi(i32::from(from.decimals())),
    }
}
