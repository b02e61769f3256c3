//! `stats`.

use repository::TreeId;
use repository::browse::{RawData, RestoreSize, raw_data, restore_size};
use serde_json::json;

use super::arguments::{CountMode, Stats};
use super::failure::Failure;
use super::ls::complete;
use super::output::Output;
use super::session::{Access, Session};
use super::text;

pub async fn run(session: &Session, arguments: &Stats) -> Result<(), Failure> {
    session
        .with_repository(Access::Read, async |repository, _| {
            let filter = arguments.filter.meaning();
            let found = repository.find_snapshots(&arguments.snapshots, &filter, &session.control).await?;
            let roots: Vec<TreeId> = found.iter().map(|(_, snapshot)| snapshot.tree).collect();
            let count = roots.len();
            match arguments.mode {
                CountMode::RestoreSize => {
                    let size =
                        session.read(repository, move |reader, control| Ok(restore_size(reader, &roots, control)?)).await?;
                    tell_size(&session.output, count, &size)
                }
                CountMode::RawData => {
                    let raw = session.read(repository, move |reader, control| Ok(raw_data(reader, &roots, control)?)).await?;
                    tell_raw(&session.output, count, &raw)
                }
            }
        })
        .await
}

fn tell_size(output: &Output, snapshots: usize, size: &RestoreSize) -> Result<(), Failure> {
    for problem in &size.problems.listed {
        output.problem("error", "stats", &problem.path, &problem.reason);
    }
    if output.json {
        let message = json!({"total_size": size.bytes, "total_file_count": size.entries, "snapshots_count": snapshots});
        output.message(&message)?;
    } else {
        output.line(format_args!("Snapshots:  {snapshots}"))?;
        output.line(format_args!("Entries:    {}", size.entries))?;
        output.line(format_args!("Total size: {}", text::bytes(size.bytes)))?;
    }
    complete(size.problems.total)
}

fn tell_raw(output: &Output, snapshots: usize, raw: &RawData) -> Result<(), Failure> {
    let percent = |part: u64, all: u64| if all == 0 { 0.0 } else { 100.0 * part as f64 / all as f64 };
    let ratio = raw.compressed_uncompressed_bytes as f64 / raw.compressed_stored_bytes.max(1) as f64;
    let progress = percent(raw.compressed_uncompressed_bytes, raw.uncompressed_bytes);
    let saving = if raw.blobs == 0 { 0.0 } else { 100.0 - percent(raw.stored_bytes, raw.uncompressed_bytes) };
    if output.json {
        output.message(&json!({
            "total_size": raw.stored_bytes,
            "total_uncompressed_size": raw.uncompressed_bytes,
            "compression_ratio": ratio,
            "compression_progress": progress,
            "compression_space_saving": saving,
            "total_blob_count": raw.blobs,
            "snapshots_count": snapshots,
        }))?;
    } else {
        output.line(format_args!("Snapshots:          {snapshots}"))?;
        output.line(format_args!("Blobs:              {}", raw.blobs))?;
        output.line(format_args!("Uncompressed size:  {}", text::bytes(raw.uncompressed_bytes)))?;
        output.line(format_args!("Total size:         {}", text::bytes(raw.stored_bytes)))?;
        output.line(format_args!("Compressed part:    {progress:.2} %"))?;
        output.line(format_args!("Compression ratio:  {ratio:.2}"))?;
        output.line(format_args!("Space saved:        {saving:.2} %"))?;
    }
    complete(raw.unreadable_trees + raw.unknown_blobs)
}
