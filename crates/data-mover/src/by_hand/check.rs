//! `check`.

use repository::maintenance::{CheckError, CheckOptions, CheckReport, DamagedBlob, DamagedPlace, ReadData};
use repository::{BlobType, PackId};
use serde_json::json;

use super::arguments::Check;
use super::failure::Failure;
use super::output::Output;
use super::progress::Work;
use super::session::{Access, Session};
use super::text;
use super::values::ReadSubset;

pub async fn run(session: &Session, arguments: &Check) -> Result<(), Failure> {
    let options = CheckOptions { read: what_to_read(arguments) };
    let report = session
        .with_repository(Access::Read, async |repository, lock| {
            let _progress = session.progress(&session.output, Work::Packs);
            Ok(repository.check(&lock, options, &session.control).await?)
        })
        .await?;
    tell(&session.output, &report)?;
    let errors = report.errors.len() as u64 + report.errors_omitted;
    if errors == 0 {
        return Ok(());
    }
    Err(Failure::Faults(format!("the repository has {errors} errors; everything that they do not name can be restored")))
}

fn what_to_read(arguments: &Check) -> ReadData {
    match arguments.read_data_subset {
        _ if arguments.read_data => ReadData::All,
        None => ReadData::None,
        Some(ReadSubset::Part { number, of }) => ReadData::Part { index: number - 1, of },
        Some(ReadSubset::Percent(percent)) => by_chance(percent),
    }
}

/// One of as many parts as are at least so large.
fn by_chance(percent: f64) -> ReadData {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of parts, and a cast stays in bounds")]
    let of = (100.0 / percent) as u16;
    if of <= 1 { ReadData::All } else { ReadData::Part { index: rand::random_range(0..of), of } }
}

fn tell(output: &Output, report: &CheckReport) -> Result<(), Failure> {
    for error in &report.errors {
        output.warn(error);
    }
    if report.errors_omitted > 0 {
        output.warn(format_args!("and {} more", report.errors_omitted));
    }
    tell_damage(output, report)?;
    if output.json {
        let summary = json!({
            "message_type": "summary",
            "num_errors": report.errors.len() as u64 + report.errors_omitted,
            "broken_packs": broken_packs(report),
            "num_damaged_blobs": report.damaged_blobs.len() as u64 + report.damaged_blobs_omitted,
            "suggest_repair_index": report.errors.iter().any(|error| matches!(error, CheckError::Damaged(damage) if damage.key.starts_with("index/"))),
            "suggest_prune": !report.unindexed_packs.is_empty(),
        });
        return output.message(&summary);
    }
    let read = text::bytes(report.bytes_read);
    output.note(format_args!("checked {} snapshots, {} directories", report.snapshots, report.trees))?;
    output.note(format_args!("checked {} packs with {} blobs", report.packs, report.blobs))?;
    output.note(format_args!("read {} packs, {read}", report.packs_read))?;
    if !report.unindexed_packs.is_empty() {
        let count = report.unindexed_packs.len();
        output.note(format_args!("{count} packs are in no index, left by a backup that was killed; `prune` removes them"))?;
    }
    if report.errors.is_empty() && report.errors_omitted == 0 {
        output.note("no errors were found")?;
    }
    Ok(())
}

/// What the damage costs, file by file and byte by byte.
fn tell_damage(output: &Output, report: &CheckReport) -> Result<(), Failure> {
    for blob in &report.damaged_blobs {
        if output.json {
            output.message(&damage_message(blob))?;
            continue;
        }
        if blob.places.is_empty() {
            output.warn(format_args!("{} blob {} cannot be read; no snapshot is known to need it", blob.blob_type, blob.id));
        }
        for place in &blob.places {
            output.warn(damage_line(blob, place));
        }
        if blob.places_omitted > 0 {
            output.warn(format_args!("and {} more that need {} blob {}", blob.places_omitted, blob.blob_type, blob.id));
        }
    }
    if report.damaged_blobs_omitted > 0 && !output.json {
        output.warn(format_args!("and {} more damaged blobs, whose files are not named", report.damaged_blobs_omitted));
    }
    Ok(())
}

fn damage_line(blob: &DamagedBlob, place: &DamagedPlace) -> String {
    let path = text::printable(&place.path);
    let snapshots = match blob.snapshots {
        0 | 1 => String::new(),
        several => format!(" and {} more", several - 1),
    };
    let what = match blob.blob_type {
        BlobType::Tree => "everything in the directory".to_owned(),
        BlobType::Data => format!("bytes {} to {}", place.offset, place.offset + place.length),
    };
    format!("lost: {path}: {what}, in snapshot {}{snapshots} ({} blob {})", place.snapshot.short(), blob.blob_type, blob.id)
}

fn damage_message(blob: &DamagedBlob) -> serde_json::Value {
    let place = |place: &DamagedPlace| {
        json!({
            "snapshot": place.snapshot,
            "path": text::printable(&place.path),
            "offset": place.offset,
            "length": place.length,
        })
    };
    json!({
        "message_type": "damage",
        "blob_type": blob.blob_type,
        "blob": blob.id,
        "places": blob.places.iter().map(place).collect::<Vec<_>>(),
        "places_omitted": blob.places_omitted,
        "num_snapshots": blob.snapshots,
    })
}

fn broken_packs(report: &CheckReport) -> Vec<PackId> {
    let mut packs: Vec<PackId> = report
        .errors
        .iter()
        .filter_map(|error| match error {
            CheckError::PackMissing { pack, .. } | CheckError::PackSize { pack, .. } | CheckError::PackDamaged { pack, .. } => {
                Some(*pack)
            }
            _ => None,
        })
        .collect();
    packs.sort_unstable();
    packs.dedup();
    packs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn at_least_the_wanted_part_is_read() {
        assert_eq!(by_chance(100.0), ReadData::All);
        assert_eq!(by_chance(51.0), ReadData::All);
        for (percent, parts) in [(50.0, 2), (33.0, 3), (10.0, 10), (0.0001, u16::MAX)] {
            let ReadData::Part { index, of } = by_chance(percent) else { panic!("{percent}") };
            assert!(index < of && of == parts, "{percent}: {index}/{of}");
        }
    }

    #[test]
    fn damage_is_told_by_path_and_bytes() {
        let id = PackId::of(b"x");
        let place = DamagedPlace { snapshot: id, path: b"/dir/\x1bname".to_vec(), offset: 100, length: 50 };
        let mut blob =
            DamagedBlob { blob_type: BlobType::Data, id, places: vec![place.clone()], places_omitted: 0, snapshots: 3 };
        let told = damage_line(&blob, &place);
        assert!(told.contains("/dir/\\u{1b}name: bytes 100 to 150") && told.contains("and 2 more"), "{told}");
        assert_eq!(damage_message(&blob)["places"][0]["offset"], 100);
        (blob.blob_type, blob.snapshots) = (BlobType::Tree, 1);
        let told = damage_line(&blob, &place);
        assert!(told.contains("everything in the directory") && !told.contains("more"), "{told}");
    }

    #[test]
    fn parts_are_counted_from_one_by_people() {
        let arguments = Check { read_data: false, read_data_subset: Some(ReadSubset::Part { number: 5, of: 5 }) };
        assert_eq!(what_to_read(&arguments), ReadData::Part { index: 4, of: 5 });
        assert_eq!(what_to_read(&Check::default()), ReadData::None);
    }
}
