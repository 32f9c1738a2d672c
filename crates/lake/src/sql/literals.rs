//! Literals beside columns of hashes, accounts, exact numbers and bytes: `'0xABC…'` in any case just works.

use arrow::datatypes::DataType;
use cairn_domain::Amount;
use datafusion::{
    common::{
        DFSchema, ExprSchema as _, ScalarValue,
        config::ConfigOptions,
        plan_datafusion_err,
        tree_node::{Transformed, TreeNode as _},
    },
    error::Result,
    logical_expr::{
        Between, Expr, LogicalPlan,
        expr::InList,
        expr_rewriter::NamePreserver,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
    sql::sqlparser::ast::BinaryOperator,
};

use super::names::Kind;

/// See the module.
#[derive(Debug)]
pub(super) struct Literals;

impl ExprPlanner for Literals {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if compares(&expr.op) {
            if let Some(kind) = kind_of(&expr.left, schema) {
                expr.right = adapted(expr.right, kind)?;
            } else if let Some(kind) = kind_of(&expr.right, schema) {
                expr.left = adapted(expr.left, kind)?;
            }
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn compares(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq, Spaceship};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | Spaceship)
}

impl AnalyzerRule for Literals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(in_plan)?.data)
    }

    fn name(&self) -> &'static str {
        "literals"
    }
}

/// What the planner does not ask about: lists and ranges.
fn in_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if schema.fields().is_empty() {
        schema = plan.schema().as_ref().clone();
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let changed = expr.transform_up(|expr| in_expression(expr, &schema))?;
        Ok(changed.update_data(|expr| name.restore(expr)))
    })
}

fn in_expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::InList(list) => match kind_of(&list.expr, schema) {
            None => Ok(Transformed::no(Expr::InList(list))),
            Some(kind) => {
                let values = list.list.into_iter().map(|value| adapted(value, kind));
                let values = values.collect::<Result<_>>()?;
                let list = InList::new(list.expr, values, list.negated);
                Ok(Transformed::yes(Expr::InList(list)))
            }
        },
        Expr::Between(range) => match kind_of(&range.expr, schema) {
            None => Ok(Transformed::no(Expr::Between(range))),
            Some(kind) => {
                let low = Box::new(adapted(*range.low, kind)?);
                let high = Box::new(adapted(*range.high, kind)?);
                let range = Between::new(range.expr, range.negated, low, high);
                Ok(Transformed::yes(Expr::Between(range)))
            }
        },
        other => Ok(Transformed::no(other)),
    }
}

fn kind_of(expr: &Expr, schema: &DFSchema) -> Option<Kind> {
    match expr {
        Expr::Column(column) => Kind::of_field(schema.field_from_column(column).ok()?),
        Expr::OuterReferenceColumn(field, _) => Kind::of_field(field),
        Expr::Alias(alias) => kind_of(&alias.expr, schema),
        _ => None,
    }
}

/// A literal as a column of this kind has it; other expressions stay.
fn adapted(expr: Expr, kind: Kind) -> Result<Expr> {
    let Expr::Literal(value, metadata) = expr else {
        return Ok(expr);
    };
    let adapted = match value.try_as_str().flatten() {
        None => None,
        Some(text) => match kind {
            Kind::Hex => lower_case(text, &value.data_type()),
            Kind::Word => Some(word(text)?),
            Kind::Bytes => bytes(text)?,
        },
    };
    Ok(Expr::Literal(adapted.unwrap_or(value), metadata))
}

/// The digits behind `0x`, if it is that.
fn digits(text: &str) -> Option<&str> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then_some(digits)
}

fn lower_case(text: &str, kind: &DataType) -> Option<ScalarValue> {
    digits(text)?;
    let lower = Some(text.to_ascii_lowercase());
    Some(match kind {
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(lower),
        DataType::Utf8View => ScalarValue::Utf8View(lower),
        _ => ScalarValue::Utf8(lower),
    })
}

/// An exact number, in hex or decimal.
fn word(text: &str) -> Result<ScalarValue> {
    let wrong = || {
        plan_datafusion_err!(
            "'{text}' is no number of 256 bits; write it as '0x…' in hex, or as '123…' in decimal"
        )
    };
    let bytes = match digits(text) {
        None => {
            let amount: Amount = text.parse().map_err(|_| wrong())?;
            amount.0.to_be_bytes::<32>().to_vec()
        }
        Some(digits) => {
            let digits = digits.trim_start_matches('0');
            if digits.len() > 64 {
                return Err(wrong());
            }
            const_hex::decode(format!("{digits:0>64}")).map_err(|_| wrong())?
        }
    };
    Ok(ScalarValue::FixedSizeBinary(32, Some(bytes)))
}

fn bytes(text: &str) -> Result<Option<ScalarValue>> {
    let prefixed = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let Some(digits) = prefixed else {
        return Ok(None);
    };
    let decoded = const_hex::decode(digits).map_err(|_| {
        plan_datafusion_err!("'{text}' is not bytes in hex; write two hex digits a byte behind 0x")
    })?;
    Ok(Some(ScalarValue::Binary(Some(decoded))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_from_hex_of_any_length_and_from_decimal() {
        let hex = word("0x2A").expect("a word");
        assert_eq!(hex, word("42").expect("a word"));
        assert_eq!(hex, word(&format!("0x{:0>70}", "2a")).expect("a word"));
        assert!(word(&format!("0x1{:0>64}", "")).is_err());
        assert!(word("forty-two").is_err());
    }

    #[test]
    fn bytes_need_whole_bytes() {
        let some = ScalarValue::Binary(Some(vec![0xab]));
        assert_eq!(bytes("0xAB").expect("bytes"), Some(some));
        assert_eq!(bytes("text").expect("text"), None);
        assert!(bytes("0xabc").is_err());
    }
}
