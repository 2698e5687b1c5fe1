//! Tests of the table: single behaviours, a plain model, and readers against writers.

mod behaviour;
mod model;
mod race;
