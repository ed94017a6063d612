//! The words that the shop is made of.

use super::random::Random;

pub(super) const CATEGORIES: [&str; 8] =
    ["chairs", "tables", "lamps", "textiles", "kitchen", "garden", "storage", "books"];
pub(super) const CURRENCIES: [&str; 3] = ["EUR", "CHF", "SEK"];
pub(super) const FIRST_NAMES: [&str; 20] = [
    "Ada",
    "Björn",
    "Chloé",
    "Dmitri",
    "Elif",
    "François",
    "Grete",
    "Håkon",
    "Inês",
    "Jürgen",
    "Kateřina",
    "Łukasz",
    "María",
    "Nguyễn",
    "Ólafur",
    "Πηνελόπη",
    "さくら",
    "Søren",
    "Zoë",
    "Юлия",
];
pub(super) const LAST_NAMES: [&str; 20] = [
    "Andersen",
    "Bäcker",
    "Castaño",
    "Dvořák",
    "Ekström",
    "Fernández",
    "Grønli",
    "Horváth",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lefèvre",
    "Müller",
    "Nováková",
    "O’Brien",
    "Petrović",
    "Rossi",
    "Şahin",
    "Tanaka",
    "Weiß",
];
pub(super) const CITIES: [&str; 12] = [
    "Århus",
    "Bern",
    "Córdoba",
    "Dublin",
    "Gdańsk",
    "Kraków",
    "Lyon",
    "Malmö",
    "Napoli",
    "Praha",
    "Reykjavík",
    "Zürich",
];
pub(super) const STREETS: [&str; 8] = [
    "Birkenweg",
    "Calle Mayor",
    "Dockside",
    "Långgatan",
    "Náměstí",
    "Rue de l’Église",
    "Via Roma",
    "Østergade",
];
pub(super) const CARRIERS: [&str; 4] = ["post", "courier", "bike", "pick-up"];
pub(super) const STATUSES: [&str; 5] = ["new", "paid", "shipped", "delivered", "returned"];
pub(super) const WAREHOUSES: [&str; 4] = ["north", "south", "east", "west"];
pub(super) const TAGS: [&str; 12] = [
    "bestseller",
    "clearance",
    "fragile",
    "gift",
    "handmade",
    "limited",
    "new",
    "organic",
    "outdoor",
    "recycled",
    "vegan",
    "☀ summer",
];
pub(super) const MATERIALS: [&str; 10] =
    ["Oak", "Linen", "Steel", "Glass", "Wool", "Bamboo", "Cork", "Ceramic", "Leather", "Walnut"];
pub(super) const THINGS: [&str; 12] = [
    "Chair", "Table", "Lamp", "Blanket", "Teapot", "Bowl", "Shelf", "Stool", "Clock", "Vase", "Basket",
    "Mirror",
];
pub(super) const LINES: [&str; 10] =
    ["Oslo", "Fjäll", "Luna", "Brise", "Étoile", "Nordwand", "Kanso", "Mistral", "Alba", "Ærø"];

const TEXT: [&str; 64] = [
    "a",
    "after",
    "airy",
    "and",
    "around",
    "balanced",
    "bright",
    "built",
    "by",
    "calm",
    "carefully",
    "clean",
    "colour",
    "comfortable",
    "corner",
    "day",
    "design",
    "durable",
    "easy",
    "every",
    "everyday",
    "evening",
    "fits",
    "for",
    "from",
    "gentle",
    "hand",
    "home",
    "in",
    "inside",
    "is",
    "it",
    "kitchen",
    "lasting",
    "light",
    "made",
    "morning",
    "natural",
    "of",
    "on",
    "our",
    "outside",
    "quiet",
    "room",
    "season",
    "simple",
    "small",
    "soft",
    "solid",
    "space",
    "strong",
    "summer",
    "that",
    "the",
    "to",
    "use",
    "warm",
    "weather",
    "wherever",
    "winter",
    "with",
    "workshop",
    "years",
    "your",
];

/// A sentence of so many words.
pub(super) fn sentence(random: &mut Random, words: u64) -> String {
    let mut text = String::new();
    for at in 0..words {
        let word = random.pick(&TEXT);
        if at == 0 {
            let mut letters = word.chars();
            text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            text.push_str(letters.as_str());
        } else {
            text.push(' ');
            text.push_str(word);
        }
    }
    text.push('.');
    text
}

/// Some sentences.
pub(super) fn text(random: &mut Random, sentences: u64) -> String {
    let sentences: Vec<String> = (0..sentences)
        .map(|_| {
            let words = random.within(6, 14);
            sentence(random, words)
        })
        .collect();
    sentences.join(" ")
}
