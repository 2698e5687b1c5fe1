/work/main/bench/rust/target/release/deps/iset-02821f848bd0b8f5.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/ix.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/iter.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/set.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/entry.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/tree_rm.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/bitvec.rs

/work/main/bench/rust/target/release/deps/libiset-02821f848bd0b8f5.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/lib.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/ix.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/iter.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/set.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/entry.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/tree_rm.rs /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/bitvec.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/lib.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/ix.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/iter.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/set.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/entry.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/tree_rm.rs:
/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/iset-0.2.2/src/bitvec.rs:
