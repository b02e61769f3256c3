//! Scenarios on a real cluster with a real object store, through public surfaces only.
