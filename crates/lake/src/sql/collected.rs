//! Aggregates that collect values into one: the value is bounded, since it is held several times over on its
//! way to the answer, and the query engine reserves little of that.

use std::{any::Any, sync::Arc};

use arrow::{
    array::{Array as _, ArrayRef},
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::resources_datafusion_err,
    error::Result,
    execution::SessionStateDefaults,
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
    scalar::ScalarValue,
};

/// Those that collect.
const COLLECT: &[&str] = &["array_agg", "string_agg"];

/// One value may have this part of the memory of a query.
const PART: usize = 32;

/// All aggregates, for queries with so many bytes of memory.
pub(super) fn aggregate_functions(memory: usize) -> Vec<Arc<AggregateUDF>> {
    let mut functions = SessionStateDefaults::default_aggregate_functions();
    for function in &mut functions {
        if COLLECT.contains(&function.name()) {
            let inner = AggregateUDF::clone(function);
            let most = memory / PART;
            *function = Arc::new(AggregateUDF::from(Bounded { inner, most }));
        }
    }
    functions
}

/// A function of the engine, with the most bytes that it may collect.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: AggregateUDF,
    most: usize,
}

impl AggregateUDFImpl for Bounded {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.inner().supports_null_handling_clause()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _is_ordered: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        // Told that rows come in order, the engine's takes those that come the other way round for it, too.
        let inner = self.inner.clone().with_beneficial_ordering(false)?;
        let most = self.most;
        Ok(inner.map(|inner| Arc::new(Self { inner, most }) as _))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let is_distinct = args.is_distinct;
        Ok(Box::new(Collector {
            inner: self.inner.accumulator(args)?,
            name: self.name().to_owned(),
            is_distinct,
            taken: 0,
            most: self.most,
        }))
    }
}

/// Counts what is collected.
#[derive(Debug)]
struct Collector {
    inner: Box<dyn Accumulator>,
    name: String,
    /// Then what comes again is not collected again: only the engine's knows how much there is.
    is_distinct: bool,
    taken: usize,
    most: usize,
}

impl Collector {
    fn take(&mut self, values: &[ArrayRef]) -> Result<()> {
        if !self.is_distinct {
            self.taken += bytes(values)?;
        }
        match self.size() <= self.most {
            true => Ok(()),
            false => Err(resources_datafusion_err!(
                "{} would collect more than {} bytes into one value",
                self.name,
                self.most
            )),
        }
    }
}

fn bytes(values: &[ArrayRef]) -> Result<usize> {
    let sizes = values
        .iter()
        .map(|array| array.to_data().get_slice_memory_size());
    Ok(sizes.sum::<std::result::Result<_, _>>()?)
}

impl Accumulator for Collector {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.take(values)?;
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size().max(self.taken)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.take(states)?;
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.taken = self.taken.saturating_sub(bytes(values)?);
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}
