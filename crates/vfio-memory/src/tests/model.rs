//! The address space against a plain model.
