//! Records on their way from a source or to a target, many in one allocation.

/// Some records, their keys and values side by side in one buffer.
#[derive(Debug, Default, Clone)]
pub struct RecordBatch {
    data: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    start: usize,
    key_len: u32,
    value_len: u32,
    origin: u64,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The canonical bytes of the key: for JSON the compact array of the key's values, in the order of the pointers.
    pub key: &'a [u8],
    /// The record's bytes, in the stream's encoding.
    pub value: &'a [u8],
    /// The record's place in its range, so that a fault can be reported: the line, counted from 0. 0 where unknown.
    pub origin: u64,
}

impl RecordBatch {
    /// An empty batch with room for so many bytes of keys and values.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { data: Vec::with_capacity(bytes), rows: Vec::new() }
    }

    /// Adds a record. Keys and values are shorter than 4 GiB.
    pub fn push(&mut self, key: &[u8], value: &[u8], origin: u64) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.rows.push(Row {
            start: self.data.len(),
            key_len: length(key),
            value_len: length(value),
            origin,
        });
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of keys and values together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Removes all records and keeps the room.
    pub fn clear(&mut self) {
        self.data.clear();
        self.rows.clear();
    }

    /// The records in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.rows.iter().map(|row| {
            let value_at = row.start + row.key_len as usize;
            RecordRef {
                key: &self.data[row.start..value_at],
                value: &self.data[value_at..value_at + row.value_len as usize],
                origin: row.origin,
            }
        })
    }
}
