//! Stand-ins for what lies around a device, for tests.

use std::sync::Arc;

use parking_lot::Mutex;
use vfio_iommu::{Access, DmaFault, DmaSpace, FaultReason, Iova, Translation};
use vfio_uapi::Errno;

use crate::EventFd;
use crate::ops::{Completion, IrqData, IrqFd, IrqHeader, IrqSet};
use crate::pci::{
    BarAddress, BarSpace, BarSpec, Capability, DeviceBus, ExpressSpec, FunctionSpec, Identity, MsiSpec,
    MsixSpec, PciFunction, PciModel, PowerSpec, ResetKind,
};

/// An access that a model has seen: BAR, offset, bytes.
pub(crate) type Seen = (u8, u64, usize);

/// An answer that a model keeps for later.
type Kept = Box<dyn FnOnce() + Send>;

/// A model that notes what it is asked, and answers when the test wants it to.
#[derive(Default)]
pub(crate) struct MockModel {
    pub(crate) bus: Mutex<Option<DeviceBus>>,
    pub(crate) reads: Mutex<Vec<Seen>>,
    pub(crate) writes: Mutex<Vec<(u8, u64, Vec<u8>)>>,
    pub(crate) resets: Mutex<Vec<ResetKind>>,
    pub(crate) config_writes: Mutex<Vec<(u16, usize)>>,
    /// Answers are kept here instead of being given.
    pub(crate) deferred: Mutex<Option<Vec<Kept>>>,
}

impl MockModel {
    pub(crate) fn bus(&self) -> DeviceBus {
        self.bus.lock().clone().expect("the function gave its bus")
    }

    /// Gives the answers that were kept.
    pub(crate) fn answer_all(&self) -> usize {
        let kept = self.deferred.lock().as_mut().map(std::mem::take).unwrap_or_default();
        let count = kept.len();
        kept.into_iter().for_each(|answer| answer());
        count
    }
}

/// Lets a test keep the model that it gave away.
pub(crate) struct Shared(pub(crate) Arc<MockModel>);

impl PciModel for Shared {
    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.0.reads.lock().push((bar, offset, into.len()));
        for (byte, at) in into.iter_mut().zip(offset..) {
            *byte = at as u8;
        }
        Ok(())
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        self.0.writes.lock().push((bar, offset, from.to_vec()));
        Ok(())
    }

    fn submit_bar_read(&self, bar: u8, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        let mut bytes = vec![0; len];
        let read = self.bar_read(bar, offset, &mut bytes);
        let answer = move || done(read.map(|()| bytes));
        if let Some(kept) = self.0.deferred.lock().as_mut() {
            return kept.push(Box::new(answer));
        }
        answer();
    }

    fn config_written(&self, offset: u16, len: usize) {
        self.0.config_writes.lock().push((offset, len));
    }

    fn reset(&self, kind: ResetKind) {
        self.0.resets.lock().push(kind);
    }
}

/// Describes a function with every kind of BAR and capability that the tests look at.
pub(crate) fn rich_spec() -> FunctionSpec {
    let identity = Identity {
        vendor: 0x1b36,
        device: 0x10,
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
        revision: 2,
        class: 0x0001_0802,
    };
    let mut spec = FunctionSpec::new("rich", identity);
    spec.interrupt_pin = 1;
    spec.extended_config = true;
    spec.bars[0] = Some(BarSpec::model(0x4000, BarSpace::Memory64));
    spec.bars[2] = Some(BarSpec::model(0x20, BarSpace::Io));
    spec.capabilities = vec![
        Capability::msix(MsixSpec {
            vectors: 8,
            table_bar: 0,
            table_offset: 0x2000,
            pba_bar: 0,
            pba_offset: 0x3000,
        })
        .at(0x40),
        Capability::express(ExpressSpec::endpoint()).at(0x80),
        Capability::power(PowerSpec { capabilities: 0xc803, no_soft_reset: true, control_writable: 0 })
            .at(0x60),
        Capability::msi(MsiSpec { vectors: 4, wide: true, maskable: true }).at(0x68),
    ];
    spec
}

/// Makes a function of a description, with a model that notes what happens.
pub(crate) fn function(spec: FunctionSpec) -> (Arc<PciFunction>, Arc<MockModel>) {
    let model = Arc::new(MockModel::default());
    let bars: Vec<BarAddress> = (0..6u8)
        .filter_map(|bar| {
            let described = spec.bars[usize::from(bar)].as_ref()?;
            let base = if described.space == BarSpace::Io { 0xc000 } else { 0xc000_0000 };
            Some(BarAddress { bar, address: base + u64::from(bar) * described.size.max(0x1000) })
        })
        .collect();
    let function = PciFunction::new(spec, |bus| {
        *model.bus.lock() = Some(bus);
        Arc::new(Shared(Arc::clone(&model)))
    })
    .expect("the description makes sense");
    function.assign(&bars, 10).expect("the addresses fit");
    (function, model)
}

/// Memory of 64 KiB at address 0, seen by a device.
pub(crate) struct MockSpace(pub(crate) Mutex<Vec<u8>>);

impl MockSpace {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(vec![0; 1 << 16])))
    }

    fn with<T>(
        &self,
        iova: Iova,
        len: u64,
        access: Access,
        run: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, DmaFault> {
        let mut bytes = self.0.lock();
        let start = usize::try_from(iova).unwrap_or(usize::MAX);
        match start.checked_add(len as usize).and_then(|end| bytes.get_mut(start..end)) {
            Some(place) => Ok(run(place)),
            None => Err(DmaFault { iova, len, access, reason: FaultReason::NoMapping }),
        }
    }
}

impl DmaSpace for MockSpace {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.with(iova, into.len() as u64, Access::Read, |bytes| into.copy_from_slice(bytes))
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.with(iova, from.len() as u64, Access::Write, |bytes| bytes.copy_from_slice(from))
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.with(iova, len, Access::Write, |bytes| bytes.fill(byte))
    }

    fn compare_exchange_u32(&self, _: Iova, _: u32, _: u32) -> Result<u32, DmaFault> {
        unreachable!("no test asks for it")
    }

    fn compare_exchange_u64(&self, _: Iova, _: u64, _: u64) -> Result<u64, DmaFault> {
        unreachable!("no test asks for it")
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.with(iova, 4, Access::Write, |bytes| {
            let old = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
            bytes.copy_from_slice(&old.wrapping_add(value).to_le_bytes());
            old
        })
    }

    fn fetch_add_u64(&self, _: Iova, _: u64) -> Result<u64, DmaFault> {
        unreachable!("no test asks for it")
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.with(iova, 1, access, |bytes| Translation { host: bytes.as_ptr() as u64, len: 1 })
    }
}

/// Makes a request with the payload's size filled in.
pub(crate) fn irq_set(index: u32, flags: u32, start: u32, count: u32, data: IrqData) -> IrqSet {
    let size = match &data {
        IrqData::None => 0,
        IrqData::Bool(bools) => bools.len() as u32,
        IrqData::EventFds(fds) => fds.len() as u32 * 4,
    };
    IrqSet { header: IrqHeader { argsz: 20 + size, flags, index, start, count }, data }
}

/// Makes the entries of an eventfd payload.
pub(crate) fn fds(events: &[&EventFd]) -> IrqData {
    IrqData::EventFds(events.iter().map(|event| IrqFd::Fd((*event).clone())).collect())
}
