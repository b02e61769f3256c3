//! Generated gRPC modules of `proto/`, their descriptor set, and the one mapping of errors to gRPC statuses.
//!
//! Floor 0 of the house: knows the wire and nothing of transport, Kubernetes clients or storage. Services and movers
//! alike speak through it, so what both sides must agree on (token audiences, environment variables, the termination
//! message) stands here too. The feature `resources` adds conversions from Kubernetes objects; the mover leaves it off.

pub mod audience;
pub mod environment;
mod redact;
pub mod reference;
pub mod status;
pub mod termination;
pub mod time;

/// Version of the conversation `MoverService.Attach` that this build speaks; sent in `Hello.protocol_version`.
pub const PROTOCOL_VERSION: u32 = 1;

/// Encoded `FileDescriptorSet` of every service, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("descriptor");

/// Messages that more than one service speaks.
pub mod common {
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    /// Package `orlop.common.v1alpha1`.
    pub mod v1alpha1 {
        tonic::include_proto!("orlop.common.v1alpha1");
    }
}

/// Storages, repositories, and access to them.
pub mod storage {
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    /// Package `orlop.storage.v1alpha1`.
    pub mod v1alpha1 {
        tonic::include_proto!("orlop.storage.v1alpha1");
    }
}

/// Schedules and triggers.
pub mod schedule {
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    /// Package `orlop.schedule.v1alpha1`.
    pub mod v1alpha1 {
        tonic::include_proto!("orlop.schedule.v1alpha1");
    }
}

/// Backup and restore sessions.
pub mod session {
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    /// Package `orlop.session.v1alpha1`.
    pub mod v1alpha1 {
        tonic::include_proto!("orlop.session.v1alpha1");
    }
}

/// The conversation between a mover and its session.
pub mod mover {
    #[allow(missing_docs, clippy::all, rustdoc::all)]
    /// Package `orlop.mover.v1alpha1`.
    pub mod v1alpha1 {
        tonic::include_proto!("orlop.mover.v1alpha1");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prost::Message as _;

    #[test]
    fn descriptor_set_names_every_service() {
        let set = prost_types::FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET).unwrap();
        let mut services: Vec<String> = set
            .file
            .iter()
            .flat_map(|file| file.service.iter().map(|service| format!("{}.{}", file.package(), service.name())))
            .collect();
        services.sort();
        assert_eq!(
            services,
            [
                "orlop.mover.v1alpha1.MoverService",
                "orlop.schedule.v1alpha1.ScheduleService",
                "orlop.session.v1alpha1.SessionService",
                "orlop.storage.v1alpha1.StorageService",
            ]
        );
    }
}
