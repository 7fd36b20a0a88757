//! `/dev/kmsg` for real. Needs root; without it each test says that it was skipped.
