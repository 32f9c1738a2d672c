//! Rows of groups for those who keep them. What makes groups hands them on as slices of all that it has, so
//! whoever keeps a few rows, such as the ten largest, keeps all of them, and is thought to have that memory, too.

#![expect(
    deprecated,
    reason = "no other operator of the engine copies rows into batches of their own"
)]

use std::sync::Arc;

use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode as _},
    },
    error::Result,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan,
        aggregates::{AggregateExec, AggregateMode},
        coalesce_batches::CoalesceBatchesExec,
    },
};

/// See the module.
#[derive(Debug)]
pub(super) struct OwnRows;

impl PhysicalOptimizerRule for OwnRows {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // More than one slice has, so that slices are copied.
        let rows = 2 * config.execution.batch_size;
        let owned = plan.transform_up(|plan| {
            let groups = plan.as_any().downcast_ref::<AggregateExec>();
            let ends = |groups: &AggregateExec| {
                *groups.mode() != AggregateMode::Partial && !groups.group_expr().is_empty()
            };
            Ok(match groups.is_some_and(ends) {
                true => Transformed::yes(Arc::new(CoalesceBatchesExec::new(plan, rows)) as _),
                false => Transformed::no(plan),
            })
        });
        Ok(owned?.data)
    }

    fn name(&self) -> &'static str {
        "owned rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
