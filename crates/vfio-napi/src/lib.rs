//! The Node-API binding: one file per native class, nothing but conversion and delegation.
