//! `current_setting('name')`: the few settings PostgreSQL clients ask for before they begin.

use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The PostgreSQL release whose catalog and protocol are spoken.
const SERVER_VERSION: &str = "16.6";
const SERVER_VERSION_NUMBER: &str = "160006";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CurrentSetting {
    signature: Signature,
}

impl CurrentSetting {
    pub(super) fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8], Volatility::Stable) }
    }
}

impl ScalarUDFImpl for CurrentSetting {
    fn name(&self) -> &'static str {
        "current_setting"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Scalar(name)) = args.args.first() else {
            return plan_err!("current_setting takes a literal name");
        };
        let name = name.try_as_str().flatten().unwrap_or_default().to_ascii_lowercase();
        let value = match name.as_str() {
            "server_version" => SERVER_VERSION,
            "server_version_num" => SERVER_VERSION_NUMBER,
            "search_path" => crate::catalog::SCHEMA,
            "timezone" => "UTC",
            "server_encoding" | "client_encoding" => "UTF8",
            "default_transaction_read_only"
            | "transaction_read_only"
            | "standard_conforming_strings"
            | "integer_datetimes" => "on",
            _ => return plan_err!("unrecognized configuration parameter {name:?}"),
        };
        Ok(ColumnarValue::Scalar(ScalarValue::from(value)))
    }
}
