//! Layers of a manifest, made of the objects that a writer finished.

use holdfast_vault::format::footer::Segment;
use holdfast_vault::format::manifest::{Layer, LayerKind, Manifest, SegmentRef, StoredObject};
use holdfast_vault::read::Vault;
use holdfast_vault::write::FinishedObject;

/// Stores a writer's objects, and puts what stands in them on top of a stream as its next layer, if that is anything.
pub(crate) async fn add_layer(
    vault: &Vault,
    manifest: &mut Manifest,
    stream: usize,
    objects: Vec<FinishedObject>,
) {
    let is_base = manifest.streams[stream].layers.is_empty();
    let kind = if is_base { LayerKind::Base } else { LayerKind::Delta };
    let (segments, index) = (Vec::new(), Vec::new());
    let mut layer = Layer { kind, backup: manifest.id.clone(), delta: None, segments, index };
    let mut placed = Vec::new();
    for object in objects {
        let size = object.bytes.len() as u64;
        vault.storage().put_if_absent(&object.kind.object_key(object.id), object.bytes).await.unwrap();
        let opened = vault.open_object(object.kind, object.id, size).await.unwrap();
        let at = u32::try_from(manifest.objects.len()).unwrap();
        placed.extend((0_u32..).zip(opened.footer.segments).map(|(number, segment)| (at, number, segment)));
        let parts = object.parts.iter().map(|part| part.sha256.clone()).collect();
        manifest.objects.push(StoredObject { id: object.id, kind: object.kind, size, parts });
    }
    placed.sort_by_key(|(_, _, segment)| segment.origin());
    for (object, number, segment) in placed {
        let index = segment.index();
        let mut place = SegmentRef {
            object,
            segment: number,
            first: index.fences.first().map_or_else(String::new, |fence| hex::encode(&fence.first)),
            last: String::new(),
            count: index.total(),
            bytes: 0,
        };
        let delta = match &segment {
            Segment::Tree(tree) => {
                (place.last, place.bytes) = (hex::encode(&tree.last), tree.bytes);
                tree.delta
            }
            Segment::Run(run) => {
                (place.last, place.bytes) = (hex::encode(&run.last), run.bytes);
                run.delta
            }
            _ => {
                layer.index.push(place);
                continue;
            }
        };
        if let Some(counts) = delta {
            *layer.delta.get_or_insert_default() += counts;
        }
        layer.segments.push(place);
    }
    if !layer.segments.is_empty() {
        manifest.streams[stream].layers.push(layer);
    }
}
