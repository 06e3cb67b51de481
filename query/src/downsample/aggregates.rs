//! Which aggregate functions the operator answers, and over which columns.

use super::quantile::Share;
use crate::exact::{ExactAggregate, Measure};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Expr, SortExpr};
use std::fmt;
use warpline_storage::model::{FieldType, TableSchema};

/// A column that numbers can be reduced in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Input {
    Time,
    /// By its number in the table's schema.
    Field(usize),
}

/// What is asked of a bucket's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    /// How many there are.
    Rows,
    Count(Input),
    Min(Input),
    Max(Input),
    /// Sum or mean of integers and scaled fields.
    Exact(Input, Measure),
    /// Sum and mean of doubles.
    Sum(Input),
    Mean(Input),
    /// The value in the row of the smallest or largest time, NULL where that row has none.
    FirstRow(Input),
    LastRow(Input),
    /// The value at the smallest or largest time that has one.
    First(Input),
    Last(Input),
    /// Steps between consecutive values of a series, a counter's resets included, or signed.
    Increase(Input),
    Delta(Input),
    /// `percentile_cont` over doubles.
    Quantile(Input, Share),
}

impl Ask {
    pub(super) fn input(self) -> Option<Input> {
        match self {
            Self::Rows => None,
            Self::Count(input)
            | Self::Min(input)
            | Self::Max(input)
            | Self::Exact(input, _)
            | Self::Sum(input)
            | Self::Mean(input)
            | Self::FirstRow(input)
            | Self::LastRow(input)
            | Self::First(input)
            | Self::Last(input)
            | Self::Increase(input)
            | Self::Delta(input)
            | Self::Quantile(input, _) => Some(input),
        }
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Rows => "rows",
            Self::Count(_) => "count",
            Self::Min(_) => "min",
            Self::Max(_) => "max",
            Self::Exact(_, measure) if measure.is_sum() => "sum",
            Self::Sum(_) => "sum",
            Self::Exact(..) | Self::Mean(_) => "avg",
            Self::FirstRow(_) => "first_value",
            Self::LastRow(_) => "last_value",
            Self::First(_) => "first",
            Self::Last(_) => "last",
            Self::Increase(_) => "increase",
            Self::Delta(_) => "delta",
            Self::Quantile(..) => "percentile_cont",
        };
        f.write_str(word)
    }
}

/// The columns of a table as expressions name them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a>(pub &'a TableSchema);

impl Names<'_> {
    /// The column's number in the table's Arrow and SQL schemas.
    pub(super) fn number(self, column: &Column) -> Option<usize> {
        self.0.column_names().position(|name| name == column.name)
    }

    /// The number of a tag's column.
    pub(super) fn tag(self, expr: &Expr) -> Option<usize> {
        let Expr::Column(column) = expr else { return None };
        let number = self.number(column)?;
        (1..self.0.first_field()).contains(&number).then_some(number)
    }

    fn input(self, expr: &Expr) -> Option<Input> {
        let Expr::Column(column) = expr else { return None };
        match self.number(column)? {
            0 => Some(Input::Time),
            number if number >= self.0.first_field() => Some(Input::Field(number)),
            _ => None,
        }
    }

    /// Whether expressions name the table's identity, in order.
    fn are_identity(self, keys: &[Expr]) -> bool {
        let names = keys.iter().map(|key| self.tag(key));
        names.eq((1..=self.0.identity.len()).map(Some))
    }

    /// What an aggregate asks, `None` where the operator has no answer to it.
    pub(super) fn ask(self, expr: &Expr) -> Option<Ask> {
        let call = match expr {
            Expr::Alias(alias) => return self.ask(&alias.expr),
            Expr::AggregateFunction(call) => call,
            _ => return None,
        };
        let AggregateFunction { func, params } = call;
        if params.distinct || params.filter.is_some() {
            return None;
        }
        let is_field = |input: &Input| matches!(input, Input::Field(_));
        let ignoring = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        match (func.name(), params.args.as_slice(), params.order_by.as_slice()) {
            ("count", [Expr::Literal(one, _)], []) if !one.is_null() => Some(Ask::Rows),
            ("count", [of], []) => self.input(of).map(Ask::Count),
            ("min", [of], []) => self.input(of).map(Ask::Min),
            ("max", [of], []) => self.input(of).map(Ask::Max),
            ("sum", [of], []) => self.input(of).filter(|of| self.is_float(*of)).map(Ask::Sum),
            ("avg", [of], []) => self.input(of).filter(|of| self.is_float(*of)).map(Ask::Mean),
            (_, [of], []) if func.inner().is::<ExactAggregate>() => {
                let exact = func.inner().downcast_ref::<ExactAggregate>()?;
                Some(Ask::Exact(self.input(of).filter(is_field)?, exact.measure()))
            }
            (name @ ("first_value" | "last_value"), [of], [by]) => {
                let of = self.input(of)?;
                let first = (name == "first_value") == self.ascending(by)?;
                Some(match (first, ignoring) {
                    (true, false) => Ask::FirstRow(of),
                    (true, true) => Ask::First(of),
                    (false, false) => Ask::LastRow(of),
                    (false, true) => Ask::Last(of),
                })
            }
            ("percentile_cont", [of, Expr::Literal(share, _)], [by])
                if by.asc && by.expr == *of =>
            {
                let ScalarValue::Float64(Some(share)) = share else { return None };
                let of = self.input(of).filter(|of| self.is_double(*of))?;
                Some(Ask::Quantile(of, Share::new(*share)?))
            }
            ("first", [of, time], []) if self.is_time(time) => self.input(of).map(Ask::First),
            ("last", [of, time], []) if self.is_time(time) => self.input(of).map(Ask::Last),
            (name @ ("increase" | "delta"), [of, time, keys @ ..], [])
                if self.is_time(time) && self.are_identity(keys) =>
            {
                let of = self.input(of).filter(is_field)?;
                Some(if name == "delta" { Ask::Delta(of) } else { Ask::Increase(of) })
            }
            _ => None,
        }
    }

    fn field_type(self, input: Input) -> Option<FieldType> {
        let Input::Field(number) = input else { return None };
        Some(self.0.fields[number - self.0.first_field()].field_type)
    }

    /// Whether the column is stored as doubles.
    fn is_float(self, input: Input) -> bool {
        self.field_type(input) == Some(FieldType::Float64)
    }

    /// Whether SQL sees the column as DOUBLE.
    fn is_double(self, input: Input) -> bool {
        let scaled = matches!(self.field_type(input), Some(FieldType::Decimal { .. }));
        scaled || self.is_float(input)
    }

    fn is_time(self, expr: &Expr) -> bool {
        self.input(expr) == Some(Input::Time)
    }

    /// Whether rows are sorted by time upwards; `None` where not by time. Time is never NULL.
    fn ascending(self, by: &SortExpr) -> Option<bool> {
        self.is_time(&by.expr).then_some(by.asc)
    }
}
