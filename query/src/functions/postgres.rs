//! Functions that PostgreSQL's clients call as they look around, and that have one answer here.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

/// What a function says, whatever it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Said {
    Yes,
    No,
    Nothing,
    Text(&'static str),
}

/// Clients read PostgreSQL's release from it.
const VERSION: &str = concat!("PostgreSQL 16.6 (Warpline ", env!("CARGO_PKG_VERSION"), ")");

const ALL: [(&str, Said); 25] = [
    ("col_description", Said::Nothing),
    ("obj_description", Said::Nothing),
    ("pg_advisory_unlock_all", Said::Nothing),
    ("pg_collation_is_visible", Said::Yes),
    ("pg_conversion_is_visible", Said::Yes),
    ("pg_function_is_visible", Said::Yes),
    ("pg_has_role", Said::Yes),
    ("pg_opfamily_is_visible", Said::Yes),
    ("pg_relation_is_publishable", Said::No),
    ("pg_statistics_obj_is_visible", Said::Yes),
    ("pg_tablespace_location", Said::Text("")),
    ("pg_ts_config_is_visible", Said::Yes),
    ("pg_ts_dict_is_visible", Said::Yes),
    ("pg_ts_parser_is_visible", Said::Yes),
    ("pg_ts_template_is_visible", Said::Yes),
    ("pg_get_function_sqlbody", Said::Nothing),
    ("pg_get_ruledef", Said::Nothing),
    ("pg_get_serial_sequence", Said::Nothing),
    ("pg_get_triggerdef", Said::Nothing),
    ("pg_get_viewdef", Said::Nothing),
    ("pg_is_in_recovery", Said::No),
    ("pg_opclass_is_visible", Said::Yes),
    ("pg_operator_is_visible", Said::Yes),
    ("shobj_description", Said::Nothing),
    ("version", Said::Text(VERSION)),
];

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Constant {
    name: &'static str,
    said: Said,
    signature: Signature,
}

impl Constant {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ALL.into_iter().map(|(name, said)| {
            let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
            Self { name, said, signature: Signature::one_of(any, Volatility::Stable) }
        })
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.said {
            Said::Yes | Said::No => DataType::Boolean,
            Said::Nothing | Said::Text(_) => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(match self.said {
            Said::Yes => ScalarValue::from(true),
            Said::No => ScalarValue::from(false),
            Said::Nothing => ScalarValue::Utf8(None),
            Said::Text(text) => ScalarValue::from(text),
        }))
    }
}
