//! `m4(value, time)`: the samples of a group that a line chart needs where the group is one pixel
//! wide: the first, the last, the smallest and the largest.
//!
//! The answer is a list of at most four structs of `time` and `value`, distinct and in time order,
//! to be unnested; NULL without a sample. Of equal values the earliest is taken, of values at one
//! time the largest; NaN is the largest double. Rows without a value or a time do not count.

use super::counter::time_type;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, ListArray, PrimitiveArray,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct M4 {
    signature: Signature,
}

impl M4 {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for M4 {
    fn name(&self) -> &'static str {
        "m4"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [value, time] = arguments else {
            return plan_err!("m4 takes a value and its time: m4(value, time)");
        };
        let value = match value {
            kind if kind.is_integer() => DataType::Int64,
            kind if kind.is_numeric() => DataType::Float64,
            other => return plan_err!("m4 takes a number as its value, not {other}"),
        };
        Ok(vec![value, time_type("m4", time)?])
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let fields = point_fields(&arguments[1], &arguments[0]);
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields), true))))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let time = args.expr_fields[1].data_type().clone();
        if *args.expr_fields[0].data_type() == DataType::Int64 {
            Ok(Box::new(Points::<Int64Type>::new(time)))
        } else {
            Ok(Box::new(Points::<Float64Type>::new(time)))
        }
    }

    /// The state is an answer over some of the rows.
    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let points = args.return_field.data_type().clone();
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "points"), points, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn point_fields(time: &DataType, value: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("time", time.clone(), true),
        Field::new("value", value.clone(), true),
    ])
}

/// A type of values that a chart can draw.
trait Drawn: ArrowPrimitiveType + Debug {
    fn order(one: Self::Native, other: Self::Native) -> Ordering;
}

impl Drawn for Int64Type {
    fn order(one: i64, other: i64) -> Ordering {
        one.cmp(&other)
    }
}

impl Drawn for Float64Type {
    /// NaN, of whichever sign, is the largest.
    fn order(one: f64, other: f64) -> Ordering {
        let numbers = one.partial_cmp(&other);
        numbers.unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
    }
}

type Point<T> = (i64, <T as ArrowPrimitiveType>::Native);

#[derive(Debug)]
struct Points<T: Drawn> {
    first: Option<Point<T>>,
    last: Option<Point<T>>,
    smallest: Option<Point<T>>,
    largest: Option<Point<T>>,
    time: DataType,
}

impl<T: Drawn> Points<T> {
    fn new(time: DataType) -> Self {
        Self { first: None, last: None, smallest: None, largest: None, time }
    }

    fn offer(&mut self, point: Point<T>) {
        let times = |one: &Point<T>, other: &Point<T>| one.0.cmp(&other.0);
        let values = |one: &Point<T>, other: &Point<T>| T::order(one.1, other.1);
        let keep = |place: &mut Option<Point<T>>, order: &dyn Fn(&Point<T>) -> Ordering| {
            if place.as_ref().is_none_or(|held| order(held).is_gt()) {
                *place = Some(point);
            }
        };
        let largest = |held: &Point<T>| values(&point, held);
        let earliest = |held: &Point<T>| times(held, &point);
        keep(&mut self.first, &|held| earliest(held).then(largest(held)));
        keep(&mut self.last, &|held| earliest(held).reverse().then(largest(held)));
        keep(&mut self.smallest, &|held| largest(held).reverse().then(earliest(held)));
        keep(&mut self.largest, &|held| largest(held).then(earliest(held)));
    }

    fn offer_all(&mut self, values: &PrimitiveArray<T>, times: &Int64Array) {
        for (value, time) in values.iter().zip(times) {
            if let (Some(value), Some(time)) = (value, time) {
                self.offer((time, value));
            }
        }
    }

    /// The distinct points by time.
    fn points(&self) -> Vec<Point<T>> {
        let places = [self.first, self.smallest, self.largest, self.last];
        let mut points: Vec<Point<T>> = places.into_iter().flatten().collect();
        let order =
            |one: &Point<T>, other: &Point<T>| one.0.cmp(&other.0).then(T::order(one.1, other.1));
        points.sort_by(order);
        points.dedup_by(|one, other| order(one, other).is_eq());
        points
    }

    fn list(&self) -> Result<ScalarValue> {
        let points = self.points();
        let fields = point_fields(&self.time, &T::DATA_TYPE);
        let item = Arc::new(Field::new_list_field(DataType::Struct(fields.clone()), true));
        if points.is_empty() {
            return Ok(ScalarValue::List(Arc::new(ListArray::new_null(item, 1))));
        }
        let times = Int64Array::from_iter_values(points.iter().map(|point| point.0));
        let values = PrimitiveArray::<T>::from_iter_values(points.iter().map(|point| point.1));
        let columns: Vec<ArrayRef> = vec![cast(&times, &self.time)?, Arc::new(values)];
        let points = StructArray::try_new(fields, columns, None)?;
        let offsets = OffsetBuffer::from_lengths([points.len()]);
        Ok(ScalarValue::List(Arc::new(ListArray::new(item, offsets, Arc::new(points), None))))
    }
}

impl<T: Drawn> Accumulator for Points<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let times = cast(&values[1], &DataType::Int64)?;
        self.offer_all(values[0].as_primitive::<T>(), times.as_primitive::<Int64Type>());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.list()
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.list()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for points in states[0].as_list::<i32>().iter().flatten() {
            let points = points.as_struct();
            let times = cast(points.column(0), &DataType::Int64)?;
            let values = points.column(1).as_primitive::<T>();
            self.offer_all(values, times.as_primitive::<Int64Type>());
        }
        Ok(())
    }
}
