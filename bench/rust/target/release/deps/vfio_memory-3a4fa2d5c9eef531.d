/work/main/bench/rust/target/release/deps/vfio_memory-3a4fa2d5c9eef531.d: /work/main/crates/vfio-memory/src/lib.rs /work/main/crates/vfio-memory/src/address_space.rs /work/main/crates/vfio-memory/src/address_space/extension.rs /work/main/crates/vfio-memory/src/address_space/huge.rs /work/main/crates/vfio-memory/src/address_space/layout.rs /work/main/crates/vfio-memory/src/copy.rs /work/main/crates/vfio-memory/src/external.rs /work/main/crates/vfio-memory/src/locked.rs /work/main/crates/vfio-memory/src/mapping.rs /work/main/crates/vfio-memory/src/mapping/pages.rs /work/main/crates/vfio-memory/src/memory.rs /work/main/crates/vfio-memory/src/memory/access.rs /work/main/crates/vfio-memory/src/memory/file_window.rs /work/main/crates/vfio-memory/src/prot.rs /work/main/crates/vfio-memory/src/span.rs /work/main/crates/vfio-memory/src/vma.rs

/work/main/bench/rust/target/release/deps/libvfio_memory-3a4fa2d5c9eef531.rmeta: /work/main/crates/vfio-memory/src/lib.rs /work/main/crates/vfio-memory/src/address_space.rs /work/main/crates/vfio-memory/src/address_space/extension.rs /work/main/crates/vfio-memory/src/address_space/huge.rs /work/main/crates/vfio-memory/src/address_space/layout.rs /work/main/crates/vfio-memory/src/copy.rs /work/main/crates/vfio-memory/src/external.rs /work/main/crates/vfio-memory/src/locked.rs /work/main/crates/vfio-memory/src/mapping.rs /work/main/crates/vfio-memory/src/mapping/pages.rs /work/main/crates/vfio-memory/src/memory.rs /work/main/crates/vfio-memory/src/memory/access.rs /work/main/crates/vfio-memory/src/memory/file_window.rs /work/main/crates/vfio-memory/src/prot.rs /work/main/crates/vfio-memory/src/span.rs /work/main/crates/vfio-memory/src/vma.rs

/work/main/crates/vfio-memory/src/lib.rs:
/work/main/crates/vfio-memory/src/address_space.rs:
/work/main/crates/vfio-memory/src/address_space/extension.rs:
/work/main/crates/vfio-memory/src/address_space/huge.rs:
/work/main/crates/vfio-memory/src/address_space/layout.rs:
/work/main/crates/vfio-memory/src/copy.rs:
/work/main/crates/vfio-memory/src/external.rs:
/work/main/crates/vfio-memory/src/locked.rs:
/work/main/crates/vfio-memory/src/mapping.rs:
/work/main/crates/vfio-memory/src/mapping/pages.rs:
/work/main/crates/vfio-memory/src/memory.rs:
/work/main/crates/vfio-memory/src/memory/access.rs:
/work/main/crates/vfio-memory/src/memory/file_window.rs:
/work/main/crates/vfio-memory/src/prot.rs:
/work/main/crates/vfio-memory/src/span.rs:
/work/main/crates/vfio-memory/src/vma.rs:
