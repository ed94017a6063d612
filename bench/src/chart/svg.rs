//! A few shapes of SVG, below each other, and texts that cannot break out of it.

/// How wide a drawing is.
pub(super) const WIDTH: f64 = 960.0;
/// What is left free at the edges.
pub(super) const EDGE: f64 = 16.0;
/// How many colours there are.
const COLOURS: usize = 6;

/// Colours that differ for colour-blind eyes too, darker on light and lighter on dark.
const STYLE: &str = "\
svg{background:#fff}\
text{font:12px system-ui,sans-serif;fill:#24292f}\
.h{font-size:18px;font-weight:600}.t{font-size:14px;font-weight:600}.g{font-weight:600}\
.v{font-size:10px;fill:#57606a}\
.grid{stroke:#d0d7de;stroke-width:1}.paper{fill:#fff}\
.c0{fill:#0072b2}.c1{fill:#e69f00}.c2{fill:#009e73}.c3{fill:#cc79a7}.c4{fill:#d55e00}.c5{fill:#56b4e9}\
.l{fill:none;stroke-width:2}\
.l0{stroke:#0072b2}.l1{stroke:#e69f00}.l2{stroke:#009e73}.l3{stroke:#cc79a7}.l4{stroke:#d55e00}.l5{stroke:#56b4e9}\
@media (prefers-color-scheme:dark){\
svg{background:#0d1117}text{fill:#e6edf3}.v{fill:#9da7b3}.grid{stroke:#30363d}.paper{fill:#0d1117}\
.c0{fill:#58a6ff}.l0{stroke:#58a6ff}.c4{fill:#ff8c42}.l4{stroke:#ff8c42}}";

/// Which end of a text stands at its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing that grows downwards.
pub(super) struct Drawing {
    title: String,
    parts: Vec<String>,
    /// Where the next panel begins.
    pub(super) below: f64,
}

impl Drawing {
    pub(super) fn new(title: &str) -> Self {
        let mut drawing = Self { title: escape(title), parts: Vec::new(), below: 52.0 };
        drawing.text("h", Anchor::Start, (EDGE, 30.0), title);
        drawing
    }

    /// A text whose base line stands at a place.
    pub(super) fn text(&mut self, class: &str, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        self.parts.push(format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// A filled box in the colour of a series.
    pub(super) fn bar(&mut self, series: usize, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let colour = series % COLOURS;
        self.parts.push(format!(
            "<rect class=\"c{colour}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        ));
    }

    /// A line of the grid.
    pub(super) fn grid(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
        self.parts.push(format!(
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\"/>"
        ));
    }

    /// A line through points, each of them marked, in the colour of a series.
    pub(super) fn path(&mut self, series: usize, points: &[(f64, f64)]) {
        let colour = series % COLOURS;
        let places: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.parts.push(format!("<polyline class=\"l l{colour}\" points=\"{}\"/>", places.join(" ")));
        for (x, y) in points {
            self.parts.push(format!("<circle class=\"c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>"));
        }
    }

    /// The title of a panel, at its top.
    pub(super) fn head(&mut self, title: &str, unit: &str) {
        self.text("t", Anchor::Start, (EDGE, self.below + 14.0), &format!("{title}, {unit}"));
    }

    pub(super) fn finish(self) -> String {
        let (title, height, parts) = (self.title, self.below, self.parts.join("\n"));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n{parts}\n</svg>\n"
        )
    }
}

/// A text as XML may hold it.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            // XML has no way to write these.
            _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            _ => safe.push(letter),
        }
    }
    safe
}

/// A text of at most so many letters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{}…", kept.trim_end())
}
