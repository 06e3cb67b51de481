//! Numbers for combinations of tag values, the same in all threads of a statement.

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// A tag's value, or none.
pub(super) type TagValue = Option<Box<str>>;

/// Combinations of tag values in the order they were met.
#[derive(Debug, Default)]
pub(super) struct Groups {
    met: Mutex<Met>,
}

#[derive(Debug, Default)]
struct Met {
    numbers: HashMap<Arc<[TagValue]>, u32>,
    combinations: Vec<Arc<[TagValue]>>,
    bytes: usize,
}

impl Groups {
    /// The combination's number; new ones get the next.
    pub(super) fn number<'a>(&self, values: impl Iterator<Item = Option<&'a str>>) -> u32 {
        let values: Arc<[TagValue]> = values.map(|value| value.map(Box::from)).collect();
        let mut met = self.met.lock();
        if let Some(number) = met.numbers.get(&values) {
            return *number;
        }
        let number = met.combinations.len() as u32;
        let texts = values.iter().flatten().map(|text| text.len()).sum::<usize>();
        met.bytes += texts + values.len() * size_of::<TagValue>() + 64;
        met.combinations.push(Arc::clone(&values));
        met.numbers.insert(values, number);
        number
    }

    pub(super) fn bytes(&self) -> usize {
        self.met.lock().bytes
    }

    /// The values of tag number `tag` of some combinations, as a column.
    pub(super) fn column(&self, numbers: &[u32], tag: usize) -> ArrayRef {
        let met = self.met.lock();
        let mut places: HashMap<&str, i32> = HashMap::new();
        let mut texts: Vec<&str> = Vec::new();
        let of_group: Vec<Option<i32>> = met
            .combinations
            .iter()
            .map(|values| {
                let text = values[tag].as_deref()?;
                Some(*places.entry(text).or_insert_with(|| {
                    texts.push(text);
                    texts.len() as i32 - 1
                }))
            })
            .collect();
        let keys: Int32Array = numbers.iter().map(|number| of_group[*number as usize]).collect();
        Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(texts))))
    }
}
