//! Functions whose result may be longer than what it is made of. The query engine reserves no memory for it,
//! and a few of them, one around the other, make more than any machine has: so these are measured first.

use std::{
    any::Any,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray as _},
    compute::{cast, kernels::concat_elements::concat_elements_utf8},
    datatypes::{DataType, Field, FieldRef},
};
use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    error::Result,
    execution::memory_pool::{MemoryConsumer, MemoryPool},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::{InList, Like, ScalarFunction},
        expr_rewriter::NamePreserver,
    },
    optimizer::AnalyzerRule,
    scalar::ScalarValue,
};

use super::SqlError;

/// The constants of a query may have so many bytes together, but for those with which something is compared:
/// they are repeated for each row.
const CONSTANTS: usize = 16 << 10;

/// How many bytes there are at most of a result, for each of the arguments.
fn growth(name: &str, args: &[ColumnarValue]) -> Option<usize> {
    Some(match name {
        CONCAT | "array_append" | "array_concat" | "array_prepend" | "array_union"
        | "arrays_zip" | "concat" | "make_array" | "map" | "overlay" => 1,
        // Letters of other lengths, and two digits for a byte.
        "encode" | "hex" | "initcap" | "lower" | "translate" | "upper" => 4,
        // Where each part begins.
        "string_to_array" => 8,
        // The longest that two letters of a format stand for.
        "to_char" => 24,
        "concat_ws" => args.len(),
        // One of the arguments may stand behind each letter of the first.
        "array_replace" | "array_replace_all" | "array_replace_n" | "array_to_string"
        | "regexp_match" | "regexp_replace" | "replace" => {
            1 + args.iter().skip(1).map(longest).max().unwrap_or(0)
        }
        _ => return None,
    })
}

/// The bytes of the longest value.
fn longest(arg: &ColumnarValue) -> usize {
    match arg {
        ColumnarValue::Scalar(value) => constant(value),
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => lengths(array.as_string::<i32>().offsets()),
            DataType::LargeUtf8 => lengths(array.as_string::<i64>().offsets()),
            _ => array.get_array_memory_size(),
        },
    }
}

fn lengths<T: arrow::array::OffsetSizeTrait>(offsets: &[T]) -> usize {
    let lengths = offsets.windows(2).map(|pair| pair[1] - pair[0]);
    lengths.max().map_or(0, T::as_usize)
}

/// The bytes of a constant.
fn constant(value: &ScalarValue) -> usize {
    match value.try_as_str() {
        Some(text) => text.map_or(0, str::len),
        None => value.size().saturating_sub(size_of_val(value)),
    }
}

/// The bytes of an argument for so many rows.
fn bytes(arg: &ColumnarValue, rows: usize) -> usize {
    match arg {
        ColumnarValue::Scalar(value) => constant(value).saturating_mul(rows),
        ColumnarValue::Array(array) => {
            let sliced = array.to_data().get_slice_memory_size();
            sliced.unwrap_or_else(|_| array.get_array_memory_size())
        }
    }
}

/// Has what makes long values measured, and refuses constants that are too long.
#[derive(Debug)]
pub(super) struct Measure(pub(super) Arc<dyn MemoryPool>);

impl AnalyzerRule for Measure {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut constants = 0;
        plan.apply_with_subqueries(|plan| {
            plan.apply_expressions(|expr| {
                constants += constants_of(expr)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        if constants > CONSTANTS {
            let reason = format!(
                "the constants of the query have {constants} bytes together, and may have {CONSTANTS}, but for those that something is compared with"
            );
            return Err(SqlError::Plan(reason).into_external());
        }
        let measured = plan.transform_up_with_subqueries(|plan| {
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let measured = expr.transform_up(|expr| Ok(self.measured(expr)))?;
                Ok(measured.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(measured.data)
    }

    fn name(&self) -> &'static str {
        "measure"
    }
}

impl Measure {
    fn measured(&self, expr: Expr) -> Transformed<Expr> {
        let (function, args) = match expr {
            Expr::ScalarFunction(ScalarFunction { func, args })
                if growth(func.name(), &[]).is_some()
                    && !func.inner().as_any().is::<Measured>() =>
            {
                (func, args)
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::StringConcat,
                right,
            }) => (
                Arc::new(ScalarUDF::from(Concat::new())),
                vec![*left, *right],
            ),
            other => return Transformed::no(other),
        };
        let pool = Arc::clone(&self.0);
        let measured = ScalarUDF::from(Measured { function, pool });
        Transformed::yes(measured.call(args))
    }
}

/// The bytes of the constants in an expression that are repeated for each row.
fn constants_of(expr: &Expr) -> Result<usize> {
    let is_constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    let of = |exprs: &[&Expr]| -> Result<usize> {
        let exprs = exprs.iter().filter(|expr| !is_constant(expr));
        exprs.map(|expr| constants_of(expr)).sum()
    };
    Ok(match expr {
        Expr::Literal(value, _) => constant(value),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            of(&[left, right])?
        }
        Expr::InList(InList { expr, list, .. }) => {
            of(&[expr])? + of(&list.iter().collect::<Vec<_>>())?
        }
        Expr::Like(Like { expr, pattern, .. }) => of(&[expr, pattern])?,
        _ => {
            let mut all = 0;
            expr.apply_children(|child| {
                all += constants_of(child)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            all
        }
    })
}

/// A function that runs when there is memory for its result.
#[derive(Debug)]
struct Measured {
    function: Arc<ScalarUDF>,
    pool: Arc<dyn MemoryPool>,
}

impl PartialEq for Measured {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Measured {}

impl Hash for Measured {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl ScalarUDFImpl for Measured {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.function.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.function.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn short_circuits(&self) -> bool {
        self.function.short_circuits()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let given = args.args.iter().map(|arg| bytes(arg, rows));
        let given = given.fold(0, usize::saturating_add);
        let growth = growth(self.name(), &args.args).unwrap_or(1);
        let consumer = MemoryConsumer::new(format!("the result of {}", self.name()));
        let room = consumer.register(&self.pool);
        room.try_grow(given.saturating_mul(growth))?;
        self.function.invoke_with_args(args)
    }
}

/// The operator `||` of texts.
const CONCAT: &str = "||";

/// See [`CONCAT`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct Concat(Signature);

impl Concat {
    fn new() -> Self {
        Self(Signature::any(2, Volatility::Immutable))
    }
}

impl ScalarUDFImpl for Concat {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        CONCAT
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let kind = args.arg_fields[0].data_type().clone();
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(CONCAT, kind, is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let text = |array: &ArrayRef| cast(array, &DataType::Utf8);
        let (left, right) = (text(&arrays[0])?, text(&arrays[1])?);
        let both = concat_elements_utf8(left.as_string::<i32>(), right.as_string::<i32>())?;
        let kind = args.return_field.data_type();
        Ok(ColumnarValue::Array(cast(&both, kind)?))
    }
}
