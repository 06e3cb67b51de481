//! The types a field can have, how wide they lie in a block, and how values become them.

use arrow::datatypes::DataType;

/// The largest number of digits a scaled field may have: a DOUBLE carries every such value
/// exactly, so SQL can show doubles and still sum the integers behind them.
pub(crate) const MAX_DIGITS: u8 = 15;

/// The type of a field. Scaled integers (`Decimal`) are `digits` decimal digits of which
/// `decimals` stand after the point: 699.123 W with 9 digits and 3 decimals is stored as 699123.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    Int8,
    Int16,
    Int32,
    Int64,
    Decimal { digits: u8, decimals: u8 },
    Float64,
}

/// One value on its way into a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Int(i64),
    Float(f64),
}

/// Why one value was not taken. The row around it is kept, the value becomes NULL.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ValueRefusal {
    #[error("{value} does not fit {field_type}")]
    OutOfRange { value: f64, field_type: FieldType },
    #[error("{value} has a fraction, which {field_type} cannot hold")]
    Fraction { value: f64, field_type: FieldType },
}

impl FieldType {
    /// A scaled integer, or `None` where the digits are not 2 to 15 or the decimals exceed them.
    pub fn decimal(digits: u8, decimals: u8) -> Option<Self> {
        ((2..=MAX_DIGITS).contains(&digits) && decimals <= digits)
            .then_some(Self::Decimal { digits, decimals })
    }

    /// Bytes of one value in a block.
    pub fn width(self) -> usize {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
            Self::Int32 => 4,
            Self::Decimal { digits, .. } if digits <= 9 => 4,
            Self::Int64 | Self::Decimal { .. } | Self::Float64 => 8,
        }
    }

    /// The type in Arrow and Parquet.
    pub fn arrow(self) -> DataType {
        match self {
            Self::Int8 => DataType::Int8,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Decimal { digits, decimals } if digits <= 9 => {
                DataType::Decimal32(digits, decimals.cast_signed())
            }
            Self::Decimal { digits, decimals } => {
                DataType::Decimal64(digits, decimals.cast_signed())
            }
            Self::Float64 => DataType::Float64,
        }
    }

    /// The largest magnitude a stored integer of this type may have, `None` for floats.
    /// (`i64::MIN` is outside: no sensor says it, and it has no absolute value.)
    pub fn max_magnitude(self) -> Option<i64> {
        match self {
            Self::Int8 => Some(i64::from(i8::MAX)),
            Self::Int16 => Some(i64::from(i16::MAX)),
            Self::Int32 => Some(i64::from(i32::MAX)),
            Self::Int64 => Some(i64::MAX),
            Self::Decimal { digits, .. } => Some(10_i64.pow(u32::from(digits)) - 1),
            Self::Float64 => None,
        }
    }

    /// The number of decimals that the stored integer is scaled by; 0 for integers and floats.
    pub fn decimals(self) -> u8 {
        match self {
            Self::Decimal { decimals, .. } => decimals,
            _ => 0,
        }
    }

    /// The value as it is stored: the scaled integer, or the bits of the double.
    ///
    /// A scaled field rounds to its decimals, half away from zero; `rounded` in the answer says
    /// whether anything was lost. An integer field refuses fractions.
    pub fn store(self, value: Value) -> Result<Stored, ValueRefusal> {
        match (self, value) {
            (Self::Float64, Value::Float(v)) => Ok(Stored::exact(v.to_bits().cast_signed())),
            (Self::Float64, Value::Int(v)) => Ok(Stored::exact((v as f64).to_bits().cast_signed())),
            (_, Value::Int(v)) => self.store_integer(v),
            (_, Value::Float(v)) => self.store_float(v),
        }
    }

    fn store_integer(self, value: i64) -> Result<Stored, ValueRefusal> {
        value
            .checked_mul(10_i64.pow(u32::from(self.decimals())))
            .filter(|raw| self.holds(*raw))
            .map(Stored::exact)
            .ok_or(ValueRefusal::OutOfRange { value: value as f64, field_type: self })
    }

    fn store_float(self, value: f64) -> Result<Stored, ValueRefusal> {
        let scaled = value * 10_f64.powi(i32::from(self.decimals()));
        let raw = scaled.round();
        // 2^63 is the first double outside i64; NaN fails the comparison too.
        if !(raw.abs() < 9_223_372_036_854_775_808.0 && self.holds(raw as i64)) {
            return Err(ValueRefusal::OutOfRange { value, field_type: self });
        }
        // Scaling itself errs by one part in 2^53: that is not a lost decimal.
        let rounded = (scaled - raw).abs() > scaled.abs() * 1e-15;
        if rounded && !matches!(self, Self::Decimal { .. }) {
            return Err(ValueRefusal::Fraction { value, field_type: self });
        }
        Ok(Stored { raw: raw as i64, rounded })
    }

    /// Whether a stored integer lies within the type's width and digits.
    pub fn holds(self, raw: i64) -> bool {
        self.max_magnitude().is_none_or(|max| (-max..=max).contains(&raw))
    }
}

/// A value as a block holds it, widened to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub raw: i64,
    pub rounded: bool,
}

impl Stored {
    fn exact(raw: i64) -> Self {
        Self { raw, rounded: false }
    }
}

impl std::fmt::Display for FieldType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int8 => f.write_str("int8"),
            Self::Int16 => f.write_str("int16"),
            Self::Int32 => f.write_str("int32"),
            Self::Int64 => f.write_str("int64"),
            Self::Decimal { digits, decimals } => write!(f, "decimal({digits},{decimals})"),
            Self::Float64 => f.write_str("float64"),
        }
    }
}

impl std::str::FromStr for FieldType {
    type Err = String;

    /// Reads what `Display` writes: `int16`, `decimal(9,3)`, `float64`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || {
            format!(
                "unknown field type {text:?}: use int8, int16, int32, int64, float64 or decimal(digits,decimals)"
            )
        };
        match text {
            "int8" => Ok(Self::Int8),
            "int16" => Ok(Self::Int16),
            "int32" => Ok(Self::Int32),
            "int64" => Ok(Self::Int64),
            "float64" => Ok(Self::Float64),
            _ => {
                let inner = text.strip_prefix("decimal(").and_then(|t| t.strip_suffix(')'));
                let (digits, decimals) =
                    inner.and_then(|t| t.split_once(',')).ok_or_else(unknown)?;
                let parse = |t: &str| t.trim().parse::<u8>().map_err(|_| unknown());
                Self::decimal(parse(digits)?, parse(decimals)?).ok_or_else(unknown)
            }
        }
    }
}
