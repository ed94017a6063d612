//! Parallel states: all branches at once, over the same input.

use super::children::Children;
use super::definition::Parallel;
use super::failure::Halt;
use super::flow::Flow;
use serde_json::Value;
use std::sync::Arc;

impl Flow {
    pub(super) async fn parallel(
        &self,
        name: &str,
        parallel: &Parallel,
        input: &Value,
    ) -> Result<Value, Halt> {
        // Started, and succeeded or failed.
        self.record(2)?;
        let mut children = Children::new(&self.scope);
        for (index, branch) in parallel.branches.iter().enumerate() {
            let place = format!("{}{name}[{index}]/", self.place).into();
            let flow = Self { scope: Arc::clone(&children.scope), place, ..self.clone() };
            children.spawn(index, flow.run(Arc::clone(branch), input.clone()));
        }
        let mut results = vec![Value::Null; parallel.branches.len()];
        while let Some((index, ended)) = children.next().await {
            match ended {
                Ok(output) => results[index] = output,
                Err(halt) => {
                    children.stop().await;
                    return Err(halt);
                }
            }
        }
        let results = Value::Array(results);
        self.engine.check_size("the result", &results)?;
        Ok(results)
    }
}
