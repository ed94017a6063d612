//! Lines over logarithmic axes.

use super::svg::{Anchor, Drawing, EDGE, WIDTH, cut};
use super::{Lines, short};
use std::ops::RangeInclusive;

const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 300.0;
const TALL: f64 = 260.0;

/// The powers of ten that an axis shows, and where they stand.
struct Axis {
    first: i32,
    last: i32,
    from: f64,
    to: f64,
}

pub(super) fn draw(lines: &Lines, drawing: &mut Drawing) {
    drawing.head(&lines.title, &lines.unit);
    let (top, bottom) = (drawing.below + 32.0, drawing.below + 32.0 + TALL);
    let points = || lines.all.iter().flat_map(|line| &line.points).filter(|at| at.0 > 0.0 && at.1 > 0.0);
    let across = Axis::new(points().map(|at| at.0), LEFT, RIGHT);
    let up = Axis::new(points().map(|at| at.1), bottom, top);
    for power in across.powers() {
        let x = across.place(10_f64.powi(power));
        drawing.grid((x, top), (x, bottom));
        drawing.text("v", Anchor::Middle, (x, bottom + 14.0), &tick(power));
    }
    for power in up.powers() {
        let y = up.place(10_f64.powi(power));
        drawing.grid((LEFT, y), (RIGHT, y));
        drawing.text("v", Anchor::End, (LEFT - 6.0, y + 3.5), &tick(power));
    }
    drawing.text("", Anchor::Middle, (f64::midpoint(LEFT, RIGHT), bottom + 32.0), &lines.across);
    let mut y = top;
    for (series, line) in lines.all.iter().enumerate() {
        let shown = line.points.iter().filter(|at| at.0 > 0.0 && at.1 > 0.0);
        let places: Vec<_> = shown.map(|at| (across.place(at.0), up.place(at.1))).collect();
        drawing.path(series, &places);
        drawing.bar(series, (RIGHT + 24.0, y), (10.0, 10.0));
        drawing.text("", Anchor::Start, (RIGHT + 39.0, y + 9.0), &cut(&line.name, 36));
        y += 20.0;
    }
    drawing.below = y.max(bottom) + 36.0 + EDGE;
}

impl Axis {
    #[expect(clippy::cast_possible_truncation, reason = "powers of ten are small")]
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs: Vec<f64> = values.map(f64::log10).filter(|log| log.is_finite()).collect();
        let least = logs.iter().copied().reduce(f64::min).unwrap_or(0.0).floor() as i32;
        let most = logs.iter().copied().reduce(f64::max).unwrap_or(1.0).ceil() as i32;
        Self { first: least, last: most.max(least + 1), from, to }
    }

    fn powers(&self) -> RangeInclusive<i32> {
        self.first..=self.last
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        part.mul_add(self.to - self.from, self.from)
    }
}

fn tick(power: i32) -> String {
    // Three digits would make a nought of these.
    if power < -3 { format!("1e{power}") } else { short(10_f64.powi(power)) }
}
