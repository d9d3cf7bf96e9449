//! Why the same input gives the same rows in the same order, and the plan changes that make it so.
//!
//! The engine plans for one partition. Then every operator sees its input in one order: scans read files and row
//! groups in sequence, a hash join keeps the order of its probe side and lists matches in the order of its build
//! side, an aggregate emits groups in the order in which they first came, and sums of floats add in that order.
//! Hash seeds decide nothing that can be seen. Two operators are left that take rows as they arrive: merging the
//! inputs of a union, and merging sorted streams. Both are replaced here by reading their inputs one after the other.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt};

/// `plan` with one output partition and one possible order of rows.
pub(super) fn fix(plan: Arc<dyn ExecutionPlan>, _threads: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = plan.transform_up(|node| {
        if let Some(coalesce) = node.downcast_ref::<CoalescePartitionsExec>() {
            let one = concatenated(coalesce.input().clone());
            let fetch = coalesce.fetch();
            return Ok(Transformed::yes(match fetch {
                Some(_) => Arc::new(GlobalLimitExec::new(one, 0, fetch)),
                None => one,
            }));
        }
        if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() {
            let sort = SortExec::new(merge.expr().clone(), concatenated(merge.input().clone()));
            return Ok(Transformed::yes(Arc::new(sort.with_fetch(merge.fetch()))));
        }
        // A join can make many rows of few without waiting for anything: it has to give way, or a query could not be
        // stopped in the middle of one.
        if node.is::<CrossJoinExec>() || node.is::<NestedLoopJoinExec>() || node.is::<HashJoinExec>() {
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node))));
        }
        Ok(Transformed::no(node))
    });
    Ok(concatenated(plan.data()?))
}

fn concatenated(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if input.properties().partitioning.partition_count() == 1 {
        input
    } else {
        Arc::new(ConcatenateExec::new(input))
    }
}

/// Reads the partitions of its input one after the other.
#[derive(Debug)]
struct ConcatenateExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ConcatenateExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let of = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            of.emission_type,
            of.boundedness,
        );
        Self { properties: Arc::new(properties), input }
    }
}

impl DisplayAs for ConcatenateExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConcatenateExec")
    }
}

impl ExecutionPlan for ConcatenateExec {
    fn name(&self) -> &'static str {
        "ConcatenateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(children.swap_remove(0))))
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(children.swap_remove(0))))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.clone();
        let partitions = input.properties().partitioning.partition_count();
        // Lazily, so that at any time one partition runs and uses memory.
        let streams = futures::stream::iter(0..partitions).map(move |i| input.execute(i, context.clone()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.input.schema(), streams.try_flatten())))
    }
}
