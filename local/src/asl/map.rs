//! Map states: the same states for every item, so many at a time.

use super::children::Children;
use super::context::{Context, Data, ExecutionInfo, MapItem};
use super::definition::{Items, Map, Mode, Setting};
use super::failure::{Failure, Halt};
use super::flow::Flow;
use super::items::{ItemStream, Lines};
use super::json;
use super::names;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most iterations of an inline Map that the service runs at a time.
const INLINE: u64 = 40;

impl Flow {
    pub(super) async fn map(
        &self,
        name: &str,
        map: &Map,
        input: &Value,
        context: &Context,
    ) -> Result<Value, Halt> {
        let data = Data { input, context };
        // Started, and succeeded or failed; a distributed Map also tells of its run.
        self.record(if matches!(map.mode, Mode::Inline) { 2 } else { 4 })?;
        let mut items = self.items(map, &data)?;
        let most = self.concurrency(map, &data)?;
        let limit = self.engine.options.data_limit;
        let mut tally = self.unless_stopped(Tally::new(map, &data, &items, limit)).await??;
        let mut children = Children::new(&self.scope);
        let mut started = 0;
        let mut more = true;
        loop {
            while more && children.len() < most {
                match self.unless_stopped(items.next()).await.and_then(|item| Ok(item?)) {
                    Ok(Some(value)) => {
                        if let Err(failure) = self.child(name, map, &data, &mut children, started, value) {
                            children.stop().await;
                            return Err(failure.into());
                        }
                        started += 1;
                    }
                    Ok(None) => more = false,
                    Err(halt) => {
                        children.stop().await;
                        return Err(halt);
                    }
                }
            }
            let Some((index, ended)) = children.next().await else { break };
            if let Err(halt) = tally.add(index, ended) {
                children.stop().await;
                return Err(halt);
            }
        }
        self.engine.check_bytes("the result", tally.bytes)?;
        Ok(Value::Array(tally.results.into_values().collect()))
    }

    fn items(&self, map: &Map, data: &Data<'_>) -> Result<ItemStream, Failure> {
        match &map.items {
            Items::Path(path) => match path.get("ItemsPath", data)? {
                Value::Array(values) => Ok(ItemStream::Values(values.into_iter())),
                other => {
                    Err(Failure::runtime(format!("ItemsPath names {}, not an array", json::kind(&other))))
                }
            },
            Items::Lines(parameters) => {
                let object = parameters.evaluate(data)?;
                let text = |name: &str| {
                    let text = object[name].as_str().map(str::to_owned);
                    text.ok_or_else(|| Failure::runtime(format!("the ItemReader's {name} is no string")))
                };
                let objects = Arc::clone(&self.engine.ports.objects);
                Ok(ItemStream::Lines(Lines::new(
                    objects,
                    text("Bucket")?,
                    text("Key")?,
                    self.engine.options.data_limit,
                )))
            }
        }
    }

    /// How many children may run at a time.
    fn concurrency(&self, map: &Map, data: &Data<'_>) -> Result<usize, Failure> {
        let asked = number(&map.concurrency, data)?.unwrap_or(0);
        let asked = match map.mode {
            Mode::Inline if asked == 0 => INLINE,
            Mode::Inline => asked.min(INLINE),
            Mode::Distributed { .. } if asked == 0 => {
                return Err(Failure::runtime("MaxConcurrencyPath names 0; a number from 1 is needed"));
            }
            Mode::Distributed { .. } => asked,
        };
        Ok(usize::try_from(asked).unwrap_or(usize::MAX).min(self.engine.options.max_concurrency.max(1)))
    }

    fn child(
        &self,
        name: &str,
        map: &Map,
        data: &Data<'_>,
        children: &mut Children,
        index: usize,
        value: Value,
    ) -> Result<(), Failure> {
        let item = Arc::new(MapItem { index, value });
        let input = match &map.selector {
            None => item.value.clone(),
            Some(selector) => {
                let context = data.context.with_item(Arc::clone(&item));
                selector.evaluate(&Data { input: data.input, context: &context })?
            }
        };
        self.engine.check_size("an item's input", &input)?;
        let place = format!("{}{name}[{index}]/", self.place).into();
        let flow = Self { scope: Arc::clone(&children.scope), place, ..self.clone() };
        let flow = match &map.mode {
            Mode::Inline => {
                self.record(2)?;
                Self { item: Some(item), ..flow }
            }
            Mode::Distributed { label, .. } => {
                let label = if label.is_empty() { name } else { label };
                let child = format!("{}/{label}:{index}", self.execution.name);
                let (machine, now) = (Arc::clone(&self.execution.machine), self.engine.ports.time.now());
                Self {
                    execution: Arc::new(ExecutionInfo::new(machine, child, input.clone(), now)),
                    item: None,
                    ..flow
                }
            }
        };
        children.spawn(index, flow.run(Arc::clone(&map.processor), input));
        Ok(())
    }
}

/// What the children gave so far, and how many failures are still tolerated.
struct Tally {
    results: BTreeMap<usize, Value>,
    /// The result's size as JSON. Results beyond the limit are counted and not held: the state will fail.
    bytes: usize,
    limit: usize,
    failed: usize,
    tolerance: Tolerance,
}

enum Tolerance {
    /// An inline Map fails as its child does.
    None,
    /// A distributed Map fails by a name of its own.
    UpTo(usize),
}

impl Tally {
    async fn new(map: &Map, data: &Data<'_>, items: &ItemStream, limit: usize) -> Result<Self, Failure> {
        let tolerance = match &map.mode {
            Mode::Inline => Tolerance::None,
            Mode::Distributed { tolerated_count, tolerated_percentage, .. } => {
                let count =
                    number(tolerated_count, data)?.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
                let share = match percentage(tolerated_percentage, data)? {
                    None => None,
                    Some(percentage) if percentage <= 0.0 => Some(0),
                    Some(percentage) if percentage >= 100.0 => Some(usize::MAX),
                    Some(percentage) => Some(part(items.count().await?, percentage)),
                };
                // Where both are given, the narrower one counts.
                Tolerance::UpTo(count.into_iter().chain(share).min().unwrap_or(0))
            }
        };
        Ok(Self { results: BTreeMap::new(), bytes: 2, limit, failed: 0, tolerance })
    }

    fn add(&mut self, index: usize, ended: Result<Value, Halt>) -> Result<(), Halt> {
        let value = match (ended, &self.tolerance) {
            (Ok(value), _) => value,
            (Err(Halt::Failed(failure)), Tolerance::UpTo(most)) => {
                self.failed += 1;
                if self.failed > *most {
                    let Failure { error, cause } = failure;
                    let cause = format!("{} item(s) failed; the last with {error}: {cause}", self.failed);
                    return Err(Failure::new(names::TOLERANCE, cause).into());
                }
                json!({ "Status": "FAILED", "Error": failure.error, "Cause": failure.cause })
            }
            (Err(halt), _) => return Err(halt),
        };
        let comma = usize::from(self.bytes > 2);
        self.bytes += json::size(&value) + comma;
        if self.bytes > self.limit {
            self.results.clear();
        } else {
            self.results.insert(index, value);
        }
        Ok(())
    }
}

/// The greatest number of items that is not more than that percentage of them.
fn part(items: usize, percentage: f64) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 items")]
    let share = items as f64 * percentage / 100.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of items"
    )]
    let share = share.floor() as usize;
    share
}

fn number(setting: &Setting<u64>, data: &Data<'_>) -> Result<Option<u64>, Failure> {
    match setting {
        Setting::Absent => Ok(None),
        Setting::Fixed(number) => Ok(Some(*number)),
        Setting::Path(field, path) => {
            let number = path.get(field, data)?.as_u64();
            number.map(Some).ok_or_else(|| Failure::runtime(format!("{field} names no whole number")))
        }
    }
}

fn percentage(setting: &Setting<f64>, data: &Data<'_>) -> Result<Option<f64>, Failure> {
    match setting {
        Setting::Absent => Ok(None),
        Setting::Fixed(number) => Ok(Some(*number)),
        Setting::Path(field, path) => {
            let number = path.get(field, data)?.as_f64().filter(|number| (0.0..=100.0).contains(number));
            number.map(Some).ok_or_else(|| Failure::runtime(format!("{field} names no number from 0 to 100")))
        }
    }
}
