//! Generates the gRPC modules from `proto/` without a `protoc` on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 5] = [
    "orlop/common/v1alpha1/common.proto",
    "orlop/storage/v1alpha1/storage.proto",
    "orlop/schedule/v1alpha1/schedule.proto",
    "orlop/session/v1alpha1/session.proto",
    "orlop/mover/v1alpha1/mover.proto",
];

/// Messages that hold credentials. Their `Debug` is written by hand in `redact.rs`, so that no log line can show them.
const SECRET_MESSAGES: [&str; 4] = [
    ".orlop.storage.v1alpha1.IssueAccessResponse",
    ".orlop.storage.v1alpha1.ScopedCredentials",
    ".orlop.storage.v1alpha1.StorageKey",
    ".orlop.storage.v1alpha1.GatewayAccess",
];

/// Messages that also travel as JSON, in a container's termination message.
const JSON_MESSAGES: [&str; 5] = [
    ".orlop.mover.v1alpha1.Outcome",
    ".orlop.mover.v1alpha1.TargetOutcome",
    ".orlop.mover.v1alpha1.SnapshotMade",
    ".orlop.mover.v1alpha1.FileError",
    ".orlop.common.v1alpha1.TransferProgress",
];

const JSON_TIMES: [&str; 4] = [
    ".orlop.mover.v1alpha1.Outcome.started",
    ".orlop.mover.v1alpha1.Outcome.finished",
    ".orlop.mover.v1alpha1.SnapshotMade.started",
    ".orlop.mover.v1alpha1.SnapshotMade.finished",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());

    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.bin"), descriptors.encode_to_vec())?;

    let mut builder = tonic_prost_build::configure().build_transport(false).bytes(".").skip_debug(SECRET_MESSAGES);
    for message in JSON_MESSAGES {
        builder = builder
            .message_attribute(message, "#[derive(serde::Serialize, serde::Deserialize)]")
            .message_attribute(message, "#[serde(default, rename_all = \"camelCase\")]");
    }
    for field in JSON_TIMES {
        builder = builder.field_attribute(field, "#[serde(with = \"crate::time::json\")]");
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
