//! The records of the shop. Each follows from the seed and its number alone.

use super::item::{Attribute, Item};
use super::random::Random;
use super::words;
use jiff::Timestamp;

/// When the first order was placed: 2025-01-01.
const OPENED: i64 = 1_735_689_600;
/// Seconds between two orders.
const PACE: i64 = 840;
/// How long an order is kept: ten years, so that none expires while anybody looks.
const KEPT: i64 = 315_360_000;

/// A table of the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Products,
    Orders,
    Customers,
}

impl Table {
    pub(super) const ALL: [Self; 3] = [Self::Products, Self::Orders, Self::Customers];

    /// Its name, which is its resource's too.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Products => "shop-products",
            Self::Orders => "shop-orders",
            Self::Customers => "shop-customers",
        }
    }
}

/// A shop: how large it is, and the seed of its data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shop {
    seed: u64,
    records: u64,
}

impl Shop {
    /// A shop with so many records in all, at least one a table.
    pub(super) const fn new(seed: u64, records: u64) -> Self {
        Self { seed, records }
    }

    /// Records of a table.
    pub(super) fn count(self, table: Table) -> u64 {
        match table {
            Table::Products => (self.records / 8).max(1),
            Table::Customers => (self.records / 5).max(1),
            Table::Orders => {
                (self.records - self.count(Table::Products) - self.count(Table::Customers)).max(1)
            }
        }
    }

    /// A record of a table.
    pub(super) fn item(self, table: Table, number: u64) -> Item {
        match table {
            Table::Products => self.product(number),
            Table::Orders => self.order(number),
            Table::Customers => self.customer(number),
        }
    }

    /// A product, after somebody has imported the wrong file.
    pub(super) fn corrupted(self, number: u64) -> Item {
        let mut item = self.product(number);
        item.insert("name".to_owned(), text("undefined"));
        item.insert("price".to_owned(), cents(0));
        item.remove("description");
        item
    }

    /// A product after somebody has bought of it.
    pub(super) fn bought(self, number: u64) -> Item {
        let mut item = self.product(number);
        item.insert("sold".to_owned(), whole(number % 7 + 1));
        item
    }

    /// A spoiled product after somebody has put it right by hand.
    pub(super) fn corrected(self, number: u64) -> Item {
        let mut item = self.product(number);
        item.insert("checked_by".to_owned(), text("the night shift"));
        item
    }

    fn product(self, number: u64) -> Item {
        let random = &mut Random::of(self.seed, "product", number);
        let line = random.pick(&words::LINES);
        let name = format!("{} {} {line}", random.pick(&words::MATERIALS), random.pick(&words::THINGS));
        let reviews: Vec<u64> = (0..random.below(4)).map(|_| random.within(1, 5)).collect();
        let sentences = random.within(2, 5);
        let mut item = record([
            ("sku", text(sku(number))),
            ("name", text(name)),
            ("line", text(line)),
            ("category", text(random.pick(&words::CATEGORIES))),
            ("price", cents(self.price(number))),
            ("currency", text(words::CURRENCIES[0])),
            ("description", text(words::text(random, sentences))),
            ("stock", stock(random)),
            ("size", size(random)),
            ("tags", Attribute::Texts(some(random, &words::TAGS))),
            ("lengths_cm", Attribute::Numbers((0..3).map(|_| random.within(20, 200).to_string()).collect())),
            ("preview", Attribute::Bytes(random.bytes(24))),
            ("listed", Attribute::Bool(random.chance(92))),
            (
                "replaced_by",
                if random.chance(90) { Attribute::Null } else { text(sku(random.below(number + 1))) },
            ),
        ]);
        if let Some(rating) = mean(&reviews) {
            item.insert("rating".to_owned(), Attribute::Number(rating));
        }
        item.insert(
            "reviews".to_owned(),
            Attribute::List(reviews.iter().map(|s| review(random, *s)).collect()),
        );
        item
    }

    fn customer(self, number: u64) -> Item {
        let random = &mut Random::of(self.seed, "customer", number);
        let (first, last) = (random.pick(&words::FIRST_NAMES), random.pick(&words::LAST_NAMES));
        let products = self.count(Table::Products);
        let favourites = (0..random.below(6)).map(|_| text(sku(random.below(products)))).collect();
        let phones =
            (0..=random.below(2)).map(|_| format!("+41 {}", random.within(100_000_000, 999_999_999)));
        let mut item = record([
            ("customer", text(customer(number))),
            ("name", text(format!("{first} {last}"))),
            ("email", text(format!("customer.{number}@example.com"))),
            ("phones", Attribute::Texts(phones.collect())),
            ("address", address(random)),
            ("joined", time(OPENED - i64::try_from(random.below(60_000_000)).unwrap_or(0))),
            ("points", whole(random.below(20_000))),
            ("newsletter", Attribute::Bool(random.chance(40))),
            ("favourites", Attribute::List(favourites)),
            ("referrer", Attribute::Null),
        ]);
        if random.chance(15) {
            item.insert("note".to_owned(), text(words::text(random, 2)));
        }
        if random.chance(5) {
            let keys = (0..2).map(|_| random.bytes(32)).collect();
            item.insert("passkeys".to_owned(), Attribute::Blobs(keys));
        }
        item
    }

    fn order(self, number: u64) -> Item {
        let random = &mut Random::of(self.seed, "order", number);
        let placed = OPENED + i64::try_from(number).unwrap_or(0) * PACE;
        let (mut lines, mut total) = (Vec::new(), 0);
        for _ in 0..=random.below(4) {
            let product = random.below(self.count(Table::Products));
            let (price, quantity) = (self.price(product), random.within(1, 3));
            total += price * quantity;
            lines.push(Attribute::Map(record([
                ("sku", text(sku(product))),
                ("quantity", whole(quantity)),
                ("price", cents(price)),
            ])));
        }
        // Few customers place most of the orders.
        let regulars = random.below(self.count(Table::Customers)) + 1;
        let mut item = record([
            ("customer", text(customer(random.below(regulars)))),
            ("order", text(format!("O-{number:08}"))),
            ("placed_at", time(placed)),
            ("expires_at", whole(u64::try_from(placed + KEPT).unwrap_or(0))),
            ("status", text(random.pick(&words::STATUSES))),
            ("currency", text(random.pick(&words::CURRENCIES))),
            ("lines", Attribute::List(lines)),
            ("total", cents(total)),
            ("paid", Attribute::Bool(random.chance(95))),
        ]);
        let carrier = text(random.pick(&words::CARRIERS));
        item.insert(
            "shipping".to_owned(),
            Attribute::Map(record([("carrier", carrier), ("to", address(random))])),
        );
        if random.chance(10) {
            let coupons = (0..=random.below(2)).map(|_| format!("SAVE{}", random.within(5, 30))).collect();
            item.insert("coupons".to_owned(), Attribute::Texts(coupons));
        }
        if random.chance(8) {
            item.insert("gift_note".to_owned(), text(format!("{} 🎁", words::sentence(random, 9))));
        }
        item
    }

    /// What a product costs, in cents; orders know it too.
    fn price(self, product: u64) -> u64 {
        Random::of(self.seed, "price", product).within(250, 99_999)
    }
}

pub(super) fn sku(product: u64) -> String {
    format!("SKU-{product:06}")
}

pub(super) fn customer(number: u64) -> String {
    format!("C-{number:07}")
}

fn record<const N: usize>(attributes: [(&str, Attribute); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(text: impl Into<String>) -> Attribute {
    Attribute::Text(text.into())
}

fn whole(number: u64) -> Attribute {
    Attribute::Number(number.to_string())
}

fn cents(cents: u64) -> Attribute {
    Attribute::Number(format!("{}.{:02}", cents / 100, cents % 100))
}

fn time(second: i64) -> Attribute {
    text(Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_string())
}

fn stock(random: &mut Random) -> Attribute {
    let entry = |name: &&str| ((*name).to_owned(), whole(random.below(400)));
    Attribute::Map(words::WAREHOUSES.iter().map(entry).collect())
}

fn size(random: &mut Random) -> Attribute {
    let mut side = || Attribute::Number(random.within(10, 2_500).to_string());
    Attribute::Map(record([("width_mm", side()), ("height_mm", side()), ("depth_mm", side())]))
}

fn address(random: &mut Random) -> Attribute {
    let street = format!("{} {}", random.pick(&words::STREETS), random.within(1, 220));
    Attribute::Map(record([
        ("street", text(street)),
        ("city", text(random.pick(&words::CITIES))),
        ("code", text(random.within(1_000, 99_999).to_string())),
    ]))
}

fn review(random: &mut Random, stars: u64) -> Attribute {
    Attribute::Map(record([
        ("stars", whole(stars)),
        ("by", text(random.pick(&words::FIRST_NAMES))),
        ("text", text(words::text(random, 1))),
    ]))
}

/// Two or three of a list.
fn some<C: FromIterator<String>>(random: &mut Random, list: &[&str]) -> C {
    (0..random.within(2, 3)).map(|_| random.pick(list).to_owned()).collect()
}

/// The mean of a few stars to 38 digits, the most that a number may have.
fn mean(stars: &[u64]) -> Option<String> {
    let (sum, count) = (stars.iter().sum::<u64>(), stars.len() as u64);
    let mut rest = sum.checked_rem(count)?;
    let mut text = format!("{}.", sum / count);
    for _ in 0..37 {
        rest *= 10;
        text.push_str(&(rest / count).to_string());
        rest %= count;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::item::sum;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_same_seed_makes_the_same_shop_and_another_one_another() {
        let (shop, again, other) = (Shop::new(1, 1_000), Shop::new(1, 1_000), Shop::new(2, 1_000));
        for table in Table::ALL {
            for number in 0..20 {
                assert_eq!(shop.item(table, number), again.item(table, number));
                assert_ne!(sum(&shop.item(table, number)), sum(&other.item(table, number)));
            }
        }
    }

    #[test]
    fn a_shop_has_as_many_records_as_asked_for() {
        for records in [10, 11, 999, 50_000] {
            let shop = Shop::new(1, records);
            assert_eq!(Table::ALL.iter().map(|table| shop.count(*table)).sum::<u64>(), records);
        }
    }

    #[test]
    fn records_are_many_and_corrupted_ones_differ() {
        let shop = Shop::new(7, 5_000);
        let sums: BTreeSet<_> = (0..500).map(|number| sum(&shop.product(number))).collect();
        assert_eq!(sums.len(), 500);
        assert!((0..500).all(|number| sum(&shop.corrupted(number)) != sum(&shop.product(number))));
        assert_eq!(mean(&[5, 4, 4]).as_deref(), Some("4.3333333333333333333333333333333333333"));
        assert_eq!(mean(&[]), None);
    }
}
