//! Removes a throw-away prefix.

use crate::aws::{Side, Subject, Tell};
use aws_sdk_s3::Client;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use holdfast_vault::error::Result;

/// Deletions that are under way at a time.
const AT_ONCE: usize = 16;

/// Deletes every object whose key begins with the prefix, one by one: not every endpoint deletes many in one call.
/// Succeeds where there is none.
pub(crate) async fn remove_prefix(client: &Client, bucket: &str, prefix: &str) -> Result<()> {
    let subject = Subject::new("bucket", bucket, Side::Target);
    loop {
        let list = client.list_objects_v2().bucket(bucket).prefix(prefix).send();
        let page = list.await.map_err(|error| subject.fault("list", Tell::All, &error))?;
        let keys = page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
        let deletes: Vec<_> = keys.map(|key| client.delete_object().bucket(bucket).key(key).send()).collect();
        if deletes.is_empty() {
            return Ok(());
        }
        let mut ended = stream::iter(deletes).buffer_unordered(AT_ONCE);
        while let Some(_deleted) = ended
            .try_next()
            .await
            .map_err(|error| subject.fault("delete an object of", Tell::NoValues, &error))?
        {}
    }
}
