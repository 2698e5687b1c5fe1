//! Intel's I/O Acceleration Technology (`ioat`, "Crystal Beach DMA"), version 3.3: one channel that copies and fills memory
//! by a chain of descriptors.
//!
//! BAR 0 has 16 KiB of memory space: registers of the device from 0 on, those of the channel from 0x80 on, the MSI-X
//! table at 0x2000 with one vector, its pending bits at 0x3000. Accesses may have any width.
//!
//! | offset | bytes | register |
//! |---|---|---|
//! | 0x00 | 1 | channels: 1 |
//! | 0x01 | 1 | base-two logarithm of the most bytes of a descriptor: 15 |
//! | 0x03 | 1 | interrupt control: bit 0 lets interrupts out, bit 3 does so for MSI-X vectors |
//! | 0x04 | 4 | channels that want attention; reading it clears it |
//! | 0x08 | 1 | version: 0x33 |
//! | 0x80 | 2 | channel control: bit 0 rearms the interrupt, 3 stops at any error, 2 writes an error's status, 4 interrupts at one |
//! | 0x84 | 1 | command: 0x20 reset, 0x10 resume, 0x08 abort, 0x04 suspend |
//! | 0x86 | 2 | descriptors to do, counted from the write of the chain's address on; writing it starts the channel |
//! | 0x88 | 8 | status: the last descriptor done, and in bits 0 to 2: 0 active, 1 done, 2 suspended, 3 halted |
//! | 0x90 | 8 | address of the first descriptor |
//! | 0x98 | 8 | address to which the status is written |
//! | 0xa8 | 4 | errors; ones clear. While there is one that is not masked (0xac), the channel does not start |
//!
//! A few descriptors are done when the write that starts them returns; more of them on a thread of their own, which a reset,
//! an abort or a suspension ends after the descriptor under way. Memory that only messages reach is out of its reach.

mod channel;
mod descriptor;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vfio_iommu::DmaSpace;
use vfio_uapi::Errno;

use crate::pci::{
    BarSpace, BarSpec, Capability, DeviceBus, ExpressSpec, FunctionSpec, Identity, MsixSpec, PciFunction,
    PciModel, PowerSpec, ResetKind,
};
use channel::{Channel, Event};

const BAR_SIZE: u64 = 0x4000;
const MSIX_TABLE: u32 = 0x2000;
const MSIX_PENDING: u32 = 0x3000;
/// Where the channel's registers begin, and how many bytes they have.
const CHANNEL: u64 = 0x80;
const CHANNEL_SIZE: u64 = 0x80;

const CHANNELS: u64 = 0x00;
const CAPACITY: u64 = 0x01;
const INTERRUPT_CONTROL: u64 = 0x03;
const ATTENTION: u64 = 0x04;
const VERSION: u64 = 0x08;

const VERSION_3_3: u8 = 0x33;
const INTERRUPTS_OUT: u8 = 0x01 | 0x08;
const INTERRUPT_CONTROL_BITS: u8 = 0x0d;
/// As many descriptors are done by the write that starts them.
const AT_ONCE: u16 = 16;

/// Describes an `ioat`.
#[derive(Debug, Clone)]
pub struct IoatConfig {
    /// Name for messages and faults, such as `0000:00:05.0`.
    pub name: String,
    /// Which function it claims to be; Intel's Sky Lake is 8086:2021.
    pub identity: Identity,
}

impl IoatConfig {
    /// Describes the engine of Sky Lake servers.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let identity = Identity {
            vendor: 0x8086,
            device: 0x2021,
            subsystem_vendor: 0x8086,
            subsystem: 0x0000,
            revision: 4,
            class: 0x08_8000,
        };
        Self { name: name.into(), identity }
    }
}

/// Emulates the engine behind its function.
#[derive(Debug)]
pub struct Ioat {
    /// A weak reference to the model, for the thread that works.
    this: Weak<Self>,
    bus: DeviceBus,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    interrupt_control: u8,
    attention: u32,
    channel: Channel,
    /// Somebody does descriptors.
    busy: bool,
}

impl Ioat {
    /// Makes a function with the engine behind it.
    ///
    /// # Errors
    /// `EINVAL` the identity makes no sense.
    pub fn function(config: IoatConfig) -> Result<Arc<PciFunction>, Errno> {
        let mut spec = FunctionSpec::new(config.name, config.identity);
        spec.bars[0] = Some(BarSpec::model(BAR_SIZE, BarSpace::Memory64));
        let msix = MsixSpec {
            vectors: 1,
            table_bar: 0,
            table_offset: MSIX_TABLE,
            pba_bar: 0,
            pba_offset: MSIX_PENDING,
        };
        let power = PowerSpec { capabilities: 0x0003, no_soft_reset: true, control_writable: 0x0003 };
        spec.capabilities = vec![
            Capability::express(ExpressSpec {
                flags: 0x0092, // a root complex integrated endpoint, version 2
                device_capabilities: 0x1000_8020,
                device_control_writable: 0x001f,
                link_capabilities: 0,
                link_status: 0,
                device_capabilities2: 0,
                device_control2_writable: 0,
            })
            .at(0x90),
            Capability::msix(msix).at(0x80),
            Capability::power(power).at(0xe0),
        ];
        spec.extended_config = true;
        PciFunction::new(spec, |bus| {
            Arc::new_cyclic(|this| Self { this: this.clone(), bus, state: Mutex::default() })
        })
    }

    fn read_byte(&self, state: &mut State, offset: u64) -> u8 {
        match offset {
            CHANNELS => 1,
            CAPACITY => descriptor::CAPACITY_SHIFT,
            INTERRUPT_CONTROL => state.interrupt_control,
            ATTENTION => std::mem::take(&mut state.attention) as u8,
            VERSION => VERSION_3_3,
            CHANNEL.. if offset < CHANNEL + CHANNEL_SIZE => state.channel.read(offset - CHANNEL),
            _ => 0,
        }
    }

    /// Starts the work that is due: here where it is little, else on a thread.
    fn start(&self) {
        let due = {
            let mut state = self.state.lock();
            let due = if state.busy { 0 } else { state.channel.due() };
            state.busy |= due > 0;
            due
        };
        if due == 0 {
            return;
        }
        if due > AT_ONCE
            && let Some(this) = self.this.upgrade()
        {
            let thread = std::thread::Builder::new().name("vfio-ioat".to_owned());
            if thread.spawn(move || this.work()).is_ok() {
                return;
            }
        }
        self.work();
    }

    /// Does descriptors until there are none, or the channel is stopped.
    fn work(&self) {
        loop {
            let step = {
                let mut state = self.state.lock();
                let step = state.channel.next();
                state.busy = step.is_some();
                step
            };
            let Some(step) = step else { return };
            let outcome = match self.bus.dma() {
                Some(dma) => step.run(&*dma),
                None => Err(channel::ERROR_READ),
            };
            let event = self.state.lock().channel.finish(&step, outcome);
            self.tell(event);
        }
    }

    /// Writes a status back and interrupts, where a descriptor asked for it.
    fn tell(&self, event: Event) {
        if let (Some((address, status)), Some(dma)) = (event.writeback, self.bus.dma()) {
            // Where the status cannot be written nobody is told by it.
            let _ = dma.write(address, &status.to_le_bytes());
        }
        if !event.interrupt {
            return;
        }
        let out = {
            let mut state = self.state.lock();
            state.attention |= 1;
            state.interrupt_control & INTERRUPTS_OUT != 0
        };
        if out {
            // The one vector that there is; without it the function is gone.
            let _ = self.bus.msix(0);
        }
    }
}

impl PciModel for Ioat {
    fn bar_read(&self, _bar: u8, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut state = self.state.lock();
        for (byte, at) in into.iter_mut().zip(offset..) {
            *byte = self.read_byte(&mut state, at);
        }
        Ok(())
    }

    fn bar_write(&self, _bar: u8, offset: u64, from: &[u8]) -> Result<(), Errno> {
        let mut go = false;
        {
            let mut state = self.state.lock();
            for (&byte, at) in from.iter().zip(offset..) {
                match at {
                    INTERRUPT_CONTROL => state.interrupt_control = byte & INTERRUPT_CONTROL_BITS,
                    CHANNEL.. if at < CHANNEL + CHANNEL_SIZE => state.channel.write(at - CHANNEL, byte),
                    _ => {}
                }
            }
            let end = offset + from.len() as u64;
            go |= state.channel.written(offset.saturating_sub(CHANNEL), end.saturating_sub(CHANNEL));
        }
        if go {
            self.start();
        }
        Ok(())
    }

    fn reset(&self, _kind: ResetKind) {
        let mut state = self.state.lock();
        state.channel.reset();
        state.interrupt_control = 0;
        state.attention = 0;
    }
}
