//! `current_setting('name')` and `current_user`: what is set on the connection that asks, and whose
//! it is.

use crate::settings::SessionSettings;
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct CurrentSetting {
    signature: Signature,
}

impl CurrentSetting {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::one_of(
                vec![
                    TypeSignature::Exact(vec![DataType::Utf8]),
                    TypeSignature::Exact(vec![DataType::Utf8, DataType::Boolean]),
                ],
                Volatility::Stable,
            ),
        }
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
        let [ColumnarValue::Scalar(name), more @ ..] = &args.args[..] else {
            return plan_err!("current_setting takes a literal name");
        };
        let missing_ok = matches!(more, [ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))]);
        let name = name.try_as_str().flatten().unwrap_or_default();
        let usual = SessionSettings::default();
        let set = args.config_options.extensions.get::<SessionSettings>().unwrap_or(&usual);
        let value = match set.show(name) {
            Ok(shown) => ScalarValue::from(shown.value),
            Err(_) if missing_ok => ScalarValue::Utf8(None),
            Err(error) => return plan_err!("{error}"),
        };
        Ok(ColumnarValue::Scalar(value))
    }
}

/// `session_user`, which `current_user` and `user` are, too: the name of a token.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionUser {
    signature: Signature,
    aliases: Vec<String>,
}

impl SessionUser {
    pub(super) fn new() -> Self {
        let aliases = ["current_role", "current_user", "user"].map(str::to_owned).to_vec();
        Self { signature: Signature::nullary(Volatility::Stable), aliases }
    }
}

impl ScalarUDFImpl for SessionUser {
    fn name(&self) -> &'static str {
        "session_user"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let usual = SessionSettings::default();
        let set = args.config_options.extensions.get::<SessionSettings>().unwrap_or(&usual);
        Ok(ColumnarValue::Scalar(ScalarValue::from(set.user())))
    }
}

/// `set_config('name', 'value', is_local)`: answers the value, as clients expect that switch off
/// what is not here. What has an effect is set by `SET` alone.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SetConfig {
    signature: Signature,
}

impl SetConfig {
    pub(super) fn new() -> Self {
        let types = vec![DataType::Utf8, DataType::Utf8, DataType::Boolean];
        Self { signature: Signature::exact(types, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for SetConfig {
    fn name(&self) -> &'static str {
        "set_config"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(name), value, _] = &args.args[..] else {
            return plan_err!("set_config takes a literal name");
        };
        let name = name.try_as_str().flatten().unwrap_or_default();
        if SessionSettings::has_effect(name) {
            return plan_err!("set_config cannot set {name}: use SET");
        }
        if let Err(error) = SessionSettings::default().show(name) {
            return plan_err!("{error}");
        }
        Ok(value.clone())
    }
}
