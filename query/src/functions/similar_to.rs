//! `similar_to_escape(pattern [, escape])`: a pattern of `SIMILAR TO` as the regular expression that
//! matches the same texts, as in PostgreSQL. The dialect puts it where `SIMILAR TO` is written.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::cast::as_string_array;
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use std::sync::Arc;

/// What means something in a regular expression, within brackets or without.
const SPECIAL: &str = r"\.+*?()|[]{}^$-&~#";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SimilarToEscape {
    signature: Signature,
}

impl SimilarToEscape {
    pub(super) fn new() -> Self {
        let texts = |count| TypeSignature::Exact(vec![DataType::Utf8; count]);
        let signature = Signature::one_of(vec![texts(1), texts(2)], Volatility::Immutable);
        Self { signature }
    }
}

impl ScalarUDFImpl for SimilarToEscape {
    fn name(&self) -> &'static str {
        "similar_to_escape"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (patterns, escapes) = match &arrays[..] {
            [patterns] => (as_string_array(patterns)?, None),
            [patterns, escapes] => (as_string_array(patterns)?, Some(as_string_array(escapes)?)),
            _ => return internal_err!("similar_to_escape takes a pattern and an escape"),
        };
        let regexes = patterns.iter().enumerate().map(|(row, pattern)| {
            let escape = match escapes {
                None => Some("\\"),
                Some(escapes) => escapes.is_valid(row).then(|| escapes.value(row)),
            };
            pattern.zip(escape).map(|(pattern, escape)| regex(pattern, escape)).transpose()
        });
        let regexes: ArrayRef = Arc::new(regexes.collect::<Result<StringArray>>()?);
        Ok(ColumnarValue::Array(regexes))
    }
}

fn regex(pattern: &str, escape: &str) -> Result<String> {
    let mut escapes = escape.chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return plan_err!("invalid escape string: it has one character or none");
    }
    let mut regex = String::from("^(?s:");
    let mut characters = pattern.chars();
    let mut in_brackets = false;
    while let Some(one) = characters.next() {
        if Some(one) == escape {
            let Some(itself) = characters.next() else {
                return plan_err!("the pattern ends with its escape character");
            };
            if SPECIAL.contains(itself) {
                regex.push('\\');
            }
            regex.push(itself);
            continue;
        }
        match one {
            '[' | ']' if in_brackets == (one == ']') => {
                in_brackets = one == '[';
                regex.push(one);
            }
            '\\' => regex.push_str("\\\\"),
            _ if in_brackets => regex.push(one),
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '(' => regex.push_str("(?:"),
            '.' | '^' | '$' => regex.extend(['\\', one]),
            _ => regex.push(one),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::regex;

    #[test]
    fn patterns_become_anchored_expressions() {
        for (pattern, escape, want) in [
            ("n%_", "\\", "^(?s:n.*.)$"),
            ("(a|b)+", "\\", "^(?s:(?:a|b)+)$"),
            ("a{2,3}[0-9%_.]?", "\\", "^(?s:a{2,3}[0-9%_.]?)$"),
            ("1.5$^", "\\", "^(?s:1\\.5\\$\\^)$"),
            ("50\\%", "\\", "^(?s:50%)$"),
            ("50#%\\", "#", "^(?s:50%\\\\)$"),
            ("\\d\\.", "\\", "^(?s:d\\.)$"),
            ("a\\b", "", "^(?s:a\\\\b)$"),
        ] {
            assert_eq!(regex(pattern, escape).unwrap(), want, "{pattern}");
        }
        assert!(regex("a", "ab").is_err());
        assert!(regex("a\\", "\\").is_err());
    }
}
