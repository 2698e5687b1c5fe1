//! Tests of memory objects and raw copies.
