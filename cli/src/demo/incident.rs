//! The incident: a bad deployment writes wrong prices while the shop goes on selling, and is taken back in place.

use super::compare::{Snapshot, compare};
use super::item::{self, Item, Sum};
use super::report::{Incident, Name};
use super::shop::Table;
use super::story::{Seen, Story};
use crate::output::{count, counted, duration};
use holdfast_connectors::{OnConflict, RecordFilter};
use holdfast_vault::error::Result;
use holdfast_workflow::history::{Asked, Choice, Counting, Counts, Point, window};
use holdfast_workflow::plan::detail;
use holdfast_workflow::undo::{UndoDetail, UndoOf, UndoRequest};
use jiff::{SignedDuration, Timestamp};
use std::time::Instant;

/// So many products a deployment spoils, of a shop that has enough.
const SPOILED: u64 = 5_000;
/// Writes between two looks at the other side: bad ones and good ones take turns.
const TURN: usize = 250;
/// What a spoiled product is known by.
const MARK: &str = "name=undefined";

/// What is written during the incident.
struct Plan {
    spoiled: Vec<u64>,
    /// Products whose price was corrected by hand after the bad deployment.
    corrected: Vec<Item>,
    /// Stock that customers bought, of other products.
    bought: Vec<Item>,
    /// New products.
    added: Vec<Item>,
    /// New orders.
    orders: Vec<Item>,
}

impl Story<'_> {
    /// Spoils the products while good writes go on, shows what changed, takes the bad writes back and looks whether all
    /// good ones are still there.
    pub(super) async fn incident(&mut self, before: &Seen) -> Result<Incident> {
        self.begin("a bad deployment, seen and undone in place");
        let plan = self.plan();
        self.cloud.capture_if_asked(Table::Products.name()).await?;
        let from = Timestamp::now();
        self.write(&plan).await?;
        let to = Timestamp::now();
        self.cloud.capture_if_asked(Table::Products.name()).await?;
        // By hand, after the window: these must stay as they are.
        self.tables.put(Table::Products, plan.corrected.clone()).await?;
        let start = Instant::now();
        let asked = Asked {
            resource: Table::Products.name().to_owned(),
            from: Point::Time(from),
            to: Point::Time(to),
            stream: None,
        };
        let (all, bad) = (self.counted(&asked, &[]).await?, self.counted(&asked, &[MARK.to_owned()]).await?);
        let undone = self.undo(asked).await?;
        let took = start.elapsed();
        let expected = plan.expected(before);
        let wrong: Vec<String> = self.wrong(&expected).await?;
        let lost = wrong.len() as u64;
        self.differences.extend(wrong);
        let counts = undone.counts;
        let spoiled = plan.spoiled.len() as u64;
        let fits = bad.total() == spoiled
            && counts.undone == spoiled - plan.corrected.len() as u64
            && counts.conflicts == plan.corrected.len() as u64
            && counts.not_proved == 0;
        if !fits {
            self.differences.push(format!("the undo of {spoiled} products counts {counts:?}"));
        }
        let good = plan.good();
        let shown = duration(SignedDuration::try_from(took).unwrap_or_default());
        self.end(
            Name::Incident,
            format!(
                "Told from the captured changes and taken back record by record, in {shown} with the proof."
            ),
        );
        Ok(Incident {
            spoiled,
            good,
            window: all.total(),
            undone: counts.undone,
            kept: counts.conflicts,
            proved: counts.proved,
            lost,
        })
    }

    fn plan(&self) -> Plan {
        let shop = self.tables.shop();
        let all = shop.count(Table::Products);
        let spoiled = self.tables.spread(Table::Products, SPOILED.min(all * 4 / 5).max(1));
        let other: Vec<u64> = (0..all).filter(|number| spoiled.binary_search(number).is_err()).collect();
        let orders = shop.count(Table::Orders);
        Plan {
            corrected: spoiled.iter().step_by(250).map(|number| shop.corrected(*number)).collect(),
            bought: other.iter().take(1_000).map(|number| shop.bought(*number)).collect(),
            added: (all..all + 50).map(|number| shop.item(Table::Products, number)).collect(),
            orders: (orders..orders + 500).map(|number| shop.item(Table::Orders, number)).collect(),
            spoiled,
        }
    }

    /// Bad writes and good ones, taking turns.
    async fn write(&self, plan: &Plan) -> Result<()> {
        let good: Vec<&Item> = plan.bought.iter().chain(&plan.added).collect();
        let turns = plan.spoiled.len().div_ceil(TURN).max(1);
        let mut goods = good.chunks(good.len().div_ceil(turns).max(1));
        let mut orders = plan.orders.chunks(plan.orders.len().div_ceil(turns).max(1));
        for spoiled in plan.spoiled.chunks(TURN) {
            let shop = self.tables.shop();
            let bad = spoiled.iter().map(|number| shop.corrupted(*number)).collect();
            self.tables.put(Table::Products, bad).await?;
            if let Some(good) = goods.next() {
                self.tables.put(Table::Products, good.iter().copied().cloned().collect()).await?;
            }
            if let Some(orders) = orders.next() {
                self.tables.put(Table::Orders, orders.to_vec()).await?;
            }
        }
        Ok(())
    }

    async fn counted(&self, asked: &Asked, conditions: &[String]) -> Result<Counts> {
        let services = self.cloud.services();
        let choice = Choice { filter: RecordFilter::parse(conditions, None)?, keys: None };
        let mut counting = Counting::default();
        window(services, asked).await?.read(services, &choice, &mut counting).await?;
        let mut total = Counts::default();
        counting.0.iter().for_each(|(_, counts)| total += *counts);
        Ok(total)
    }

    async fn undo(&mut self, asked: Asked) -> Result<UndoDetail> {
        let filter = RecordFilter::parse(&[MARK.to_owned()], None)?;
        let of = UndoOf::Window { asked, filter };
        let request = UndoRequest { of, on_conflict: OnConflict::Skip };
        let job = Box::pin(self.cloud.run_undo(&self.cloud.new_id(), &request, None)).await?;
        detail(&job)
    }

    /// What is not as it should be after the undo, by the demo's own digests.
    async fn wrong(&self, expected: &[(Table, Snapshot<Sum>)]) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for (table, should) in expected {
            let is = self.tables.snapshot(table.name()).await?;
            wrong.extend(compare(should, &is).named(&format!("{} after the undo", table.name())));
        }
        Ok(wrong)
    }
}

impl Plan {
    fn good(&self) -> u64 {
        (self.corrected.len() + self.bought.len() + self.added.len() + self.orders.len()) as u64
    }

    /// What products and orders must be in the end: as they were, with every good write.
    fn expected(&self, before: &Seen) -> Vec<(Table, Snapshot<Sum>)> {
        let mut expected = Vec::new();
        for (table, was) in before.tables() {
            let (key, writes): (&[&str], Vec<&Item>) = match table {
                Table::Products => {
                    (&["sku"], self.bought.iter().chain(&self.added).chain(&self.corrected).collect())
                }
                Table::Orders => (&["customer", "order"], self.orders.iter().collect()),
                Table::Customers => continue,
            };
            let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
            let mut should = Snapshot { settings: was.settings.clone(), entries: was.entries.clone() };
            for item in writes {
                should.entries.insert(item::name(item, &key), item::sum(item));
            }
            expected.push((*table, should));
        }
        expected
    }
}

impl Incident {
    /// The lines that tell it.
    pub(super) fn lines(&self) -> [String; 3] {
        let records = |number| counted(number, "record");
        [
            format!(
                "{} of products spoiled while {} went on; the window holds {}",
                records(self.spoiled),
                counted(self.good, "good write"),
                records(self.window)
            ),
            format!(
                "{} put back, {} left alone since somebody had corrected them by hand",
                count(self.undone),
                count(self.kept)
            ),
            format!("{} compared after it, {} good writes lost", records(self.proved), count(self.lost)),
        ]
    }
}
