//! Text of a column, however it lies there, and which rows have equal text.

use super::{FlightError, malformed};
use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, LargeStringArray, StringArray, StringViewArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use hashbrown::HashMap;
use warpline_storage::model::MAX_TAG_BYTES;

/// The code of rows without text.
const NONE: u32 = u32::MAX;
/// The code of all text that is longer than a tag may be: nobody needs to tell it apart.
const LONG: u32 = u32::MAX - 1;

/// Text by row.
#[derive(Debug)]
pub(super) enum Text<'a> {
    Utf8(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
    Coded { keys: Int64Array, text: Box<Self> },
}

/// The array with whole numbers as text.
pub(super) fn as_text(array: &ArrayRef) -> Result<ArrayRef, FlightError> {
    if array.data_type().is_integer() {
        return cast(array, &DataType::Utf8).map_err(|error| malformed(error.to_string()));
    }
    Ok(array.clone())
}

impl<'a> Text<'a> {
    /// `None` where the array has none.
    pub(super) fn of(array: &'a dyn Array) -> Option<Self> {
        match array.data_type() {
            DataType::Utf8 => Some(Self::Utf8(array.as_string())),
            DataType::LargeUtf8 => Some(Self::Large(array.as_string())),
            DataType::Utf8View => Some(Self::View(array.as_string_view())),
            DataType::Dictionary(..) => {
                let coded = array.as_any_dictionary();
                let keys = cast(coded.keys(), &DataType::Int64).ok()?;
                let text = Box::new(Self::of(coded.values().as_ref())?);
                Some(Self::Coded { keys: keys.as_primitive::<Int64Type>().clone(), text })
            }
            _ => None,
        }
    }

    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Utf8(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Self::View(array) => array.is_valid(row).then(|| array.value(row)),
            Self::Coded { keys, text } => text.get(Self::key(keys, row)?),
        }
    }

    fn key(keys: &Int64Array, row: usize) -> Option<usize> {
        keys.is_valid(row).then(|| usize::try_from(keys.value(row)).ok()).flatten()
    }

    /// Makes codes of pairs: of a row's code so far and its text. Rows that had equal codes and
    /// have equal text have equal codes again.
    pub(super) fn refine(&self, codes: &mut [u32]) {
        let mut pairs: HashMap<(u32, u32), u32> = HashMap::new();
        let mut words: HashMap<&str, u32> = HashMap::new();
        for (row, code) in codes.iter_mut().enumerate() {
            let own = match self {
                Self::Coded { keys, .. } => {
                    Self::key(keys, row).map_or(NONE, |key| key.min(LONG as usize - 1) as u32)
                }
                _ => match self.get(row) {
                    None => NONE,
                    Some(text) if text.len() > MAX_TAG_BYTES => LONG,
                    Some(text) => {
                        let next = words.len() as u32;
                        *words.entry(text).or_insert(next)
                    }
                },
            };
            let next = pairs.len() as u32;
            *code = *pairs.entry((*code, own)).or_insert(next);
        }
    }
}
