//! Tests of the address space and the locked-memory account.
