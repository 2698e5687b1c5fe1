//! Readers against writers.
