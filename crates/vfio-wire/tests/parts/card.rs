//! A device with registers, memory, interrupts and DMA.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use vfio_device::ops::{DeviceInfo, IrqData, IrqInfo, IrqSet, RegionInfo, RegionMemory};
use vfio_device::pci::Doorbell;
use vfio_device::{EventFd, VfioDeviceOps};
use vfio_iommu::{DmaSpace, IovaRange};
use vfio_memory::Memory;
use vfio_uapi::Errno;

pub(crate) const REGISTERS: u64 = 4096;
pub(crate) const WHOLE: u64 = 8192;
pub(crate) const SPARSE: u64 = 0x4000;
/// The part of region 2 that is memory.
pub(crate) const AREA: (u64, u64) = (0x1000, 0x2000);
pub(crate) const VECTORS: u32 = 4;
/// Offset of a register that rings an event.
pub(crate) const BELL: u64 = 0x100;

/// Region 0 has registers: an address written to offset 0 has the card add one to the word there and trigger interrupt 0.
/// Region 1 is memory, of region 2 a part is.
pub(crate) struct Card {
    registers: Mutex<Vec<u8>>,
    dma: Mutex<Option<Arc<dyn DmaSpace>>>,
    vectors: Arc<Mutex<Vec<Option<EventFd>>>>,
    pub(crate) whole: Memory,
    pub(crate) part: Memory,
    pub(crate) bell: EventFd,
    pub(crate) opened: AtomicUsize,
    pub(crate) resets: AtomicUsize,
}

impl Card {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            registers: Mutex::new(vec![0; REGISTERS as usize]),
            dma: Mutex::default(),
            vectors: Arc::new(Mutex::new(vec![None; VECTORS as usize])),
            whole: Memory::memfd("whole", WHOLE).expect("memory"),
            part: Memory::memfd("part", AREA.1).expect("memory"),
            bell: EventFd::new(0).expect("an eventfd"),
            opened: AtomicUsize::default(),
            resets: AtomicUsize::default(),
        })
    }

    pub(crate) fn dma(&self) -> Option<Arc<dyn DmaSpace>> {
        self.dma.lock().clone()
    }

    pub(crate) fn has_vectors(&self) -> bool {
        self.vectors.lock().iter().any(Option::is_some)
    }

    fn add(&self, iova: u64) {
        let Some(dma) = self.dma() else { return };
        let (again, vectors) = (dma.clone(), self.vectors.clone());
        let got = move |read: Result<Vec<u8>, vfio_iommu::DmaFault>| {
            let Ok(bytes) = read else { return };
            let value = u32::from_le_bytes(bytes.try_into().expect("four bytes")).wrapping_add(1);
            let written = move |_| {
                if let Some(event) = &vectors.lock()[0] {
                    event.signal(1);
                }
            };
            again.submit_write(iova, value.to_le_bytes().to_vec(), Box::new(written));
        };
        dma.submit_read(iova, 4, Box::new(got));
    }
}

impl VfioDeviceOps for Card {
    fn name(&self) -> &str {
        "card"
    }
    fn open_device(&self, dma: Option<Arc<dyn DmaSpace>>) -> Result<(), Errno> {
        *self.dma.lock() = dma;
        self.opened.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn close_device(&self) {
        *self.dma.lock() = None;
        self.vectors.lock().fill(None);
        self.opened.fetch_sub(1, Ordering::SeqCst);
    }
    fn set_dma(&self, dma: Option<Arc<dyn DmaSpace>>) {
        *self.dma.lock() = dma;
    }
    fn info(&self) -> DeviceInfo {
        DeviceInfo { flags: 3, num_regions: 3, num_irqs: 1, capabilities: Vec::new() }
    }
    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        let size = *[REGISTERS, WHOLE, SPARSE].get(index as usize).ok_or(Errno::EINVAL)?;
        Ok(RegionInfo { flags: 3, size, ..RegionInfo::default() })
    }
    fn region_memory(&self, index: u32) -> Vec<RegionMemory> {
        match index {
            1 => vec![RegionMemory { offset: 0, len: WHOLE, memory: self.whole.clone(), memory_offset: 0 }],
            2 => vec![RegionMemory {
                offset: AREA.0,
                len: AREA.1,
                memory: self.part.clone(),
                memory_offset: 0,
            }],
            _ => Vec::new(),
        }
    }
    fn doorbells(&self, region: u32) -> Vec<Doorbell> {
        let bell = Doorbell { offset: BELL, width: 4, value: None, event: self.bell.clone() };
        if region == 0 { vec![bell] } else { Vec::new() }
    }
    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        if index == 0 { Ok(IrqInfo { flags: 1, count: VECTORS }) } else { Err(Errno::EINVAL) }
    }
    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        let mut vectors = self.vectors.lock();
        let start = request.header.start as usize;
        match &request.data {
            IrqData::EventFds(entries) => {
                let events: Vec<_> = entries
                    .iter()
                    .map(|entry| entry.event().map(Option::<&_>::cloned))
                    .collect::<Result<_, _>>()?;
                vectors.splice(start..start + events.len(), events);
            }
            IrqData::None if request.header.count == 0 => vectors.fill(None),
            IrqData::None => {
                let named = &vectors[start..start + request.header.count as usize];
                named.iter().flatten().for_each(|event| event.signal(1));
            }
            IrqData::Bool(wanted) => {
                let named = vectors[start..].iter().zip(wanted).filter(|(_, wanted)| **wanted != 0);
                named.filter_map(|(event, _)| event.as_ref()).for_each(|event| event.signal(1));
            }
        }
        Ok(())
    }
    fn reset(&self) -> Result<(), Errno> {
        self.registers.lock().fill(0);
        self.resets.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match region {
            0 => {
                let at = offset as usize;
                into.copy_from_slice(&self.registers.lock()[at..at + into.len()]);
            }
            1 => self.whole.read(offset, into)?,
            _ => match offset.checked_sub(AREA.0).filter(|at| at + into.len() as u64 <= AREA.1) {
                Some(at) => self.part.read(at, into)?,
                None => into.fill(0),
            },
        }
        Ok(into.len())
    }
    fn write(&self, region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        match region {
            0 => {
                let at = offset as usize;
                self.registers.lock()[at..at + from.len()].copy_from_slice(from);
                if let (0, Ok(address)) = (at, from.try_into()) {
                    self.add(u64::from_le_bytes(address));
                }
            }
            1 => self.whole.write(offset, from)?,
            _ => {
                if let Some(at) = offset.checked_sub(AREA.0).filter(|at| at + from.len() as u64 <= AREA.1) {
                    self.part.write(at, from)?;
                }
            }
        }
        Ok(from.len())
    }
    fn write_now(&self, region: u32, offset: u64, from: &[u8]) -> Option<Result<usize, Errno>> {
        // Registers from here on are answered there and then.
        (region == 0 && offset >= BELL).then(|| self.write(region, offset, from))
    }
    fn read_now(&self, region: u32, offset: u64, into: &mut [u8]) -> Option<Result<usize, Errno>> {
        (region == 0 && offset >= BELL).then(|| self.read(region, offset, into))
    }
    fn dma_unmap(&self, _range: IovaRange) {}
}
