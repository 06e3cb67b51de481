//! Buffers become arrays, checked by Arrow: offsets within their text, text in UTF-8, keys within
//! their dictionary.
//!
//! Arrow's checks take it that no buffer is longer than its array: each is cut to what its rows
//! need before Arrow sees it, or refused where it is shorter.

use super::{FlightError, malformed};
use arrow::array::{Array, ArrayData, ArrayRef, make_array, new_empty_array};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

/// An array of a type that has no children. `buffers` are those of the format: validity first.
pub(super) fn plain(
    data_type: &DataType,
    rows: usize,
    has_nulls: bool,
    buffers: &[Buffer],
) -> Result<ArrayRef, FlightError> {
    if rows == 0 {
        return Ok(new_empty_array(data_type));
    }
    build(data_type, rows, has_nulls, buffers, None)
}

/// Text by its place in `text`.
pub(super) fn coded(
    key: &DataType,
    text: &dyn Array,
    rows: usize,
    has_nulls: bool,
    buffers: &[Buffer],
) -> Result<ArrayRef, FlightError> {
    let data_type = DataType::Dictionary(Box::new(key.clone()), Box::new(text.data_type().clone()));
    if rows == 0 {
        return Ok(new_empty_array(&data_type));
    }
    build(&data_type, rows, has_nulls, buffers, Some(text.to_data()))
}

fn build(
    data_type: &DataType,
    rows: usize,
    has_nulls: bool,
    buffers: &[Buffer],
    child: Option<ArrayData>,
) -> Result<ArrayRef, FlightError> {
    let [validity, values, more @ ..] = buffers else {
        return Err(malformed("a column has too few buffers"));
    };
    let validity = has_nulls.then(|| cut(validity, rows.div_ceil(8))).transpose()?;
    let mut values = vec![cut(values, first_bytes(data_type, rows))?];
    values.extend_from_slice(more);
    let mut array = ArrayData::builder(data_type.clone())
        .len(rows)
        .buffers(values)
        .null_bit_buffer(validity)
        .align_buffers(true);
    if let Some(child) = child {
        array = array.add_child_data(child);
    }
    let array = array.build().map_err(|error| malformed(error.to_string()))?;
    Ok(make_array(array))
}

/// Bytes of the buffer after validity: values, offsets, views or keys.
pub(super) fn first_bytes(data_type: &DataType, rows: usize) -> usize {
    match data_type {
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => (rows + 1) * 4,
        DataType::LargeUtf8 => (rows + 1) * 8,
        DataType::Utf8View => rows * 16,
        DataType::Dictionary(key, _) => rows * key.primitive_width().unwrap_or(0),
        other => rows * other.primitive_width().unwrap_or(0),
    }
}

fn cut(buffer: &Buffer, bytes: usize) -> Result<Buffer, FlightError> {
    if buffer.len() < bytes {
        let got = buffer.len();
        return Err(malformed(format!("a buffer has {got} bytes where its rows need {bytes}")));
    }
    Ok(buffer.slice_with_length(0, bytes))
}
