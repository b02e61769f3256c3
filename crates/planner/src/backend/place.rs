//! Whether two storages are one place (specification §1.6).

use crd_types::{Backend, BackupStorage};

use super::description::trimmed;
use crate::layout::StoragePrefix;

/// Whether two BackupStorages mean the same place: they would write over each other's
/// `metadata.yaml`.
///
/// Other than KubeStash's, the comparison of S3 looks at the endpoint too: one bucket's name at two
/// stores is two buckets. Local storages are never compared.
pub fn same_place(one: &BackupStorage, other: &BackupStorage) -> bool {
    match (place(one), place(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn place(storage: &BackupStorage) -> Option<Vec<String>> {
    let Backend { azure, gcs, local: _, provider, s3 } = storage.spec.storage.as_ref()?;
    let text = |written: &Option<String>| trimmed(written.as_deref()).map(ToOwned::to_owned).unwrap_or_default();
    let prefix = |written: &Option<String>| {
        let written = written.as_deref().unwrap_or_default();
        StoragePrefix::parse(written).map_or_else(|_| written.to_owned(), |prefix| prefix.as_str().to_owned())
    };
    let provider = provider.clone()?;
    let mut place = match provider.as_str() {
        "s3" => {
            let s3 = s3.as_ref()?;
            let endpoint = text(&s3.endpoint).to_ascii_lowercase();
            vec![endpoint, text(&s3.region), text(&s3.bucket), prefix(&s3.prefix)]
        }
        "gcs" => {
            let gcs = gcs.as_ref()?;
            vec![text(&gcs.bucket), prefix(&gcs.prefix)]
        }
        "azure" => {
            let azure = azure.as_ref()?;
            vec![text(&azure.storage_account), text(&azure.container), prefix(&azure.prefix)]
        }
        _ => return None,
    };
    place.push(provider);
    Some(place)
}
