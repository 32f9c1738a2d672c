//! Exports that have no outcome yet.

use std::{ops::ControlFlow, sync::Arc};

use cairn_domain::{
    events::ExportRequested,
    projections::exports::{OpenExports, stream},
};

use super::queue::Waiting;
use crate::node::Shard;

/// See the module.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) waiting: Vec<Waiting>,
    pub(super) under_way: Vec<ExportRequested>,
    /// Whether all shards could be read.
    pub(super) all_read: bool,
}

impl Open {
    /// Those of some shards. One that cannot be read does not hold up the others; its health says why.
    pub(super) fn read<'a>(
        shards: impl Iterator<Item = &'a Arc<Shard>>,
        under_way: Vec<ExportRequested>,
    ) -> Self {
        let (mut waiting, mut all_read) = (Vec::new(), true);
        for shard in shards {
            match requests(shard) {
                Ok(requests) => waiting.extend(requests),
                Err(_) => all_read = false,
            }
        }
        waiting.retain(|one: &Waiting| under_way.iter().all(|other| other.id != one.request.id));
        Self {
            waiting,
            under_way,
            all_read,
        }
    }
}

fn requests(shard: &Shard) -> anyhow::Result<Vec<Waiting>> {
    let mut open = Vec::new();
    let view = shard.store()?.view(None)?;
    view.scan::<OpenExports>(&stream(), &(), None, |row| {
        open.push(Waiting {
            time: row.value.requested_at,
            shard: shard.name.clone(),
            request: row.value.request,
        });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(open)
}
