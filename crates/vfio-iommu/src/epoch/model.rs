//! The protocol under every interleaving.
