//! The items of a Map: values of an array, or lines of an object that are read as they are needed.

use super::failure::Failure;
use super::names;
use super::ports::Objects;
use serde_json::Value;
use std::sync::Arc;

/// The items that are still to come.
pub(super) enum ItemStream {
    Values(std::vec::IntoIter<Value>),
    Lines(Lines),
}

impl ItemStream {
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        match self {
            Self::Values(values) => Ok(values.next()),
            Self::Lines(lines) => lines.next_value().await,
        }
    }

    /// How many items there are in all; for lines this reads the whole object once.
    pub(super) async fn count(&self) -> Result<usize, Failure> {
        match self {
            Self::Values(values) => Ok(values.len()),
            Self::Lines(lines) => {
                let mut lines = lines.again();
                let mut count = 0;
                while lines.next_line().await?.is_some() {
                    count += 1;
                }
                Ok(count)
            }
        }
    }
}

/// Reads an object line by line. Holds one piece of it, and no line longer than an item may be.
pub(super) struct Lines {
    objects: Arc<dyn Objects>,
    bucket: String,
    key: String,
    longest: usize,
    offset: u64,
    /// Bytes that were read; those before `used` belong to lines that were given out.
    held: Vec<u8>,
    used: usize,
    number: u64,
    ended: bool,
}

impl Lines {
    pub(super) fn new(objects: Arc<dyn Objects>, bucket: String, key: String, longest: usize) -> Self {
        Self { objects, bucket, key, longest, offset: 0, held: Vec::new(), used: 0, number: 0, ended: false }
    }

    fn again(&self) -> Self {
        Self::new(Arc::clone(&self.objects), self.bucket.clone(), self.key.clone(), self.longest)
    }

    fn failure(&self, problem: &str) -> Failure {
        let (bucket, key, number) = (&self.bucket, &self.key, self.number);
        Failure::new(names::ITEM_READER, format!("{bucket}/{key}, line {number}: {problem}"))
    }

    async fn next_value(&mut self) -> Result<Option<Value>, Failure> {
        let Some(line) = self.next_line().await? else { return Ok(None) };
        serde_json::from_slice(&line).map(Some).map_err(|_| self.failure("is not JSON"))
    }

    /// The next line that is not blank.
    async fn next_line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let end = self.line_end().await?;
            if end == self.used && self.ended && self.used == self.held.len() {
                return Ok(None);
            }
            self.number += 1;
            let line = self.held[self.used..end].trim_ascii().to_vec();
            self.used = (end + 1).min(self.held.len());
            if line.len() > self.longest {
                return Err(self.failure(&format!("is longer than {} bytes", self.longest)));
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// Where the line that begins at `used` ends, after reading as far as that needs.
    async fn line_end(&mut self) -> Result<usize, Failure> {
        let mut searched = self.used;
        loop {
            if let Some(at) = self.held[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(searched + at);
            }
            searched = self.held.len();
            // A line that is too long already need not be read to its end.
            if self.ended || searched - self.used > self.longest {
                return Ok(searched);
            }
            searched -= self.used;
            self.held.drain(..self.used);
            self.used = 0;
            let read = self.objects.read(&self.bucket, &self.key, self.offset).await;
            let read = read.map_err(|failure| {
                let (bucket, key) = (&self.bucket, &self.key);
                Failure::new(
                    names::ITEM_READER,
                    format!("{bucket}/{key}: {}: {}", failure.error, failure.cause),
                )
            })?;
            self.ended = read.is_empty();
            self.offset += read.len() as u64;
            self.held.extend(read);
        }
    }
}
