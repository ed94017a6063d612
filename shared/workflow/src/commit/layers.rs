//! The layers of a backup's streams: those of its base, and what this backup adds to them.

use super::Placed;
use super::referred::Referred;
use crate::export::seen::Seen;
use crate::plan::{BackupDetail, StreamPlan, Way, base_stream};
use crate::services::Services;
use crate::upload::{Registered, registered};
use holdfast_common::jobs::Task;
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::footer::{DeltaCounts, Segment};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::manifest::{
    Layer, LayerKind, Manifest, SegmentRef, StoredObject, StreamManifest,
};
use holdfast_vault::model::StreamInfo;
use std::collections::{BTreeSet, HashMap};

/// What the tasks of a backup left behind.
pub(super) struct Left {
    /// Objects in the vault.
    pub(super) objects: Vec<StoredObject>,
    /// What increments saw, by stream.
    seen: HashMap<String, Seen>,
}

/// Reads what the tasks left behind.
pub(super) async fn left(services: &Services, job: &str, tasks: &[Task]) -> Result<Left> {
    let streams: HashMap<u32, &str> = tasks.iter().map(|task| (task.task, task.stream.as_str())).collect();
    let mut left = Left { objects: Vec::new(), seen: HashMap::new() };
    for row in services.jobs.pack_rows(job).all().await? {
        // Rows of a task that another plan made, if there was one.
        let Some(stream) = streams.get(&row.task) else { continue };
        match registered(&row)? {
            Registered::Object(object) => left.objects.push(object),
            Registered::Kept { .. } => {}
            Registered::Seen { seen } => {
                left.seen.entry((*stream).to_owned()).or_default().merge(&seen)?;
            }
        }
    }
    Ok(left)
}

/// The streams of a backup, and all the objects that it needs: first its own, then those of its base.
pub(super) struct Layered {
    pub(super) streams: Vec<StreamManifest>,
    pub(super) objects: Vec<StoredObject>,
}

/// Puts the streams of a backup together.
pub(super) fn layered(
    job: &str,
    detail: &BackupDetail,
    left: &Left,
    segments: &[Placed],
    base: Option<(&Manifest, &Referred)>,
) -> Result<Layered> {
    let mut joined = Layered { streams: Vec::new(), objects: left.objects.clone() };
    let mut places: HashMap<Id, u32> = (joined.objects.iter().zip(0..)).map(|(o, at)| (o.id, at)).collect();
    for (number, info) in (0_u32..).zip(&detail.streams) {
        let own = OwnLayer::gather(job, number, segments);
        let plan = detail.stream_plan(number);
        let stream = match base {
            Some((base, referred)) if plan.way != Way::Whole => {
                let old = base_stream(base, &info.name)?;
                let seen = left.seen.get(&info.name).cloned().unwrap_or_default();
                let mut stream = increment(info, old, own, &seen, plan)?;
                let named = named(number, segments, &stream, job, referred);
                inherit(&mut stream, base, job, &named, &mut joined.objects, &mut places)?;
                stream
            }
            _ => own.whole(info),
        };
        joined.streams.push(stream);
    }
    Ok(joined)
}

/// What this backup wrote of a stream.
struct OwnLayer {
    layer: Layer,
    records: u64,
    files: u64,
    bytes: u64,
    digest: DigestSum,
    delta: DeltaCounts,
}

impl OwnLayer {
    fn gather(backup: &str, number: u32, segments: &[Placed]) -> Self {
        let layer = Layer {
            kind: LayerKind::Base,
            backup: backup.to_owned(),
            delta: None,
            segments: Vec::new(),
            index: Vec::new(),
        };
        let (digest, delta) = (DigestSum::default(), DeltaCounts::default());
        let mut own = Self { layer, records: 0, files: 0, bytes: 0, digest, delta };
        for placed in segments.iter().filter(|placed| placed.what.origin().stream == number) {
            own.add(placed);
        }
        own
    }

    fn add(&mut self, placed: &Placed) {
        let blocks = placed.what.index();
        let (last, bytes): (&[u8], u64) = match &placed.what {
            Segment::Tree(tree) => {
                self.files += tree.files;
                self.digest.merge(&tree.digest);
                self.delta += tree.delta.unwrap_or_default();
                (&tree.last, tree.bytes)
            }
            Segment::Run(run) => {
                self.records += run.records();
                self.digest.merge(&run.digest);
                self.delta += run.delta.unwrap_or_default();
                (&run.last, run.bytes)
            }
            Segment::Chunks(_) | Segment::State(_) | Segment::Changes(_) => (&[], 0),
        };
        let reference = SegmentRef {
            object: placed.object,
            segment: placed.segment,
            first: blocks.fences.first().map_or_else(String::new, |fence| hex::encode(&fence.first)),
            last: hex::encode(last),
            count: blocks.total(),
            bytes,
        };
        self.bytes += bytes;
        match placed.what {
            Segment::Tree(_) | Segment::Run(_) => self.layer.segments.push(reference),
            Segment::Chunks(_) | Segment::State(_) | Segment::Changes(_) => self.layer.index.push(reference),
        }
    }

    fn whole(self, info: &StreamInfo) -> StreamManifest {
        StreamManifest {
            info: info.clone(),
            records: self.records,
            files: self.files,
            bytes: self.bytes,
            digest: hex::encode(self.digest.to_bytes()),
            layers: if self.layer.segments.is_empty() { Vec::new() } else { vec![self.layer] },
        }
    }
}

/// A stream on its base. What the tasks saw in the source must be what the layers hold: two counts that do not know of
/// each other.
fn increment(
    info: &StreamInfo,
    old: &StreamManifest,
    own: OwnLayer,
    seen: &Seen,
    plan: StreamPlan,
) -> Result<StreamManifest> {
    let wrong = |held: u64| {
        let message = format!(
            "stream {} has {} records or files in the source and {held} in its layers",
            info.name,
            seen.records + seen.files
        );
        Error::new(Code::Internal, message)
            .object(&info.name)
            .hint("start a backup of --type full; report this if it happens twice")
    };
    let digest = if seen.digest.is_empty() { DigestSum::default() } else { seen.sum()? };
    if plan.compact {
        let held = own.records + own.files;
        if held != seen.records + seen.files || own.bytes != seen.bytes || own.digest != digest {
            return Err(wrong(held));
        }
        return Ok(own.whole(info));
    }
    let before = old.records + old.files;
    let held = (before + own.delta.added).saturating_sub(own.delta.deleted);
    if held != seen.records + seen.files {
        return Err(wrong(held));
    }
    let mut layers = old.layers.clone();
    if !own.layer.segments.is_empty() {
        let kind = if layers.is_empty() { LayerKind::Base } else { LayerKind::Delta };
        layers.push(Layer { kind, delta: Some(own.delta), ..own.layer });
    }
    Ok(StreamManifest {
        info: info.clone(),
        records: seen.records,
        files: seen.files,
        bytes: seen.bytes,
        digest: hex::encode(digest.to_bytes()),
        layers,
    })
}

/// The packs that the entries of a tree may refer to: those that its segments name. Other packs of the base hold content
/// that nothing refers to any more.
fn named(
    number: u32,
    segments: &[Placed],
    stream: &StreamManifest,
    job: &str,
    referred: &Referred,
) -> BTreeSet<Id> {
    let own = segments.iter().filter(|placed| placed.what.origin().stream == number);
    let mut named: BTreeSet<Id> = own
        .filter_map(|placed| match &placed.what {
            Segment::Tree(tree) => Some(&tree.packs),
            _ => None,
        })
        .flatten()
        .copied()
        .collect();
    let kept = stream.layers.iter().filter(|layer| layer.backup != job).flat_map(|layer| &layer.segments);
    let packs = kept.filter_map(|segment| referred.get(&(segment.object, segment.segment)));
    named.extend(packs.flatten());
    named
}

/// Lets the layers of the base name their objects by their places in this backup, and takes those objects over.
fn inherit(
    stream: &mut StreamManifest,
    base: &Manifest,
    job: &str,
    named: &BTreeSet<Id>,
    objects: &mut Vec<StoredObject>,
    places: &mut HashMap<Id, u32>,
) -> Result<()> {
    let mut place = |object: &StoredObject| {
        *places.entry(object.id).or_insert_with(|| {
            objects.push(object.clone());
            u32::try_from(objects.len() - 1).unwrap_or(u32::MAX)
        })
    };
    let unknown = || Error::new(Code::Internal, format!("backup {} names an object it lacks", base.id));
    for layer in stream.layers.iter_mut().filter(|layer| layer.backup != job) {
        for segment in layer.segments.iter_mut().chain(&mut layer.index) {
            let object = base.objects.get(segment.object as usize).ok_or_else(unknown)?;
            segment.object = place(object);
        }
    }
    // Content of a tree stands in packs that only the entries name.
    let missing: Vec<&Id> = named.iter().filter(|id| !places.contains_key(*id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let known: HashMap<Id, &StoredObject> = base.objects.iter().map(|object| (object.id, object)).collect();
    let mut place = |object: &StoredObject| {
        places.entry(object.id).or_insert_with(|| {
            objects.push(object.clone());
            u32::try_from(objects.len() - 1).unwrap_or(u32::MAX)
        });
    };
    for id in missing {
        place(known.get(id).ok_or_else(unknown)?);
    }
    Ok(())
}
