//! Partners: who one is, and what it asked for.

use std::ops::ControlFlow;

use cairn_domain::projections::partners::{PartnerUsage, UsageKey, stream};
use cairn_engine::store::ReadView;

use crate::{
    error::ApiError,
    models::{DayOfUsage, Usage},
};

/// So many rows are shown at most.
const MOST: usize = 10_000;

/// What a partner asked for on some days, counted from 1970, both included.
pub(crate) fn usage(view: &ReadView, partner: &str, days: (u64, u64)) -> Result<Usage, ApiError> {
    let (first, last) = days;
    let mut usage = Usage {
        partner_id: partner.to_owned(),
        usage: Vec::new(),
        requests: 0,
        refused: 0,
    };
    let from = UsageKey {
        partner: partner.to_owned(),
        day: first,
        endpoint: String::new(),
    };
    view.scan::<PartnerUsage>(&stream(), &from.partner, Some(&from), |row| {
        let UsageKey { day, endpoint, .. } = row.key;
        if day > last || usage.usage.len() == MOST {
            return Ok(ControlFlow::Break(()));
        }
        usage.requests += row.value.requests;
        usage.refused += row.value.refused;
        usage.usage.push(DayOfUsage::new(day, endpoint, row.value));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(usage)
}
