//! `quote_literal(x)` and `quote_nullable(x)`: a text as SQL writes it.

use arrow::array::StringArray;
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Quote {
    name: &'static str,
    /// What is written for NULL.
    null: Option<&'static str>,
    signature: Signature,
}

impl Quote {
    pub(super) fn literal() -> Self {
        Self::new("quote_literal", None)
    }

    pub(super) fn nullable() -> Self {
        Self::new("quote_nullable", Some("NULL"))
    }

    fn new(name: &'static str, null: Option<&'static str>) -> Self {
        Self { name, null, signature: Signature::string(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Quote {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts] = &ColumnarValue::values_to_arrays(&args.args)?[..] else {
            return internal_err!("{} takes one argument", self.name);
        };
        let texts = arrow::compute::cast(texts, &DataType::Utf8)?;
        let texts = as_string_array(&texts)?.iter();
        let written: StringArray =
            texts.map(|text| text.map(quoted).or(self.null.map(str::to_owned))).collect();
        Ok(ColumnarValue::Array(Arc::new(written)))
    }
}

/// With backslashes it is a literal that says that they stand for themselves.
fn quoted(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') {
        return format!(" E'{}'", doubled.replace('\\', "\\\\"));
    }
    format!("'{doubled}'")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn texts_are_quoted_as_literals() {
        assert_eq!(quoted("it's"), "'it''s'");
        assert_eq!(quoted("a\\b"), " E'a\\\\b'");
    }
}
