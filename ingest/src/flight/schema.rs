//! The schema that a stream begins with: what its columns are, and how many of a batch's pieces
//! each has, so that columns of other types can be passed over.

use super::{FlightError, malformed};
use arrow::datatypes::{DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DataType, TimeUnit};
use arrow::ipc;
use arrow::ipc::Type;

/// The key of a field's metadata that says what the column is: `identity`, `attribute`, `field`.
const ROLE_KEY: &str = "warpline.role";
const MAX_COLUMNS: usize = 4_096;
const DECIMAL128_MAX_PRECISION: u8 = 38;

/// What a column is in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Identity,
    Attribute,
    Field,
}

/// What a column's values are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A type of which something may be taken.
    Plain(DataType),
    /// Text by its place in a dictionary.
    Coded { key: DataType, text: DataType, dictionary: i64 },
    /// A type of which nothing is, by name.
    Other(&'static str),
}

/// A column of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// What its sender says it is.
    pub(crate) role: Option<Role>,
    pub(crate) kind: Kind,
    pub(super) shape: Shape,
}

/// The pieces that a column has in each batch, its children's included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) nodes: usize,
    pub(super) buffers: usize,
    /// How many columns of views it has, which have further buffers, as many as the batch says.
    pub(super) views: usize,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "an identity tag",
            Self::Attribute => "an attribute tag",
            Self::Field => "a field",
        }
    }
}

impl Kind {
    pub(crate) fn is_text(&self) -> bool {
        match self {
            Self::Plain(data_type) => is_text(data_type),
            Self::Coded { .. } => true,
            Self::Other(_) => false,
        }
    }

    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Self::Plain(data_type) if data_type.is_integer())
    }

    /// Whether it may be a field. Booleans are 1 and 0.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Plain(of) if of.is_numeric() || *of == DataType::Boolean)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Plain(DataType::Null))
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Plain(DataType::Timestamp(..)) => "timestamp".to_owned(),
            Self::Plain(of) if !is_text(of) => of.to_string().to_ascii_lowercase(),
            Self::Plain(_) | Self::Coded { .. } => "text".to_owned(),
            Self::Other(name) => name.trim_end_matches('_').to_ascii_lowercase(),
        }
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Reads the schema.
pub(super) fn columns(schema: ipc::Schema<'_>) -> Result<Vec<Column>, FlightError> {
    if schema.endianness() != ipc::Endianness::Little {
        return Err(malformed("its numbers are big-endian: send little-endian ones"));
    }
    let fields = schema.fields().ok_or_else(|| malformed("the schema has no fields"))?;
    if fields.len() > MAX_COLUMNS {
        let columns = fields.len();
        return Err(FlightError::TooLarge(format!(
            "the schema has {columns} columns; the limit is {MAX_COLUMNS}: send fewer"
        )));
    }
    fields.iter().map(column).collect()
}

fn column(field: ipc::Field<'_>) -> Result<Column, FlightError> {
    let name = field.name().unwrap_or_default().to_owned();
    let role = role(&name, field)?;
    let kind = match field.dictionary() {
        Some(encoding) => coded(field, encoding),
        None => plain(field).map(Kind::Plain),
    };
    let kind = kind.unwrap_or_else(|| Kind::Other(name_of(field)));
    Ok(Column { name, role, kind, shape: shape(field)? })
}

fn name_of(field: ipc::Field<'_>) -> &'static str {
    match field.dictionary() {
        Some(_) => "dictionary of other things than text",
        None => field.type_type().variant_name().unwrap_or("unknown"),
    }
}

fn role(name: &str, field: ipc::Field<'_>) -> Result<Option<Role>, FlightError> {
    let metadata = field.custom_metadata();
    let mut metadata = metadata.iter().flatten();
    let said = metadata.find(|pair| pair.key() == Some(ROLE_KEY)).and_then(|pair| pair.value());
    match said {
        None => Ok(None),
        Some("identity") => Ok(Some(Role::Identity)),
        Some("attribute") => Ok(Some(Role::Attribute)),
        Some("field") => Ok(Some(Role::Field)),
        Some(other) => Err(malformed(format!(
            "column {name:?}: {ROLE_KEY} is {other:?}: use identity, attribute or field"
        ))),
    }
}

fn coded(field: ipc::Field<'_>, encoding: ipc::DictionaryEncoding<'_>) -> Option<Kind> {
    let text = plain(field).filter(is_text)?;
    let key = match encoding.indexType() {
        Some(index) => integer(index)?,
        None => DataType::Int32,
    };
    Some(Kind::Coded { key, text, dictionary: encoding.id() })
}

/// The types of which something may be taken. A timestamp is an instant, whatever its zone.
fn plain(field: ipc::Field<'_>) -> Option<DataType> {
    match field.type_type() {
        Type::Null => Some(DataType::Null),
        Type::Bool => Some(DataType::Boolean),
        Type::Int => integer(field.type_as_int()?),
        Type::FloatingPoint => match field.type_as_floating_point()?.precision() {
            ipc::Precision::HALF => Some(DataType::Float16),
            ipc::Precision::SINGLE => Some(DataType::Float32),
            ipc::Precision::DOUBLE => Some(DataType::Float64),
            _ => None,
        },
        Type::Decimal => decimal(field.type_as_decimal()?),
        Type::Utf8 => Some(DataType::Utf8),
        Type::LargeUtf8 => Some(DataType::LargeUtf8),
        Type::Utf8View => Some(DataType::Utf8View),
        Type::Timestamp => {
            let unit = match field.type_as_timestamp()?.unit() {
                ipc::TimeUnit::SECOND => TimeUnit::Second,
                ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
                ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
                ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
                _ => return None,
            };
            Some(DataType::Timestamp(unit, None))
        }
        _ => None,
    }
}

fn integer(int: ipc::Int<'_>) -> Option<DataType> {
    match (int.bitWidth(), int.is_signed()) {
        (8, true) => Some(DataType::Int8),
        (16, true) => Some(DataType::Int16),
        (32, true) => Some(DataType::Int32),
        (64, true) => Some(DataType::Int64),
        (8, false) => Some(DataType::UInt8),
        (16, false) => Some(DataType::UInt16),
        (32, false) => Some(DataType::UInt32),
        (64, false) => Some(DataType::UInt64),
        _ => None,
    }
}

fn decimal(decimal: ipc::Decimal<'_>) -> Option<DataType> {
    let precision = u8::try_from(decimal.precision()).ok().filter(|precision| *precision > 0)?;
    let scale = i8::try_from(decimal.scale()).ok()?;
    let fits = |most: u8| precision <= most && (0..=precision.cast_signed()).contains(&scale);
    match decimal.bitWidth() {
        32 if fits(DECIMAL32_MAX_PRECISION) => Some(DataType::Decimal32(precision, scale)),
        64 if fits(DECIMAL64_MAX_PRECISION) => Some(DataType::Decimal64(precision, scale)),
        128 if fits(DECIMAL128_MAX_PRECISION) => Some(DataType::Decimal128(precision, scale)),
        _ => None,
    }
}

/// The pieces of a dictionary's text.
pub(super) fn text_shape(text: &DataType) -> Shape {
    match text {
        DataType::Utf8View => Shape { nodes: 1, buffers: 2, views: 1 },
        _ => Shape { nodes: 1, buffers: 3, views: 0 },
    }
}

/// The verifier of flatbuffers bounds how deep fields lie and how many there are.
fn shape(field: ipc::Field<'_>) -> Result<Shape, FlightError> {
    let one = |buffers| Shape { nodes: 1, buffers, views: 0 };
    if field.dictionary().is_some() {
        return Ok(one(2));
    }
    let own = match field.type_type() {
        Type::Null | Type::RunEndEncoded => one(0),
        Type::FixedSizeList | Type::Struct_ => one(1),
        Type::Union => match field.type_as_union().map(|union| union.mode()) {
            Some(ipc::UnionMode::Sparse) => one(1),
            Some(ipc::UnionMode::Dense) => one(2),
            _ => return Err(malformed("a union has no mode")),
        },
        Type::Bool
        | Type::Int
        | Type::FloatingPoint
        | Type::Decimal
        | Type::Date
        | Type::Time
        | Type::Timestamp
        | Type::Interval
        | Type::Duration
        | Type::FixedSizeBinary
        | Type::List
        | Type::LargeList
        | Type::Map => one(2),
        Type::Binary
        | Type::Utf8
        | Type::LargeBinary
        | Type::LargeUtf8
        | Type::ListView
        | Type::LargeListView => one(3),
        Type::BinaryView | Type::Utf8View => Shape { nodes: 1, buffers: 2, views: 1 },
        other => return Err(malformed(format!("the type {} is not known here", other.0))),
    };
    let children = field.children();
    children.iter().flatten().map(shape).try_fold(own, |sum, child| {
        let child = child?;
        Ok(Shape {
            nodes: sum.nodes + child.nodes,
            buffers: sum.buffers + child.buffers,
            views: sum.views + child.views,
        })
    })
}
