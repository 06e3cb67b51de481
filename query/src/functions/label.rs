//! `label(labels, 'key')`: one label of a `metric` row, NULL where the row has none of that name.

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Label {
    signature: Signature,
}

impl Label {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn tag_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

impl ScalarUDFImpl for Label {
    fn name(&self) -> &'static str {
        "label"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [labels, _key] if *labels == tag_type() => Ok(vec![tag_type(), DataType::Utf8]),
            [_labels, _key] => Ok(vec![DataType::Utf8, DataType::Utf8]),
            _ => plan_err!("label takes the labels and a key: label(labels, 'pod')"),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [labels, key] = args.args.as_slice() else {
            return exec_err!("label takes two arguments");
        };
        let labels = labels.to_array(args.number_rows)?;
        let found = match key {
            ColumnarValue::Scalar(key) => match key.try_as_str().flatten() {
                Some(key) => labels_under(&labels, key)?,
                None => Arc::new(StringArray::new_null(labels.len())),
            },
            ColumnarValue::Array(keys) => {
                let texts = cast(&labels, &DataType::Utf8)?;
                let pairs = texts.as_string::<i32>().iter().zip(keys.as_string::<i32>());
                let found = pairs.map(|(text, key)| text.zip(key).and_then(|(t, k)| find(t, k)));
                Arc::new(found.collect::<StringArray>())
            }
        };
        Ok(ColumnarValue::Array(found))
    }
}

/// Each distinct text of a dictionary is read once.
fn labels_under(labels: &ArrayRef, key: &str) -> Result<ArrayRef> {
    let read = |texts: &StringArray| -> StringArray {
        texts.iter().map(|text| text.and_then(|text| find(text, key))).collect()
    };
    let Some(dictionary) = labels.as_any().downcast_ref::<DictionaryArray<Int32Type>>() else {
        return Ok(Arc::new(read(labels.as_string::<i32>())));
    };
    let found = read(dictionary.values().as_string::<i32>());
    Ok(take(&found, dictionary.keys(), None)?)
}

/// The text under `key` of a JSON object of texts; `None` where it is absent or not such an
/// object.
fn find(labels: &str, key: &str) -> Option<String> {
    struct Find<'k>(&'k str);

    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object of labels")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                if name == self.0 {
                    found = Some(map.next_value::<String>()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    let mut reader = serde_json::Deserializer::from_str(labels);
    serde::Deserializer::deserialize_map(&mut reader, Find(key)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn labels_are_found_by_name() {
        let labels = r#"{"node":"n1","pod":"a\"b","zone":"é"}"#;
        assert_eq!(find(labels, "pod").as_deref(), Some("a\"b"));
        assert_eq!(find(labels, "zone").as_deref(), Some("é"));
        assert_eq!(find(labels, "rack"), None);
        assert_eq!(find("not json", "pod"), None);
        assert_eq!(find("", "pod"), None);
    }
}
