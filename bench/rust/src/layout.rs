//! The workloads: which mappings there are.

use std::sync::Arc;

use vfio_iommu::{IoPageTable, IovaRange};
use vfio_memory::{ExternalMemory, Memory, PAGE_SIZE, Prot};

use crate::random::perm;

/// Mappings of one size, in order of address.
pub struct Layout {
    pub base: u64,
    pub span: u64,
    /// Host address of each mapping.
    pub hosts: Vec<u64>,
    memory: Memory,
    first: u64,
}

/// Addresses that have no memory before somebody touches them.
struct Reserved {
    base: u64,
    len: u64,
}

// SAFETY: an address range is reserved for the life of the process; without rights, nobody accesses it.
unsafe impl ExternalMemory for Reserved {
    fn resolve(&self) -> Option<(*mut u8, usize)> {
        Some((std::ptr::with_exposed_provenance_mut(self.base as usize), self.len as usize))
    }

    fn stable(&self) -> bool {
        true
    }
}

/// Reserves addresses, with rights as for `mmap`.
pub fn reserve(len: u64, rights: i32) -> Memory {
    // SAFETY: asks for addresses of the system's choice.
    let base = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        libc::mmap(std::ptr::null_mut(), len as usize, rights, flags, -1, 0)
    };
    assert!(base != libc::MAP_FAILED, "no room for {len} bytes of addresses");
    Memory::external(Arc::new(Reserved { base: base.expose_provenance() as u64, len }))
}

impl Layout {
    /// 1 GiB in shuffled pages, with memory behind them.
    pub fn a() -> Self {
        let memory = Memory::anonymous(1 << 30).expect("1 GiB");
        Self::shuffled(0x1_0000_0000, 262_144, PAGE_SIZE, memory)
    }

    /// 1 TiB in shuffled pieces of 2 MiB.
    pub fn b() -> Self {
        Self::shuffled(1 << 40, 524_288, 2 << 20, reserve(1 << 40, libc::PROT_NONE))
    }

    /// 1 TiB in shuffled pieces of 1 GiB.
    pub fn c() -> Self {
        Self::shuffled(1 << 40, 1024, 1 << 30, reserve(1 << 40, libc::PROT_NONE))
    }

    /// The RAM of a virtual machine: eight pieces of 4 GiB with gaps between them on the host.
    pub fn e() -> Self {
        let memory = reserve(8 * (5 << 30), libc::PROT_NONE);
        let first = memory.stable_ptr().expect("it is reserved").expose_provenance() as u64;
        let hosts = (0..8).map(|i| first + i * (5 << 30)).collect();
        Self { base: 0, span: 4 << 30, hosts, memory, first }
    }

    fn shuffled(base: u64, n: u64, span: u64, memory: Memory) -> Self {
        let first = memory.stable_ptr().expect("it has an address").expose_provenance() as u64;
        let hosts = perm(n, 0x5EED).into_iter().map(|i| first + i * span).collect();
        Self { base, span, hosts, memory, first }
    }

    pub fn pages(&self) -> u64 {
        self.hosts.len() as u64
    }

    /// Lists IOVA and host address of each mapping.
    pub fn mappings(&self) -> impl Iterator<Item = (u64, u64)> {
        self.hosts.iter().zip(0..).map(|(host, i)| (self.base + i * self.span, *host))
    }

    /// Maps everything, one mapping after the other in one series.
    pub fn fill(&self, table: &IoPageTable) {
        let mut editor = table.edit();
        for (iova, host) in self.mappings() {
            let range = IovaRange::sized(iova, self.span).expect("it does not wrap");
            editor.map(range, &self.memory, host - self.first, Prot::RW).expect("nothing overlaps");
        }
    }

    /// Makes our table of it.
    pub fn table(&self) -> IoPageTable {
        let table = IoPageTable::new();
        self.fill(&table);
        table
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns the host address of the memory's first byte.
    pub fn first(&self) -> u64 {
        self.first
    }
}
