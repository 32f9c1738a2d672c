//! `date_trunc` over the times of blocks, which stand in runs: the query engine is asked once for each run,
//! and without a time zone, since its calendar of zones takes most of the time of a query by the hour.

use std::{any::Any, sync::Arc};

use arrow::{
    array::{Array as _, AsArray as _, PrimitiveArray},
    datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType},
};
use cairn_domain::datasets::ColumnType;
use datafusion::{
    error::Result,
    functions::datetime::date_trunc,
    logical_expr::{
        ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature,
        sort_properties::{ExprProperties, SortProperties},
    },
};

use crate::schema::arrow_type;

type Times = PrimitiveArray<TimestampMicrosecondType>;

/// The function of the query engine, asked less often.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TruncateRuns(Arc<ScalarUDF>);

impl TruncateRuns {
    pub(super) fn new() -> Self {
        Self(date_trunc())
    }
}

impl ScalarUDFImpl for TruncateRuns {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.0.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let utc = arrow_type(ColumnType::Time);
        let Some(ColumnarValue::Array(times)) = args.args.get(1) else {
            return self.0.invoke_with_args(args);
        };
        if *times.data_type() != utc || times.null_count() > 0 {
            return self.0.invoke_with_args(args);
        }
        let times = times.as_primitive::<TimestampMicrosecondType>().clone();
        let runs: Vec<&[i64]> = times.values().chunk_by(|one, next| one == next).collect();
        let heads = Times::from_iter_values(runs.iter().map(|run| run[0]));

        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let without_zone = |field: &FieldRef| {
            let field = field.as_ref().clone();
            Arc::new(field.with_data_type(local.clone()))
        };
        args.number_rows = heads.len();
        args.args[1] = ColumnarValue::Array(Arc::new(heads));
        args.arg_fields[1] = without_zone(&args.arg_fields[1]);
        args.return_field = without_zone(&args.return_field);
        let heads = self.0.invoke_with_args(args)?.into_array(runs.len())?;
        let heads = heads.as_primitive::<TimestampMicrosecondType>().values();

        let each = heads.iter().zip(runs);
        let all = each.flat_map(|(head, run)| std::iter::repeat_n(*head, run.len()));
        let all = Times::from_iter_values(all).with_data_type(utc);
        Ok(ColumnarValue::Array(Arc::new(all)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::ArrayRef, datatypes::Field};
    use datafusion::{common::config::ConfigOptions, scalar::ScalarValue};
    use proptest::prelude::*;

    use super::*;

    fn truncated(function: &ScalarUDF, to: &str, times: &ArrayRef) -> ArrayRef {
        let field = |kind: &DataType| Arc::new(Field::new("time", kind.clone(), true));
        let args = ScalarFunctionArgs {
            args: vec![
                ColumnarValue::Scalar(ScalarValue::Utf8(Some(to.to_owned()))),
                ColumnarValue::Array(Arc::clone(times)),
            ],
            arg_fields: vec![field(&DataType::Utf8), field(times.data_type())],
            number_rows: times.len(),
            return_field: field(times.data_type()),
            config_options: Arc::new(ConfigOptions::new()),
        };
        let answer = function.invoke_with_args(args).expect("it truncates");
        answer.into_array(times.len()).expect("an array")
    }

    proptest! {
        /// Times of the years 1700 to 2200, in runs; sometimes none.
        #[test]
        fn runs_are_truncated_as_the_engine_truncates_each(
            runs in prop::collection::vec((-8_520_336_000_000_000..7_258_118_400_000_000_i64, 1..4_usize), 0..40),
            has_none in prop::bool::weighted(0.2),
        ) {
            let times = runs.iter().flat_map(|(time, many)| std::iter::repeat_n(Some(*time), *many));
            let times = Times::from_iter(times.chain(has_none.then_some(None)));
            let times: ArrayRef = Arc::new(times.with_data_type(arrow_type(ColumnType::Time)));
            let ours = ScalarUDF::from(TruncateRuns::new());
            for to in [
                "year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond",
                "microsecond",
            ] {
                prop_assert_eq!(
                    &truncated(&ours, to, &times),
                    &truncated(&date_trunc(), to, &times),
                    "{}", to
                );
            }
        }
    }
}
