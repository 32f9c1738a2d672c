//! Sources: what Cairn follows. They only append; only the runner writes the store.
//!
//! To add a source: create `sources/<name>.rs`, add a variant to [`SourceKind`] and an arm to
//! [`run`].

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use cairn_domain::{Address, Amount, BlockRef};
use tokio::sync::watch;

use crate::{
    health::{Health, Phase},
    log::{Log, Writer},
    store::Store,
};

mod chain;
mod config;
mod error;
pub mod evm;
pub mod file;
mod offers;
mod tip;

pub use chain::ChainWriter;
pub use config::{DeepReorg, RetryPolicy, SourceConfig, SourceKind};
pub use error::SourceError;
pub use offers::{NotTaken, Offers};
pub use tip::{ChainTip, Standing, TooDeep};

/// What a chain's own node says, where the log is not the whole truth.
#[async_trait]
pub trait NodeState: Send + Sync {
    /// The balance of an address at the end of a block, in the smallest unit.
    ///
    /// # Errors
    /// A sentence for the log when the node does not answer or does not know the block.
    async fn balance(&self, address: &Address, block: BlockRef) -> Result<Amount, String>;
}

/// What every source works with.
#[derive(Clone)]
pub struct SourceContext {
    /// Whose head says how far the fold has to be.
    pub log: Arc<dyn Log>,
    /// Takes what the source appends.
    pub writer: Arc<dyn Writer>,
    /// Says where the chain is.
    pub store: Arc<Store>,
    /// Shows how far the source is.
    pub health: Arc<Health>,
    /// Brings mended blocks to the sources of their chains.
    pub offers: Offers,
    /// Holds what sources remember (`sources/`) and could not decode (`dead-letters/`).
    pub data_dir: PathBuf,
}

/// Runs a source until it ends (a file), fails for good, or is told to stop.
///
/// A source that is told to stop may leave work undone that the next start takes up: what counts is
/// in the log.
///
/// # Errors
/// [`SourceError`]; it is also shown in the source's health.
pub async fn run(
    config: SourceConfig,
    context: SourceContext,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), SourceError> {
    let reporter = context.health.reporter(format!("source/{}", config.name));
    let work = async {
        match config.kind {
            SourceKind::EvmRpc => evm::run(&config, &context, &reporter).await,
            SourceKind::File => file::run(&config, &context, &reporter).await,
        }
    };
    let stopped = async {
        // A closed channel means that whoever started the source is gone.
        let _stop = shutdown.wait_for(|stop| *stop).await;
    };
    let result = tokio::select! {
        result = work => result,
        () = stopped => Ok(()),
    };
    if let Err(error) = &result {
        tracing::error!(source = config.name, %error, "source failed");
        reporter.explain(Phase::Failed, error.to_string());
    }
    result
}

/// What the node of a source says, for sources that have one.
///
/// # Errors
/// [`SourceError::Config`] where the node's address cannot be used.
pub fn node_state(config: &SourceConfig) -> Result<Option<Arc<dyn NodeState>>, SourceError> {
    match config.kind {
        SourceKind::EvmRpc => Ok(Some(Arc::new(evm::EvmNodeState::new(config)?))),
        SourceKind::File => Ok(None),
    }
}
