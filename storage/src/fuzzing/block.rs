//! A block's bytes under layouts that it may or may not fit.

use super::Verdict;
use crate::model::{Block, BlockBuilder, Column, FieldType, Layout, Series};
use bytes::Bytes;
use std::sync::Arc;

/// The first byte chooses a layout, the others are a block of it. A block that is taken is the same
/// after its rows were read and written again.
pub fn block(input: &[u8]) -> Verdict {
    let (which, bytes) = input.split_first().unwrap_or((&0, &[]));
    let parsed = Block::parse(layout(*which), Bytes::copy_from_slice(bytes));
    let block = parsed.map_err(|error| error.to_string())?;
    for (column, row) in block.out_of_digits() {
        let field_type = block.layout().columns()[column].field_type;
        assert!(block.is_present(column, row) && !field_type.holds(block.raw(column, row)));
    }
    let again = Block::parse(block.layout().clone(), rewritten(&block));
    let again = again.expect("a block of a builder is sound");
    assert_same(&block, &again);
    Ok(())
}

fn rewritten(block: &Block) -> Bytes {
    let mut builder = BlockBuilder::new(block.layout().clone());
    for row in 0..block.rows() {
        builder.row(block.series_index(row), block.time(row));
        for column in 0..block.layout().columns().len() {
            if block.is_present(column, row) {
                builder.set_stored(column, block.raw(column, row));
            }
        }
    }
    builder.finish()
}

fn assert_same(one: &Block, other: &Block) {
    assert_eq!(one.rows(), other.rows());
    for row in 0..one.rows() {
        assert_eq!(one.series_index(row), other.series_index(row));
        assert_eq!(one.time(row), other.time(row));
        for column in 0..one.layout().columns().len() {
            let value =
                |block: &Block| block.is_present(column, row).then(|| block.raw(column, row));
            assert_eq!(value(one), value(other));
        }
    }
}

/// All widths with and without digits, one column alone, and none.
pub(super) fn layout(which: u8) -> Arc<Layout> {
    let types = [
        FieldType::Int8,
        FieldType::Decimal { digits: 9, decimals: 3 },
        FieldType::Int16,
        FieldType::Float64,
        FieldType::Decimal { digits: 12, decimals: 6 },
        FieldType::Int32,
        FieldType::Int64,
        FieldType::Decimal { digits: 2, decimals: 0 },
        FieldType::Int8,
    ];
    let columns = [types.len(), 1, 0][usize::from(which) % 3];
    let column = |(at, field_type)| Column { name: format!("field_{at}").into(), field_type };
    let columns = types.into_iter().take(columns).enumerate().map(column).collect();
    let series =
        |gpu: u8| Series { identity: vec![gpu.to_string().into()], attributes: Vec::new() };
    let layout =
        Layout::new("gpu", vec!["gpu".into()], Vec::new(), columns, (0..3).map(series).collect());
    Arc::new(layout.expect("a sound layout"))
}
