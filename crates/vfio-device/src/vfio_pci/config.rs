//! Configuration space as a user of `vfio-pci` sees it.
//!
//! Each byte belongs to the header, to a capability, or to nothing ([`map`]). What an access does depends on that: the bytes
//! of the hardware are passed through, replaced by virtual ones, or mixed bit by bit ([`perm`], [`tables`]); some writes
//! have consequences beyond the bits ([`effects`]).

mod bars;
mod effects;
mod lengths;
mod map;
mod perm;
mod tables;
mod writers;

use vfio_uapi::Errno;

use super::session::Session;
use crate::pci::registers::{CAP_NEXT, CONFIG_SIZE, HEADER_SIZE};
use effects::Effects;
pub(super) use map::VirtualConfig;
use map::{ID_BASIC, ID_UNASSIGNED};
use perm::PermBits;
use tables::{Tables, Writer};

/// Says how the bytes of a chunk are read and written.
enum Access<'a> {
    /// Reads and writes go to the hardware.
    Raw,
    /// Reads come from the hardware, except the links of the capability list; writes are dropped.
    Direct,
    /// Reads as above; writes go to the hardware.
    DirectWritable,
    /// Bit by bit.
    Bits(&'a PermBits, Writer),
}

/// Names a piece of an access that lies within one capability and is naturally aligned.
#[derive(Clone, Copy)]
struct Chunk {
    /// Where it lies.
    pos: usize,
    /// Bytes: 1, 2 or 4.
    len: usize,
    /// Start of the capability; 0 in the header.
    start: usize,
}

impl Chunk {
    /// Returns the distance from the start of the capability.
    const fn offset(self) -> usize {
        self.pos - self.start
    }

    /// Tells whether the chunk contains the byte at `offset` of the capability.
    const fn contains(self, offset: usize) -> bool {
        self.offset() <= offset && offset < self.offset() + self.len
    }
}

impl Session {
    /// Reads configuration space: ones while an error has cut the function off.
    ///
    /// # Errors
    /// `EFAULT` the access reaches beyond the end; nothing is read then.
    pub(super) fn config_read(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut pos = self.config_range(offset, into.len())?;
        if self.function.registers_stopped() {
            into.fill(0xff);
            return Ok(into.len());
        }
        let mut rest = &mut into[..];
        let mut config = self.config.lock();
        while !rest.is_empty() {
            let (chunk, access) = config.chunk(pos, rest.len());
            let mut value = [0; 4];
            config.read_chunk(self, chunk, &access, &mut value[..chunk.len]);
            let (now, later) = rest.split_at_mut(chunk.len);
            now.copy_from_slice(&value[..chunk.len]);
            rest = later;
            pos += chunk.len;
        }
        Ok(into.len())
    }

    /// Writes configuration space; lost while an error has cut the function off.
    ///
    /// # Errors
    /// `EFAULT` the access reaches beyond the end; nothing is written then.
    pub(super) fn config_write(&self, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let mut pos = self.config_range(offset, from.len())?;
        if self.function.registers_stopped() {
            return Ok(from.len());
        }
        let mut rest = from;
        while !rest.is_empty() {
            let (done, effects) = {
                let mut config = self.config.lock();
                let (chunk, access) = config.chunk(pos, rest.len());
                let effects = config.write_chunk(self, chunk, &access, &rest[..chunk.len]);
                (chunk.len, effects)
            };
            effects.run(self);
            rest = &rest[done..];
            pos += done;
        }
        Ok(from.len())
    }

    fn config_range(&self, offset: u64, len: usize) -> Result<usize, Errno> {
        let size = self.function.config_size() as u64;
        let end = offset.checked_add(len as u64).ok_or(Errno::EFAULT)?;
        if offset >= size || end > size { Err(Errno::EFAULT) } else { Ok(offset as usize) }
    }
}

impl VirtualConfig {
    /// Cuts the next piece off an access of `len` bytes at `pos`, and tells how it is answered.
    fn chunk(&self, pos: usize, len: usize) -> (Chunk, Access<'static>) {
        let id = self.map[pos];
        let same = self.map[pos..].iter().take(4 - pos % 4).take_while(|other| **other == id).count();
        let len = match len.min(same) {
            4.. => 4,
            2.. if pos.is_multiple_of(2) => 2,
            _ => 1,
        };
        let start = match id {
            ID_BASIC => 0,
            ID_UNASSIGNED => pos,
            _ => {
                let floor = if pos >= CONFIG_SIZE { CONFIG_SIZE } else { HEADER_SIZE };
                let run = self.map[floor..pos].iter().rev().take_while(|other| **other == id).count();
                pos - run
            }
        };
        (Chunk { pos, len, start }, self.access(id, pos))
    }

    fn access(&self, id: u8, pos: usize) -> Access<'static> {
        if id == ID_UNASSIGNED {
            return Access::Raw;
        }
        let tables = Tables::get();
        if pos >= CONFIG_SIZE { tables.extended(id) } else { tables.standard(id, self.msi_flags) }
    }

    fn read_chunk(&mut self, session: &Session, chunk: Chunk, access: &Access<'_>, into: &mut [u8]) {
        let Chunk { pos, len, .. } = chunk;
        match access {
            Access::Raw => session.function.config_read(pos as u16, into),
            Access::Direct | Access::DirectWritable => {
                session.function.config_read(pos as u16, into);
                let virtual_bytes = match chunk.offset() {
                    0..4 if pos >= CONFIG_SIZE => len,
                    _ if pos >= CONFIG_SIZE => 0,
                    0 if len > 1 => len.min(usize::from(CAP_NEXT) + 1),
                    offset if offset == usize::from(CAP_NEXT) => 1,
                    _ => 0,
                };
                into[..virtual_bytes].copy_from_slice(&self.bytes[pos..pos + virtual_bytes]);
            }
            Access::Bits(bits, writer) => {
                if *writer == Writer::Header {
                    self.fix_bars_before(session, chunk);
                }
                session.function.config_read(pos as u16, into);
                for (at, byte) in into.iter_mut().enumerate() {
                    let virt = bits.virt(chunk.offset() + at);
                    *byte = *byte & !virt | self.bytes[pos + at] & virt;
                }
            }
        }
    }

    fn write_chunk(&mut self, session: &Session, chunk: Chunk, access: &Access<'_>, from: &[u8]) -> Effects {
        match access {
            Access::Direct => Effects::default(),
            Access::Raw | Access::DirectWritable => {
                Effects::hardware(session.function.write_config(chunk.pos as u16, from))
            }
            Access::Bits(bits, writer) => match writer {
                Writer::Plain => self.write_bits(session, chunk, bits, from),
                Writer::Header => self.write_header(session, chunk, bits, from),
                Writer::Power => self.write_power(session, chunk, bits, from),
                Writer::Vpd => self.write_vpd(session, chunk, bits, from),
                Writer::Express => self.write_express(session, chunk, bits, from),
                Writer::AdvancedFeatures => self.write_advanced(session, chunk, bits, from),
                Writer::Msi => self.write_msi(session, chunk, bits, from),
            },
        }
    }

    /// Writes writable bits: virtual ones here, the others to the hardware.
    fn write_bits(&mut self, session: &Session, chunk: Chunk, bits: &PermBits, from: &[u8]) -> Effects {
        let mut hardware = [0; 4];
        let hardware = &mut hardware[..chunk.len];
        let mut reaches_hardware = false;
        session.function.config_read(chunk.pos as u16, hardware);
        for (at, value) in from.iter().enumerate() {
            let (virt, write) = (bits.virt(chunk.offset() + at), bits.write(chunk.offset() + at));
            let byte = &mut self.bytes[chunk.pos + at];
            *byte = *byte & !(write & virt) | value & write & virt;
            hardware[at] = hardware[at] & !(write & !virt) | value & write & !virt;
            reaches_hardware |= write & !virt != 0;
        }
        if reaches_hardware {
            Effects::hardware(session.function.write_config(chunk.pos as u16, hardware))
        } else {
            Effects::default()
        }
    }
}
