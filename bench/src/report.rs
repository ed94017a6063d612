//! What a case measured: a table for people, JSON for programs, and what a chart shows of it.

use crate::chart::{Bars, Panel};
use crate::failure::{failed, internal};
use crate::measure::Usage;
use holdfast_vault::error::Result;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

/// What a case measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    case: &'static str,
    /// What holdfast says of its version.
    program: String,
    /// What the case was run with.
    settings: Vec<Fact>,
    steps: Vec<Step>,
    /// What was counted beside the steps.
    facts: Vec<Fact>,
    goals: Vec<Goal>,
    /// What a chart shows; where there is none, the steps.
    #[serde(skip)]
    panels: Vec<Panel>,
}

/// Something with a name and a value.
#[derive(Debug, Serialize)]
struct Fact {
    name: String,
    value: String,
}

/// One run of holdfast.
#[derive(Debug, Serialize)]
struct Step {
    name: String,
    #[serde(flatten)]
    usage: Usage,
    /// The vault's size after it, in bytes.
    vault_bytes: Option<u64>,
    /// By how much the vault grew, in bytes.
    added_bytes: Option<u64>,
}

/// What a goal is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Bytes,
    /// Bytes too, shown in MiB.
    Memory,
    Seconds,
    Milliseconds,
    Times,
    Reads,
    /// The power with which something grows.
    Power,
}

/// Which figures meet a goal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtMost(f64),
    Under(f64),
    AtLeast(f64),
}

/// How a figure stands to its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Met,
    NotMet,
    /// The program does not say the figure.
    NotMeasured,
    /// The goal is for other data than the case was run with.
    NotJudged,
}

#[derive(Debug, Serialize)]
struct Goal {
    name: String,
    unit: Unit,
    limit: Limit,
    figure: Option<f64>,
    verdict: Verdict,
}

impl Report {
    /// An empty report of a case.
    pub(crate) const fn new(case: &'static str, program: String) -> Self {
        Self {
            case,
            program,
            settings: Vec::new(),
            steps: Vec::new(),
            facts: Vec::new(),
            goals: Vec::new(),
            panels: Vec::new(),
        }
    }

    /// The case.
    pub(crate) const fn case(&self) -> &'static str {
        self.case
    }

    /// What holdfast says of its version.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// Notes what the case was run with.
    pub(crate) fn setting(&mut self, name: &str, value: impl fmt::Display) {
        self.settings.push(Fact { name: name.to_owned(), value: value.to_string() });
    }

    /// Notes a run of holdfast that leaves the vault alone.
    pub(crate) fn step(&mut self, name: impl Into<String>, usage: Usage) {
        self.steps.push(Step { name: name.into(), usage, vault_bytes: None, added_bytes: None });
    }

    /// Notes a run of holdfast that may write to the vault, by the vault's size before and after it.
    pub(crate) fn writing_step(&mut self, name: impl Into<String>, usage: Usage, before: u64, after: u64) {
        let added_bytes = Some(after.saturating_sub(before));
        self.steps.push(Step { name: name.into(), usage, vault_bytes: Some(after), added_bytes });
    }

    /// Notes what was counted beside the steps.
    pub(crate) fn fact(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        self.facts.push(Fact { name: name.into(), value: value.to_string() });
    }

    /// Judges a figure; `judged` is false where the goal is for other data.
    pub(crate) fn goal(&mut self, name: &str, unit: Unit, limit: Limit, figure: Option<f64>, judged: bool) {
        let verdict = match figure {
            _ if !judged => Verdict::NotJudged,
            None => Verdict::NotMeasured,
            Some(figure) if limit.is_met_by(figure) => Verdict::Met,
            Some(_) => Verdict::NotMet,
        };
        self.goals.push(Goal { name: name.to_owned(), unit, limit, figure, verdict });
    }

    /// Whether no goal was missed; one that could not be measured was not reached either.
    pub(crate) fn passed(&self) -> bool {
        self.goals.iter().all(|goal| matches!(goal.verdict, Verdict::Met | Verdict::NotJudged))
    }

    /// Has a chart show something else than the steps.
    pub(crate) fn panel(&mut self, panel: Panel) {
        self.panels.push(panel);
    }

    /// What a chart shows: what the case wants it to, else the times of its steps and what they stored.
    pub(crate) fn panels(&self) -> Vec<Panel> {
        if !self.panels.is_empty() {
            return self.panels.clone();
        }
        let bars = |title: &str, unit: &str, series: [&str; 2]| Bars {
            title: format!("{}: {title}", self.case),
            unit: unit.to_owned(),
            series: series.map(str::to_owned).to_vec(),
            groups: Vec::new(),
        };
        let mut time = bars("time", "s", ["wall", "processor, all threads"]);
        let mut stored = bars("stored", "MB", ["added", "in all"]);
        for Step { name, usage, vault_bytes, added_bytes } in &self.steps {
            time.row(name, vec![usage.wall_s, usage.cpu_s]);
            if let (Some(added), Some(all)) = (added_bytes, vault_bytes) {
                stored.row(name, vec![figure(*added) / 1e6, figure(*all) / 1e6]);
            }
        }
        [time, stored].into_iter().filter(|bars| !bars.groups.is_empty()).map(Panel::Bars).collect()
    }
}

/// Writes a report, or several, as JSON.
///
/// # Errors
/// What kept the file from being written.
pub(crate) fn save(reports: &impl Serialize, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string_pretty(reports)
        .map_err(|e| internal(format!("the report cannot be written as JSON: {e}")))?;
    text.push('\n');
    fs::write(path, text).map_err(|e| failed("write", path, &e))
}

impl Limit {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::Under(limit) => figure < limit,
            Self::AtLeast(limit) => figure >= limit,
        }
    }
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Bytes => megabytes(figure),
            Self::Memory => format!("{:.1} MiB", figure / 1_048_576.0),
            Self::Seconds => format!("{figure:.2} s"),
            Self::Milliseconds => format!("{figure:.1} ms"),
            Self::Times => format!("{figure:.2} times"),
            Self::Reads => format!("{figure:.0} reads"),
            Self::Power => format!("n^{figure:.2}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Met => "met",
            Self::NotMet => "NOT MET",
            Self::NotMeasured => "NOT MEASURED",
            Self::NotJudged => "not judged",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.case, self.program)?;
        for fact in &self.settings {
            writeln!(f, "  {}: {}", fact.name, fact.value)?;
        }
        let mut table = Table::new(&["STEP", "WALL S", "CPU S", "PEAK MIB", "VAULT MB", "ADDED MB"]);
        for step in &self.steps {
            let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |b| mega(figure(b)));
            table.row(vec![
                step.name.clone(),
                format!("{:.2}", step.usage.wall_s),
                format!("{:.2}", step.usage.cpu_s),
                format!("{:.1}", figure(step.usage.peak_bytes) / 1_048_576.0),
                size(step.vault_bytes),
                size(step.added_bytes),
            ]);
        }
        write!(f, "\n{table}")?;
        if !self.facts.is_empty() {
            writeln!(f)?;
        }
        for fact in &self.facts {
            writeln!(f, "{}: {}", fact.name, fact.value)?;
        }
        let mut table = Table::new(&["GOAL", "FIGURE", "LIMIT", ""]);
        for goal in &self.goals {
            let limit = match goal.limit {
                Limit::AtMost(limit) => format!("at most {}", goal.unit.show(limit)),
                Limit::Under(limit) => format!("under {}", goal.unit.show(limit)),
                Limit::AtLeast(limit) => format!("at least {}", goal.unit.show(limit)),
            };
            let figure = goal.figure.map_or_else(|| "n/a".to_owned(), |figure| goal.unit.show(figure));
            table.row(vec![goal.name.clone(), figure, limit, goal.verdict.to_string()]);
        }
        if self.goals.is_empty() { Ok(()) } else { write!(f, "\n{table}") }
    }
}

/// A count as a figure.
#[allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]
pub(crate) const fn figure(count: u64) -> f64 {
    count as f64
}

/// A size in millions of bytes, with its unit.
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{} MB", mega(bytes))
}

fn mega(bytes: f64) -> String {
    format!("{:.3}", bytes / 1e6)
}

/// Rows in columns as wide as they need: the first to the left, the others to the right.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(String::len).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if at == 0 {
                    write!(line, "{cell:<width$}")?;
                } else {
                    write!(line, "  {cell:>width$}")?;
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage { wall_s: 1.5, cpu_s: 2.25, peak_bytes: 3 << 20 };

    #[test]
    fn figures_are_judged_by_their_limits() {
        let judge = |limit, figure, judged| {
            let mut report = Report::new("case", "holdfast".to_owned());
            report.goal("goal", Unit::Bytes, limit, figure, judged);
            (report.goals[0].verdict, report.passed())
        };
        assert_eq!(judge(Limit::AtMost(4.0), Some(4.0), true), (Verdict::Met, true));
        assert_eq!(judge(Limit::Under(4.0), Some(4.0), true), (Verdict::NotMet, false));
        assert_eq!(judge(Limit::AtLeast(4.0), Some(4.0), true), (Verdict::Met, true));
        assert_eq!(judge(Limit::AtLeast(4.0), Some(3.9), true), (Verdict::NotMet, false));
        assert_eq!(judge(Limit::Under(4.0), None, true), (Verdict::NotMeasured, false));
        assert_eq!(judge(Limit::Under(4.0), Some(9.0), false), (Verdict::NotJudged, true));
    }

    #[test]
    fn a_report_reads_well_and_is_json_too() {
        let mut report = Report::new("chain", "holdfast 1".to_owned());
        report.setting("days", 2);
        report.writing_step("backup", USAGE, 1_000_000, 3_500_000);
        report.step("verify", USAGE);
        report.fact("equal", "yes");
        report.goal("added", Unit::Bytes, Limit::AtMost(4e6), Some(2.5e6), true);
        let wanted = "chain (holdfast 1)\n  days: 2\n\n\
             STEP    WALL S  CPU S  PEAK MIB  VAULT MB  ADDED MB\n\
             backup    1.50   2.25       3.0     3.500     2.500\n\
             verify    1.50   2.25       3.0         -         -\n\nequal: yes\n\n\
             GOAL     FIGURE             LIMIT\n\
             added  2.500 MB  at most 4.000 MB  met\n";
        assert_eq!(report.to_string(), wanted);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["steps"][0]["added_bytes"], 2_500_000);
        assert_eq!(json["goals"][0]["verdict"], "met");
        assert_eq!(json["panels"], serde_json::Value::Null);
    }

    #[test]
    fn a_chart_shows_the_steps_unless_the_case_shows_something_else() {
        let mut report = Report::new("records", "holdfast 1".to_owned());
        assert_eq!(report.panels(), []);
        report.writing_step("backup, holdfast 1", USAGE, 1_000_000, 3_500_000);
        report.step("verify, holdfast 1", USAGE);
        let panels = report.panels();
        let [Panel::Bars(time), Panel::Bars(stored)] = panels.as_slice() else { panic!("{panels:?}") };
        assert_eq!(time.groups[0].rows[0].values, [1.5, 2.25]);
        assert_eq!((time.groups.len(), stored.groups.len()), (2, 1));
        assert_eq!(stored.groups[0].rows[0].values, [2.5, 3.5]);
        report.panel(panels[1].clone());
        assert_eq!(report.panels().len(), 1);
    }
}
