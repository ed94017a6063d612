//! Checks that states hang together.

use super::definition::Graph;
use super::fields::Place;
use holdfast_vault::Result;
use std::collections::BTreeSet;

impl Graph {
    /// Every target exists, every state is reached, and some state ends the graph.
    pub(super) fn check(&self, place: &Place) -> Result<()> {
        let names = self.states.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let hint = format!("states here: {names}");
        if !self.states.contains_key(&self.start) {
            return Err(place.field("StartAt").error(format!("there is no state '{}'", self.start), hint));
        }
        for state in self.states.values() {
            for (field, target) in state.targets() {
                if !self.states.contains_key(target) {
                    let here = place.state(&state.name).field(&field);
                    return Err(here.error(format!("there is no state '{target}' beside it"), hint));
                }
            }
        }
        let reached = self.reached();
        if let Some(state) = self.states.values().find(|state| !reached.contains(state.name.as_str())) {
            let here = place.state(&state.name);
            return Err(
                here.error("is never reached", "lead a Next, Default, Catch or StartAt to it, or remove it")
            );
        }
        if !self.states.values().any(super::definition::State::is_terminal) {
            let hint = "write \"End\": true in a state, or add a Succeed or a Fail";
            return Err(place.field("States").error("no state is the last one", hint));
        }
        Ok(())
    }

    fn reached(&self) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![self.start.as_str()];
        while let Some(name) = waiting.pop() {
            if reached.insert(name) {
                let targets =
                    self.states.get(name).map(super::definition::State::targets).unwrap_or_default();
                waiting.extend(targets.into_iter().map(|(_, target)| target));
            }
        }
        reached
    }
}
