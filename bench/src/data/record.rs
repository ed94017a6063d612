//! One record of the shop as a line of JSON, by its identity alone.

use super::draw::{Draw, index};
use super::text::{Words, list, moment};
use std::fmt::{self, Write as _};

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Product,
    Customer,
    Order,
}

/// Which record, and which state of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The number of its file.
    pub(crate) file: u64,
    /// Its number in the file; it never changes.
    pub(crate) ordinal: u64,
    /// How often it was changed.
    pub(crate) revision: u64,
}

/// How far the ordinals of inserted records are from those of the first version.
pub(crate) const INSERTED: u64 = 1 << 40;

const CHANNELS: &[&str] = &["web", "app", "pos", "marketplace"];
const CATEGORIES: &[&str] = &[
    "Home & Garden",
    "Electronics",
    "Books",
    "Toys",
    "Sports & Outdoors",
    "Beauty",
    "Grocery",
    "Automotive",
    "Office",
    "Pet Supplies",
    "Music",
    "Clothing",
];
const CITIES: &[&str] = &[
    "Lisbon",
    "Hamburg",
    "Austin",
    "Lyon",
    "Krakow",
    "Osaka",
    "Toronto",
    "Porto Alegre",
    "Leeds",
    "Ghent",
    "Turin",
    "Perth",
    "Pune",
    "Seoul",
    "Bergen",
    "Valencia",
];
const COLORS: &[&str] = &["black", "white", "navy", "red", "sand", "forest green", "grey", "mustard"];
const COUNTRIES: &[&str] = &["PT", "DE", "US", "FR", "PL", "JP"];
const FIRST_NAMES: &[&str] = &[
    "Anna", "Ben", "Carla", "Dmitri", "Elena", "Farid", "Grace", "Hiro", "Ines", "Jack", "Kemal", "Lucia",
    "Marta", "Noah", "Olga", "Pedro", "Quinn", "Rosa", "Sven", "Tariq", "Uma", "Victor", "Wei", "Xenia",
    "Yusuf", "Zoe",
];
const LANGUAGES: &[&str] = &["en", "de", "pt", "fr", "ja"];
const METHODS: &[&str] = &["card", "paypal", "sepa", "klarna"];
const SIZES: &[&str] = &["S", "M", "L", "XL", "one size"];
const STATES: &[&str] =
    &["created", "paid", "picking", "packed", "shipped", "delivered", "returned", "cancelled"];
const THEMES: &[&str] = &["light", "dark", "system"];
const TIERS: &[&str] = &["bronze", "silver", "gold"];

/// Two sequences: one for what a record always is, one for what a revision changes.
struct Record<'a> {
    words: &'a Words,
    of: Identity,
    fixed: Draw,
    fresh: Draw,
}

/// Appends the record's line, with its end.
///
/// # Errors
/// None: text in memory can always be written.
pub(crate) fn write(kind: Kind, of: Identity, words: &Words, out: &mut String) -> fmt::Result {
    let fixed = Draw::of(1000 + of.file, of.ordinal, 0);
    let fresh = Draw::of(2000 + of.file, of.ordinal, of.revision);
    let mut record = Record { words, of, fixed, fresh };
    match kind {
        Kind::Product => record.product(out),
        Kind::Customer => record.customer(out),
        Kind::Order => record.order(out),
    }
}

/// The value of a record's field `id`, which is its key.
pub(crate) fn id(of: Identity, kind: Kind) -> String {
    let mut fixed = Draw::of(1000 + of.file, of.ordinal, 0);
    if kind == Kind::Customer {
        // A customer's name is drawn first.
        fixed.bits();
        fixed.bits();
    }
    uuid(&mut fixed)
}

impl Record<'_> {
    fn product(&mut self, out: &mut String) -> fmt::Result {
        let Self { words, of, fixed, fresh } = self;
        let (id, sku) = (uuid(fixed), of.ordinal * 7 + of.file);
        write!(out, r#"{{"id":"{id}","type":"product","sku":"SKU-{sku:010}","title":""#)?;
        words.passage(fixed, 3, 9, out);
        out.push_str(r#"","description":""#);
        words.passage(fixed, 35, 150, out);
        let price = Cents(fresh.within(199, 99_999));
        write!(out, r#"","price":{{"amount":{price},"currency":"EUR","tax_class":"standard"}}"#)?;
        let (category, color) = (fixed.pick(CATEGORIES), fixed.pick(COLORS));
        let (weight, size) = (fixed.within(20, 20_000), fixed.pick(SIZES));
        let ean = fixed.below(10_000_000_000_000);
        write!(out, r#","category":"{category}","attributes":{{"color":"{color}","weight_g":{weight}"#)?;
        write!(out, r#","size":"{size}","ean":"{ean:013}"}},"images":["#)?;
        let images = fixed.within(1, 4);
        list(out, images, |at, out| {
            write!(out, r#""https://cdn.example-shop.com/p/{:016x}/{at}.jpg""#, fixed.bits())
        })?;
        out.push_str(r#"],"stock":["#);
        list(out, 3, |at, out| {
            let (quantity, reserved) = (fresh.below(900), fresh.below(30));
            write!(out, r#"{{"warehouse":"WH-{:02}","qty":{quantity},"reserved":{reserved}}}"#, at + 1)
        })?;
        let (stars, tenths, ratings) = (fixed.within(1, 4), fixed.below(10), fixed.below(5000));
        let active = fixed.below(10) > 0;
        write!(out, r#"],"rating":{{"avg":{stars}.{tenths},"count":{ratings}}},"active":{active}"#)?;
        self.dates("updated_at", out)
    }

    fn customer(&mut self, out: &mut String) -> fmt::Result {
        let Self { words, fixed, fresh, .. } = self;
        let (first, last) = (fixed.pick(FIRST_NAMES), words.any(fixed));
        let id = uuid(fixed);
        write!(out, r#"{{"id":"{id}","type":"customer","name":{{"first":"{first}","last":"{last}"}}"#)?;
        let (user, number) = (first.to_lowercase(), fixed.below(10_000));
        let (country, phone) = (fixed.within(1, 99), fixed.below(1_000_000_000));
        write!(out, r#","email":"{user}.{last}{number}@example.com","phone":"+{country}{phone:09}""#)?;
        out.push_str(r#","addresses":["#);
        let addresses = fixed.within(1, 3);
        list(out, addresses, |_, out| address(fixed, words, out))?;
        let newsletter = fixed.below(2) == 0;
        let (language, theme) = (fixed.pick(LANGUAGES), fixed.pick(THEMES));
        write!(out, r#"],"preferences":{{"newsletter":{newsletter},"language":"{language}""#)?;
        write!(out, r#","currency":"EUR","theme":"{theme}"}},"segments":["#)?;
        let segments = fixed.within(1, 4);
        list(out, segments, |_, out| write!(out, r#""seg-{}""#, fixed.below(60)))?;
        out.push_str(r#"],"notes":""#);
        words.passage(fixed, 5, 40, out);
        let (tier, points) = (fixed.pick(TIERS), fresh.below(20_000));
        let (value, cents, orders) = (fresh.below(5000), fresh.below(100), fresh.below(80));
        write!(out, r#"","loyalty":{{"tier":"{tier}","points":{points}}},"ltv":{value}.{cents:02}"#)?;
        let (salt, upper, lower) = (fixed.bits(), fixed.bits(), fixed.bits());
        write!(out, r#","orders":{orders},"password_hash":"$argon2id$v=19$m=65536,t=3,p=4"#)?;
        write!(out, r#"${salt:016x}${upper:016x}{lower:016x}""#)?;
        self.dates("last_seen", out)
    }

    fn order(&mut self, out: &mut String) -> fmt::Result {
        let Self { words, of, fixed, fresh } = self;
        let (id, number) = (uuid(fixed), of.ordinal * 3 + of.file);
        let (customer, channel) = (uuid(fixed), fixed.pick(CHANNELS));
        write!(out, r#"{{"id":"{id}","type":"order","number":"ORD-2025-{number:09}""#)?;
        write!(out, r#","customer_id":"{customer}","channel":"{channel}","items":["#)?;
        let (items, mut total) = (fixed.within(1, 5), 0);
        list(out, items, |_, out| {
            let (quantity, price) = (fixed.within(1, 4), fixed.within(199, 49_999));
            total += quantity * price;
            write!(out, r#"{{"sku":"SKU-{:010}","title":""#, fixed.below(1_000_000))?;
            words.prose(fixed, 5, out);
            write!(out, r#"","qty":{quantity},"unit_price":{},"tax_rate":0.23}}"#, Cents(price))
        })?;
        write!(out, r#"],"total":{},"currency":"EUR","shipping_address":"#, Cents(total))?;
        address(fixed, words, out)?;
        let (method, digits, receipt) = (fixed.pick(METHODS), fixed.below(10_000), fixed.bits());
        write!(out, r#","payment":{{"method":"{method}","last4":"{digits:04}","auth":"{receipt:016x}"}}"#)?;
        out.push_str(r#","history":["#);
        // A changed order has gone one state further.
        let states = 1 + fixed.below(5) + of.revision.min(1);
        list(out, states, |at, out| {
            let state = STATES.get(index(at)).copied().unwrap_or("cancelled");
            write!(out, r#"{{"status":"{state}","at":""#)?;
            moment(if at + 1 == states { &mut *fresh } else { &mut *fixed }, out)?;
            write!(out, r#"","by":"svc-{}"}}"#, fixed.below(20))
        })?;
        let ip = [fixed.below(224), fixed.below(256), fixed.below(256), fixed.below(256)];
        write!(out, r#"],"ip":"{}.{}.{}.{}""#, ip[0], ip[1], ip[2], ip[3])?;
        self.revised("updated_at", out)
    }

    /// When the record was made, and the end of its line.
    fn dates(&mut self, revised: &str, out: &mut String) -> fmt::Result {
        out.push_str(r#","created_at":""#);
        moment(&mut self.fixed, out)?;
        out.push('"');
        self.revised(revised, out)
    }

    /// When the record was last changed, how often, and the end of its line.
    fn revised(&mut self, name: &str, out: &mut String) -> fmt::Result {
        write!(out, r#","{name}":""#)?;
        moment(&mut self.fresh, out)?;
        writeln!(out, r#"","version":{}}}"#, self.of.revision + 1)
    }
}

/// An amount of money.
struct Cents(u64);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

fn uuid(draw: &mut Draw) -> String {
    let (first, second) = (draw.bits(), draw.bits());
    let (low, mid, high) = (first >> 32, first >> 16 & 0xffff, first & 0xfff);
    let (variant, node) = (second >> 50 | 0x8000, second & 0xffff_ffff_ffff);
    format!("{low:08x}-{mid:04x}-4{high:03x}-{variant:04x}-{node:012x}")
}

fn address(draw: &mut Draw, words: &Words, out: &mut String) -> fmt::Result {
    let (city, street, house) = (draw.pick(CITIES), words.any(draw), draw.within(1, 400));
    let (postcode, country) = (draw.below(100_000), draw.pick(COUNTRIES));
    write!(out, r#"{{"line1":"{house} {street} street","line2":null,"city":"{city}""#)?;
    write!(out, r#","postcode":"{postcode:05}","country":"{country}"}}"#)
}
