//! User pages, address spaces and locked-memory accounting; the home of unsafe memory access.
