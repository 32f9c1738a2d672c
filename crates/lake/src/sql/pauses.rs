//! Pauses in what multiplies rows: a join may make very many rows of one that it read, and whoever adds
//! them up would neither look at the clock nor notice that nobody waits any more.

use std::sync::Arc;

use datafusion::{
    common::{
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode as _},
    },
    error::Result,
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{ExecutionPlan, coop::CooperativeExec},
};

/// What may make more rows than it reads.
const MULTIPLY: &[&str] = &[
    "CrossJoinExec",
    "HashJoinExec",
    "NestedLoopJoinExec",
    "PiecewiseMergeJoinExec",
    "RecursiveQueryExec",
    "SortMergeJoinExec",
    "SymmetricHashJoinExec",
    "UnnestExec",
];

/// See the module.
#[derive(Debug)]
pub(super) struct Pauses;

impl PhysicalOptimizerRule for Pauses {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let with_pauses = plan.transform_up(|plan| {
            Ok(match MULTIPLY.contains(&plan.name()) {
                true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as _),
                false => Transformed::no(plan),
            })
        });
        Ok(with_pauses?.data)
    }

    fn name(&self) -> &'static str {
        "pauses"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
