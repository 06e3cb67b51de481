//! Functions that answer row by row, as those do that clients look around with: there are few rows.

use crate::pg_catalog::{Directory, Function, Relation, Relations};
use crate::settings::SessionSettings;
use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::oid_field::{kind, oid_field};
use std::cell::OnceCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a call can look at besides its arguments.
pub(super) struct Call<'a> {
    pub(super) settings: &'a SessionSettings,
    directory: &'a Directory,
    relations: OnceCell<Relations>,
}

impl Call<'_> {
    /// The relations that there are now.
    pub(super) fn relations(&self) -> &[Arc<Relation>] {
        self.relations.get_or_init(|| self.directory.now())
    }

    pub(super) fn functions(&self) -> &[Function] {
        self.directory.functions()
    }
}

/// The answer to the arguments of one row, none of which is NULL but where the function takes it.
type Answer = dyn Fn(&Call<'_>, &[ScalarValue]) -> Result<ScalarValue> + Send + Sync;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returns {
    Oid,
    Number,
    Text,
    Flag,
    Texts,
}

impl Returns {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Oid => DataType::Int32,
            Self::Number => DataType::Int64,
            Self::Text => DataType::Utf8,
            Self::Flag => DataType::Boolean,
            Self::Texts => DataType::new_list(DataType::Utf8, true),
        }
    }
}

pub(super) struct ByRow {
    name: &'static str,
    returns: Returns,
    answer: Box<Answer>,
    takes_null: bool,
    directory: Arc<Directory>,
    signature: Signature,
}

impl ByRow {
    pub(super) fn new(
        name: &'static str,
        returns: Returns,
        answer: impl Fn(&Call<'_>, &[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
        directory: &Arc<Directory>,
    ) -> Self {
        let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let signature = Signature::one_of(any, Volatility::Stable);
        let directory = Arc::clone(directory);
        let answer = Box::new(answer);
        Self { name, returns, answer, takes_null: false, directory, signature }
    }

    /// A function that is called with NULL, too.
    pub(super) fn with_null(self) -> Self {
        Self { takes_null: true, ..self }
    }

    fn row(&self, call: &Call<'_>, values: &[ScalarValue]) -> Result<ScalarValue> {
        if !self.takes_null && values.iter().any(ScalarValue::is_null) {
            return ScalarValue::try_from(self.returns.data_type());
        }
        (self.answer)(call, values)
    }
}

impl fmt::Debug for ByRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A name has one function.
impl PartialEq for ByRow {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ByRow {}

impl Hash for ByRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for ByRow {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.returns.data_type())
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(match self.returns {
            Returns::Oid => oid_field(self.name, kind::OID, true),
            other => Field::new(self.name, other.data_type(), true),
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let usual = SessionSettings::default();
        let settings = args.config_options.extensions.get::<SessionSettings>().unwrap_or(&usual);
        let call = Call { settings, directory: &self.directory, relations: OnceCell::new() };
        let scalars: Option<Vec<ScalarValue>> = args.args.iter().map(scalar).collect();
        if let Some(values) = scalars {
            return self.row(&call, &values).map(ColumnarValue::Scalar);
        }
        if args.number_rows == 0 {
            let none = new_empty_array(&self.returns.data_type());
            return Ok(ColumnarValue::Array(none));
        }
        let arguments: Vec<ArrayRef> = ColumnarValue::values_to_arrays(&args.args)?;
        let rows = (0..args.number_rows).map(|row| {
            let values = arguments.iter().map(|values| ScalarValue::try_from_array(values, row));
            self.row(&call, &values.collect::<Result<Vec<_>>>()?)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(rows)?))
    }
}

fn scalar(value: &ColumnarValue) -> Option<ScalarValue> {
    match value {
        ColumnarValue::Scalar(value) => Some(value.clone()),
        ColumnarValue::Array(_) => None,
    }
}

/// A number, or the text of one.
pub(super) fn number(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => number,
        _ => None,
    }
}

pub(super) fn text(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}
