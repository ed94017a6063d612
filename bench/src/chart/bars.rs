//! Bars.

use super::svg::{Anchor, Drawing, EDGE, WIDTH, cut};
use super::{Bars, short};

/// Where the bars begin: names stand to the left of it.
const LEFT: f64 = 300.0;
/// Where the longest bar may end: its value stands to the right of it.
const RIGHT: f64 = WIDTH - EDGE - 60.0;
/// As many letters as fit beside the bars.
const LETTERS: usize = 42;
const THICK: f64 = 9.0;
/// From one row to the next, beside its bars.
const GAP: f64 = 7.0;
const HEADING: f64 = 20.0;

pub(super) fn draw(bars: &Bars, drawing: &mut Drawing) {
    drawing.head(&bars.title, &bars.unit);
    legend(bars, drawing);
    let top = drawing.below + 46.0;
    let bottom = top + bars.groups.iter().map(|group| height(bars, group.rows.len())).sum::<f64>();
    let most = bars.groups.iter().flat_map(|group| &group.rows).flat_map(|row| &row.values);
    let step = step(most.copied().fold(0.0, f64::max));
    let (end, scale) = (step * 5.0, (RIGHT - LEFT) / (step * 5.0));
    let mut at = 0.0;
    while at <= end * 1.001 {
        let x = at.mul_add(scale, LEFT);
        drawing.grid((x, top), (x, bottom));
        drawing.text("v", Anchor::Middle, (x, bottom + 13.0), &short(at));
        at += step;
    }
    let mut y = top;
    for group in &bars.groups {
        let alone = group.rows.len() == 1;
        if !alone {
            drawing.text("g", Anchor::Start, (EDGE, y + 14.0), &cut(&group.name, LETTERS));
            y += HEADING;
        }
        for row in &group.rows {
            let name = match row.name.as_str() {
                "" => group.name.clone(),
                name if alone => format!("{}, {name}", group.name),
                name => name.to_owned(),
            };
            let tall = tall(bars);
            drawing.text("", Anchor::End, (LEFT - 8.0, y + tall / 2.0 + 4.0), &cut(&name, LETTERS));
            for (series, value) in row.values.iter().enumerate() {
                let long = (value * scale).max(0.0);
                drawing.bar(series, (LEFT, y), (long, THICK));
                drawing.text("v", Anchor::Start, (LEFT + long + 4.0, y + THICK - 0.5), &short(*value));
                y += THICK + 1.0;
            }
            y += tall - (THICK + 1.0) * count(row.values.len()) + GAP;
        }
    }
    drawing.below = bottom + 36.0;
}

/// What the colours stand for.
fn legend(bars: &Bars, drawing: &mut Drawing) {
    let (mut x, y) = (LEFT, drawing.below + 24.0);
    for (series, name) in bars.series.iter().enumerate() {
        drawing.bar(series, (x, y), (10.0, 10.0));
        drawing.text("", Anchor::Start, (x + 15.0, y + 9.0), name);
        x += count(name.chars().count()).mul_add(7.0, 36.0);
    }
}

/// The height of a group of so many rows.
fn height(bars: &Bars, rows: usize) -> f64 {
    let heading = if rows == 1 { 0.0 } else { HEADING };
    (tall(bars) + GAP).mul_add(count(rows), heading)
}

/// The height of a row's bars.
fn tall(bars: &Bars) -> f64 {
    (THICK + 1.0) * count(bars.series.len())
}

/// A fifth of the axis: the least of 1, 2 or 5 times a power of ten that makes room for a value.
fn step(most: f64) -> f64 {
    if most <= 0.0 || !most.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    steps.into_iter().find(|step| step * 5.0 >= most).unwrap_or(power * 10.0)
}

#[expect(clippy::cast_precision_loss, reason = "there are few")]
const fn count(number: usize) -> f64 {
    number as f64
}
