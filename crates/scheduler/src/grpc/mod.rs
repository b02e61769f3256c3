//! `ScheduleService`: when backups run, and starting one now. Served by every replica: what it creates is named by its
//! cause, so two replicas that serve the same call create one session.

mod authorise;
mod list;
mod pause;
mod read;
mod service;
mod trigger;

pub use service::ScheduleServer;

#[cfg(test)]
mod tests;
