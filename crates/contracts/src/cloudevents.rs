//! The headers of a record.
