//! Functions that PostgreSQL has and DataFusion has not, for what clients ask with.

use super::by_row::{ByRow, Call, Returns, number, text};
use crate::pg_catalog::Directory;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;
use std::sync::Arc;

const ESCAPE: char = '\\';
const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];

pub(super) fn all(directory: &Arc<Directory>) -> [ByRow; 3] {
    let pretty = |_: &Call<'_>, values: &[ScalarValue]| {
        Ok(ScalarValue::Utf8(values.first().and_then(number).map(size_pretty)))
    };
    let pattern = |_: &Call<'_>, values: &[ScalarValue]| {
        let [pattern, escape] = values else {
            return plan_err!("like_escape takes a pattern and the character that escapes");
        };
        let given = text(pattern).zip(text(escape));
        if given.is_some_and(|(_, escape)| escape.chars().count() > 1) {
            return plan_err!("invalid escape string: it is one character, or empty");
        }
        Ok(ScalarValue::Utf8(given.map(|(pattern, escape)| like_escape(pattern, escape))))
    };
    let object = |_: &Call<'_>, values: &[ScalarValue]| json_object(values).map(ScalarValue::from);
    [
        ByRow::new("pg_size_pretty", Returns::Text, pretty, directory),
        ByRow::new("like_escape", Returns::Text, pattern, directory),
        ByRow::new("json_build_object", Returns::Text, object, directory).with_null(),
    ]
}

/// A number of bytes in the largest unit in which it is at least ten.
fn size_pretty(bytes: i64) -> String {
    let (mut size, mut unit) = (bytes as f64, 0);
    while size.abs() >= 10_240.0 && unit + 1 < UNITS.len() {
        size /= 1_024.0;
        unit += 1;
    }
    format!("{} {}", size.round(), UNITS[unit])
}

/// The same pattern with backslashes before what stands for itself.
pub(crate) fn like_escape(pattern: &str, escape: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(one) = characters.next() {
        let itself = if escape.starts_with(one) { characters.next() } else { None };
        if itself.is_some_and(|one| ['%', '_', ESCAPE].contains(&one)) || one == ESCAPE {
            escaped.push(ESCAPE);
        }
        escaped.push(itself.unwrap_or(one));
    }
    escaped
}

/// `json_build_object(key, value, ...)` as text, the pairs in their order, as PostgreSQL spaces them.
fn json_object(values: &[ScalarValue]) -> Result<String> {
    let mut pairs = Vec::with_capacity(values.len() / 2);
    for pair in values.chunks(2) {
        let [key, value] = pair else {
            return plan_err!("json_build_object takes an even number of arguments");
        };
        if key.is_null() {
            return plan_err!("a key of json_build_object must not be NULL");
        }
        pairs.push(format!("{} : {}", Value::from(key.to_string()), json(value)));
    }
    Ok(format!("{{{}}}", pairs.join(", ")))
}

fn json(value: &ScalarValue) -> Value {
    match value {
        value if value.is_null() => Value::Null,
        ScalarValue::Boolean(Some(flag)) => Value::from(*flag),
        value if value.data_type().is_integer() => number(value).into(),
        ScalarValue::Float64(Some(number)) => Value::from(*number),
        other => Value::from(other.to_string()),
    }
}

/// `information_schema._pg_expandarray(list)`: each element `x` with its place `n`, as a list.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExpandArray {
    signature: Signature,
}

impl ExpandArray {
    pub(super) fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

fn element(data_type: &DataType) -> Result<Fields> {
    let DataType::List(of) = data_type else {
        return plan_err!("_pg_expandarray takes an array");
    };
    let x = Field::new("x", of.data_type().clone(), true);
    Ok(Fields::from(vec![x, Field::new("n", DataType::Int32, true)]))
}

impl ScalarUDFImpl for ExpandArray {
    fn name(&self) -> &'static str {
        "_pg_expandarray"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Struct(element(&arguments[0])?), true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lists = ColumnarValue::values_to_arrays(&args.args)?.remove(0);
        let fields = element(lists.data_type())?;
        let lists = lists.as_list::<i32>();
        let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
        let values = lists.values().slice(first as usize, (last - first) as usize);
        let offsets = lists.offsets().iter().map(|offset| offset - first);
        let lengths = lists.offsets().lengths();
        let places: Int32Array = lengths.flat_map(|length| 1..=length as i32).collect();
        let x = cast(&values, fields[0].data_type())?;
        let columns: Vec<ArrayRef> = vec![x, Arc::new(places)];
        let rows = StructArray::try_new(fields.clone(), columns, None)?;
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
        let offsets = offsets.collect::<Vec<_>>();
        let offsets = arrow::buffer::OffsetBuffer::new(offsets.into());
        let lists = ListArray::try_new(item, offsets, Arc::new(rows), lists.nulls().cloned())?;
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}
