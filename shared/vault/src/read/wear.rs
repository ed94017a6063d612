//! How much of each pack a tree stream still needs: what changed and what is gone stays in old packs as dead weight.

use super::tree_layers::{MergedTree, PathSpan};
use super::vault::Vault;
use crate::error::{Error, Result};
use crate::format::footer::Footer;
use crate::format::header::Id;
use crate::format::manifest::{Manifest, StreamManifest};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// How many footers are read side by side.
const AT_ONCE: usize = 16;

/// The packs of a tree stream of which less than `percent` is needed: of their content as it is stored, without the
/// entries that stand in them. Content that two files share counts for both, up to the block that it stands in, so that a
/// pack is rather spared than named.
///
/// Memory: 16 bytes a block of content that is needed.
///
/// # Errors
/// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
pub async fn worn_packs(
    vault: &Vault,
    manifest: &Arc<Manifest>,
    stream: &StreamManifest,
    percent: u32,
) -> Result<BTreeSet<Id>> {
    let needed = needed(vault, manifest, stream).await?;
    let looks: Vec<_> = manifest
        .objects
        .iter()
        .filter_map(|object| Some((object, needed.get(&object.id)?)))
        .map(|(object, needed)| {
            async move {
                let open = vault.open_object(object.kind, object.id, object.size).await?;
                Ok::<_, Error>(is_worn(&open.footer, needed, percent).then_some(object.id))
            }
            .boxed()
        })
        .collect();
    let found: Vec<Option<Id>> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Plain bytes that are needed of each block of each pack.
type Needed = HashMap<Id, HashMap<u32, u64>>;

async fn needed(vault: &Vault, manifest: &Arc<Manifest>, stream: &StreamManifest) -> Result<Needed> {
    let mut tree = MergedTree::new(vault, manifest, stream, PathSpan::default());
    let mut needed = Needed::new();
    while let Some(live) = tree.next().await? {
        let Some(own) = manifest.objects.get(live.object as usize).map(|object| object.id) else { continue };
        for extent in &live.entry.extents {
            // A pack that cannot be told is not worn: the entry stays as it is.
            let Some(pack) = live.pack_of(extent, own) else { continue };
            *needed.entry(pack).or_default().entry(extent.block).or_default() += u64::from(extent.length);
        }
    }
    Ok(needed)
}

fn is_worn(footer: &Footer, needed: &HashMap<u32, u64>, percent: u32) -> bool {
    let entries: Vec<Range<usize>> = footer
        .segments
        .iter()
        .map(|segment| {
            let index = segment.index();
            let first = index.first_block as usize;
            first..first + index.fences.len()
        })
        .collect();
    let (mut all, mut live) = (0_u128, 0_u128);
    for (number, block) in footer.blocks.iter().enumerate() {
        if entries.iter().any(|range| range.contains(&number)) {
            continue;
        }
        let of = u32::try_from(number).ok().and_then(|number| needed.get(&number)).copied().unwrap_or(0);
        let (sealed, plain) = (u128::from(block.sealed_len), u128::from(block.plain_len.max(1)));
        all += sealed;
        live += sealed * u128::from(of).min(plain) / plain;
    }
    live * 100 < all * u128::from(percent)
}
