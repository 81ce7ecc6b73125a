//! Freshness: asks the store what is there. Whether that is enough is decided in `policy::freshness`.

use crate::error::Result;
use crate::policy::freshness::{Freshness, FreshnessLimits};
use crate::repo::context::Context;
use crate::repo::inventory::Inventory;
use crate::repo::orphans;

/// Lists the store, and returns how fresh its databases are.
pub(crate) async fn freshness(context: &Context, limits: &FreshnessLimits) -> Result<Freshness> {
    let inventory = Inventory::read(context).await?;
    let orphans = orphans::find_all(context, &inventory).await?;
    Ok(Freshness::of(&inventory.listing, &orphans, limits, inventory.listing.listed_at))
}
