//! Sums of exact numbers: wide enough never to wrap around, which the query engine's own would in silence.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode as _},
    },
    error::Result,
    logical_expr::{
        Expr, ExprSchemable as _, LogicalPlan, WindowFunctionDefinition,
        expr_rewriter::NamePreserver, utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

/// Functions that add up.
const SUMS: &[&str] = &["sum", "avg"];

/// Sums of numbers with more digits than this might not fit 128 bits.
const SAFE_DIGITS: u8 = 28;

/// Digits of 256 bits.
const MOST_DIGITS: u8 = 76;

/// See the module.
#[derive(Debug)]
pub(super) struct WideSums;

impl AnalyzerRule for WideSums {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(in_plan)?.data)
    }

    fn name(&self) -> &'static str {
        "wide_sums"
    }
}

fn in_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|expr| in_expression(expr, &schema))?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    })?
    // Types of those below may have changed, too.
    .map_data(LogicalPlan::recompute_schema)
}

fn in_expression(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let args = match &mut expr {
        Expr::AggregateFunction(sum) if SUMS.contains(&sum.func.name()) => &mut sum.params.args,
        Expr::WindowFunction(window) => match &window.fun {
            WindowFunctionDefinition::AggregateUDF(sum) if SUMS.contains(&sum.name()) => {
                &mut window.params.args
            }
            _ => return Ok(Transformed::no(expr)),
        },
        _ => return Ok(Transformed::no(expr)),
    };
    let mut is_changed = false;
    for arg in args {
        if let DataType::Decimal128(digits, scale) = arg.get_type(schema)?
            && digits > SAFE_DIGITS
        {
            let wide = DataType::Decimal256(MOST_DIGITS, scale);
            *arg = std::mem::take(arg).cast_to(&wide, schema)?;
            is_changed = true;
        }
    }
    Ok(match is_changed {
        true => Transformed::yes(expr),
        false => Transformed::no(expr),
    })
}
