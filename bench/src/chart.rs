//! Charts of what was measured: plain SVG that reads in light and in dark.

mod bars;
mod lines;
mod svg;

use svg::Drawing;

/// A part of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Panel {
    Bars(Bars),
    Lines(Lines),
}

/// Bars from the left, those of one row below each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) unit: String,
    /// What the bars of a row are, in the order of their values.
    pub(crate) series: Vec<String>,
    pub(crate) groups: Vec<Group>,
}

/// Rows that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
}

/// What was measured of one thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Empty where the group's name says it.
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

/// Lines over two logarithmic axes; points that are not above zero have no place there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lines {
    pub(crate) title: String,
    /// What the horizontal axis counts.
    pub(crate) across: String,
    /// The unit of the vertical axis.
    pub(crate) unit: String,
    pub(crate) all: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Bars {
    /// Adds a row named `GROUP, NAME`, to the last group where that has the same name.
    pub(crate) fn row(&mut self, name: &str, values: Vec<f64>) {
        let (group, name) = name.split_once(", ").unwrap_or((name, ""));
        let row = Row { name: name.to_owned(), values };
        match self.groups.last_mut() {
            Some(last) if last.name == group => last.rows.push(row),
            _ => self.groups.push(Group { name: group.to_owned(), rows: vec![row] }),
        }
    }
}

/// Draws panels below each other, under a title.
pub(crate) fn draw(title: &str, panels: &[Panel]) -> String {
    let mut drawing = Drawing::new(title);
    for panel in panels {
        match panel {
            Panel::Bars(of) => bars::draw(of, &mut drawing),
            Panel::Lines(of) => lines::draw(of, &mut drawing),
        }
    }
    drawing.finish()
}

/// A number in three digits, without zeros that say nothing.
fn short(value: f64) -> String {
    let size = value.abs();
    for (least, letter) in [(1e9, " G"), (1e6, " M"), (1e4, " k")] {
        // What would be rounded up to the next letter is close enough to it.
        if size >= least * 0.9995 {
            let unit = if letter == " k" { 1e3 } else { least };
            return format!("{}{letter}", short(value / unit));
        }
    }
    let digits = match size {
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads just enough XML to know that every element is closed in its turn and nothing stands open; returns the texts.
    fn texts_of(svg: &str) -> Vec<String> {
        let (mut rest, mut open, mut texts) = (svg, Vec::new(), Vec::new());
        while let Some(at) = rest.find('<') {
            let text = &rest[..at];
            assert!(!text.contains('>'), "{text}");
            if !text.trim().is_empty() {
                texts.push(text.to_owned());
            }
            let end = at + rest[at..].find('>').unwrap();
            let tag = &rest[at + 1..end];
            assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "{tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap());
            }
            rest = &rest[end + 1..];
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
        for text in &texts {
            for piece in text.split('&').skip(1) {
                let name = piece.split(';').next().unwrap();
                assert!(["amp", "lt", "gt", "quot", "apos"].contains(&name), "{text}");
            }
        }
        texts
    }

    fn panels() -> Vec<Panel> {
        let series = vec!["wall".to_owned(), "<processor>".to_owned()];
        let mut bars =
            Bars { title: "Time & more".to_owned(), unit: "s".to_owned(), series, groups: Vec::new() };
        bars.row("first backup, holdfast 1", vec![1.5, 2.25]);
        bars.row("first backup, a \"peer\" of <2>", vec![4.0, 0.0]);
        bars.row("alone", vec![0.5]);
        let line = Line { name: "a & b".to_owned(), points: vec![(1e5, 2.0), (1e6, 19.0), (0.0, 1.0)] };
        let lines = Lines {
            title: "Growth".to_owned(),
            across: "records".to_owned(),
            unit: "s".to_owned(),
            all: vec![line],
        };
        vec![Panel::Bars(bars), Panel::Lines(lines)]
    }

    #[test]
    fn a_chart_is_well_formed_whatever_its_texts_hold() {
        let texts = texts_of(&draw("A <title> & its 'end'\u{1}", &panels()));
        for wanted in [
            "A &lt;title&gt; &amp; its &apos;end&apos;\u{fffd}",
            "Time &amp; more, s",
            "&lt;processor&gt;",
            "a &quot;peer&quot; of &lt;2&gt;",
            "first backup",
            "alone",
            "a &amp; b",
            "1 M",
            "2.25",
        ] {
            assert!(texts.iter().any(|text| text == wanted), "{wanted}: {texts:?}");
        }
    }

    #[test]
    fn a_chart_of_nothing_is_one_too() {
        let empty =
            Lines { title: String::new(), across: String::new(), unit: String::new(), all: Vec::new() };
        let bars = Bars { title: String::new(), unit: String::new(), series: Vec::new(), groups: Vec::new() };
        let svg = draw("", &[Panel::Lines(empty), Panel::Bars(bars)]);
        texts_of(&svg);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn rows_of_one_name_stand_together() {
        let Panel::Bars(bars) = &panels()[0] else { panic!("the first panel is of bars") };
        let rows: Vec<_> = bars.groups.iter().map(|group| (group.name.as_str(), group.rows.len())).collect();
        assert_eq!(rows, [("first backup", 2), ("alone", 1)]);
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.025, 1.0, 2.25, 19.04, 305.7, 1234.0, 999_296.0, 1e6, 2.5e9];
        let shown = numbers.map(short);
        assert_eq!(shown, ["0", "0.025", "1", "2.25", "19", "306", "1234", "999 k", "1 M", "2.5 G"]);
    }
}
