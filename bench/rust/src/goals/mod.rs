//! One file per goal.

pub mod copy;
pub mod crossing;
pub mod harvest;
pub mod map;
pub mod pins;
pub mod readers;
pub mod region;
pub mod translate;
