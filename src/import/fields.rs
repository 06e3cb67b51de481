//! What the values of a field are, and the type that holds them all.
//!
//! Promises: a field gets int64 where all its values are whole numbers that fit, float64 where
//! doubles hold them all exactly enough to be read back as written, and the type that holds them
//! all where files declare types; anything else is an error, unless a type was asked for.

use super::source::Cell;
use warpline_storage::model::{FieldType, Value};

/// Whole numbers up to this magnitude are doubles exactly.
const EXACT_IN_DOUBLE: u64 = 1 << 53;

/// Every number of so many decimal digits can be read back from a double.
const DIGITS_IN_DOUBLE: usize = 15;

/// What the values of a field have been so far.
#[derive(Debug)]
pub(super) struct Facts {
    asked: Option<FieldType>,
    /// What the file being read declares.
    declared: Option<FieldType>,
    /// Types declared by files, and those of values in files that declare none; each once.
    seen: Vec<FieldType>,
    /// A number that a double does not hold as it is written.
    inexact: Option<String>,
}

impl Facts {
    pub(super) fn new(asked: Option<FieldType>) -> Self {
        Self { asked, declared: None, seen: Vec::new(), inexact: None }
    }

    /// Begins a file that declares this type for the field, or none.
    pub(super) fn begin(&mut self, declared: Option<FieldType>) {
        self.declared = declared;
        if let Some(declared) = declared {
            self.note(declared);
        }
    }

    /// Takes a value in; an error says why it cannot be one of the field.
    pub(super) fn see(&mut self, cell: Cell<'_>) -> Result<(), String> {
        let numeric = number(cell).map_err(|reason| {
            format!("{reason}; name it with --identity, --attributes or --skip")
        })?;
        let Some(number) = numeric else { return Ok(()) };
        if let Some(target) = self.asked.or(self.declared) {
            let stored = target.store(number.value());
            stored.map_err(|reason| format!("{reason}; ask for a wider type with --types"))?;
        }
        if self.declared.is_none() {
            self.note(number.own_type());
        }
        if self.inexact.is_none() {
            self.inexact = number.inexact();
        }
        Ok(())
    }

    fn note(&mut self, field_type: FieldType) {
        if !self.seen.contains(&field_type) {
            self.seen.push(field_type);
        }
    }

    /// The type that holds every value seen.
    pub(super) fn field_type(&self, name: &str) -> Result<FieldType, String> {
        match (self.asked, common(&self.seen), &self.inexact) {
            (Some(asked), ..) => Ok(asked),
            (None, FieldType::Float64, Some(inexact)) => Err(format!(
                "column {name} holds {inexact}, which no field type holds beside its other values \
                 without loss; say --types {name}=float64 to take it rounded, or --skip {name}"
            )),
            (None, common, _) => Ok(common),
        }
    }
}

/// The narrowest type that holds what each of `types` holds; float64 where none but a double may.
fn common(types: &[FieldType]) -> FieldType {
    let scaled = |kind: &FieldType| matches!(kind, FieldType::Decimal { .. });
    if types.contains(&FieldType::Float64) {
        FieldType::Float64
    } else if types.iter().any(scaled) {
        let decimals = types.iter().map(|kind| kind.decimals()).max().unwrap_or(0);
        let whole = types.iter().map(|kind| whole_digits(*kind)).max().unwrap_or(0);
        FieldType::decimal(whole + decimals, decimals).unwrap_or(FieldType::Float64)
    } else {
        types.iter().copied().max_by_key(|kind| kind.width()).unwrap_or(FieldType::Int64)
    }
}

/// The digits before the point that values of a type have at most.
fn whole_digits(kind: FieldType) -> u8 {
    let magnitude = kind.max_magnitude().unwrap_or(i64::MAX);
    let digits = magnitude.checked_ilog10().map_or(0, |log| log + 1);
    (digits as u8).saturating_sub(kind.decimals())
}

/// A cell of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    /// A double that reads back as written.
    Float(f64),
    /// A number that neither 64 bits nor a double hold as it is written, and the nearest double.
    Inexact(String, f64),
}

impl Number {
    /// As it goes into a block. One that is held inexactly gets here where its type was asked for.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) | Self::Inexact(_, value) => Value::Float(*value),
        }
    }

    fn own_type(&self) -> FieldType {
        match self {
            Self::Int(_) => FieldType::Int64,
            Self::Float(_) | Self::Inexact(..) => FieldType::Float64,
        }
    }

    /// The number where a double does not hold it.
    fn inexact(&self) -> Option<String> {
        match self {
            Self::Int(value) if value.unsigned_abs() > EXACT_IN_DOUBLE => Some(value.to_string()),
            Self::Inexact(text, _) => Some(text.clone()),
            Self::Int(_) | Self::Float(_) => None,
        }
    }
}

/// The number a field's cell holds; `None` where it holds nothing.
pub(super) fn number(cell: Cell<'_>) -> Result<Option<Number>, String> {
    match cell {
        Cell::Null | Cell::Text("NULL" | "null" | "N/A" | "[N/A]" | "NA") => Ok(None),
        Cell::Int(value) => Ok(Some(integer(value))),
        Cell::Float(value) => Ok(Some(Number::Float(value))),
        Cell::Time(_) => Err("it holds times, and a field holds numbers".to_owned()),
        Cell::Text(text) => number_in(text).map(Some),
    }
}

fn integer(value: i64) -> Number {
    // The smallest integer is not one of int64's values here: see `FieldType::max_magnitude`.
    if value == i64::MIN {
        Number::Inexact(value.to_string(), value as f64)
    } else {
        Number::Int(value)
    }
}

fn number_in(text: &str) -> Result<Number, String> {
    if let Ok(value) = text.parse::<i64>() {
        return Ok(integer(value));
    }
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    let digits = text.trim_start_matches(['+', '-']);
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole || !reads_back(digits, value.abs()) {
        Ok(Number::Inexact(text.to_owned(), value))
    } else {
        Ok(Number::Float(value))
    }
}

/// Whether `value`, written with as many digits as `text` has, gives those digits again.
fn reads_back(text: &str, value: f64) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    if mantissa.len() <= DIGITS_IN_DOUBLE || !value.is_finite() {
        return true;
    }
    let digits = mantissa.replacen('.', "", 1);
    let digits = digits.trim_start_matches('0');
    if digits.len() <= DIGITS_IN_DOUBLE {
        return true;
    }
    let written = format!("{value:.*e}", digits.len() - 1);
    let mantissa = written.split('e').next().unwrap_or(&written);
    mantissa.replacen('.', "", 1) == digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inexact(text: &str) -> bool {
        matches!(number_in(text), Ok(Number::Inexact(..)))
    }

    #[test]
    fn numbers_keep_their_kind() {
        assert_eq!(number_in("-7"), Ok(Number::Int(-7)));
        assert_eq!(number_in("0.00"), Ok(Number::Float(0.0)));
        assert!(inexact("18446744073709551615") && inexact("-9223372036854775808"));
        assert!(number_in("12 W").is_err());
    }

    #[test]
    fn doubles_that_do_not_read_back_are_told() {
        for text in ["0.30000000000000004", "-1.7976931348623157e308", "0.10000000000000001"] {
            assert_eq!(number_in(text), Ok(Number::Float(text.parse().unwrap())));
        }
        assert!(!inexact("0.000000000000000000000001") && !inexact("nan") && !inexact("infinity"));
        assert!(inexact("12345678901234567.25") && inexact("-33.3333333333333333"));
        assert!(inexact("1.23456789012345678901e-5"));
    }

    #[test]
    fn types_widen_to_what_holds_all() {
        let decimal = |digits, decimals| FieldType::Decimal { digits, decimals };
        for (types, wanted) in [
            (vec![], FieldType::Int64),
            (vec![FieldType::Int32, FieldType::Int64, FieldType::Int8], FieldType::Int64),
            (vec![FieldType::Int16, FieldType::Float64], FieldType::Float64),
            (vec![decimal(9, 3), decimal(6, 4)], decimal(10, 4)),
            (vec![FieldType::Int8, decimal(3, 1)], decimal(4, 1)),
            (vec![FieldType::Int64, decimal(3, 1)], FieldType::Float64),
        ] {
            assert_eq!(common(&types), wanted, "{types:?}");
        }
    }
}
