//! Which packs the tree segments of a base refer to, where their layers stay.

use crate::plan::{BackupDetail, Way, base_stream};
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_vault::error::{Error, Result};
use holdfast_vault::format::footer::Segment;
use holdfast_vault::format::header::Id;
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::model::StreamKind;
use std::collections::{BTreeSet, HashMap};

/// The packs that a segment of a tree names, by the segment's object, which is its place in the base, and its place there.
pub(super) type Referred = HashMap<(u32, u32), Vec<Id>>;

/// Opens the footers of all tree segments that this backup takes over from its base.
pub(super) async fn referred(
    services: &Services,
    detail: &BackupDetail,
    base: &Manifest,
) -> Result<Referred> {
    let mut objects = BTreeSet::new();
    for (number, info) in (0_u32..).zip(&detail.streams) {
        let plan = detail.stream_plan(number);
        if info.shape == StreamKind::Tree && plan.way != Way::Whole && !plan.compact {
            let layers = &base_stream(base, &info.name)?.layers;
            objects.extend(layers.iter().flat_map(|layer| &layer.segments).map(|segment| segment.object));
        }
    }
    let opening: Vec<_> = objects
        .into_iter()
        .filter_map(|at| base.objects.get(at as usize).map(|object| (at, object)))
        .map(|(at, object)| {
            let open = async move {
                let opened = services.vault.open_object(object.kind, object.id, object.size).await?;
                Ok::<_, Error>((at, opened.footer.segments))
            };
            open.boxed()
        })
        .collect();
    let opened: Vec<(u32, Vec<Segment>)> =
        stream::iter(opening).buffer_unordered(services.limits.objects_at_once).try_collect().await?;
    let mut referred = Referred::new();
    for (object, segments) in opened {
        for (place, segment) in (0_u32..).zip(segments) {
            if let Segment::Tree(tree) = segment {
                referred.insert((object, place), tree.packs);
            }
        }
    }
    Ok(referred)
}
