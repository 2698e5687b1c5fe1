//! The table as a device's view of memory: each call is an epoch of its own, and so is each batch.

use super::IoPageTable;
use crate::space::translate_each;
use crate::{Access, DmaFault, DmaSpace, Iova, Translation};

impl DmaSpace for IoPageTable {
    fn read(&self, iova: Iova, into: &mut [u8]) -> Result<(), DmaFault> {
        self.read_once(iova, into)
    }

    fn write(&self, iova: Iova, from: &[u8]) -> Result<(), DmaFault> {
        self.write_once(iova, from)
    }

    fn fill(&self, iova: Iova, byte: u8, len: u64) -> Result<(), DmaFault> {
        self.reader().fill(iova, byte, len)
    }

    fn compare_exchange_u32(&self, iova: Iova, current: u32, new: u32) -> Result<u32, DmaFault> {
        self.reader().compare_exchange_u32(iova, current, new)
    }

    fn compare_exchange_u64(&self, iova: Iova, current: u64, new: u64) -> Result<u64, DmaFault> {
        self.reader().compare_exchange_u64(iova, current, new)
    }

    fn fetch_add_u32(&self, iova: Iova, value: u32) -> Result<u32, DmaFault> {
        self.reader().fetch_add_u32(iova, value)
    }

    fn fetch_add_u64(&self, iova: Iova, value: u64) -> Result<u64, DmaFault> {
        self.reader().fetch_add_u64(iova, value)
    }

    fn translate(&self, iova: Iova, access: Access) -> Result<Translation, DmaFault> {
        self.translate_once(iova, access)
    }

    fn peek(&self, iova: Iova, access: Access) -> Option<Translation> {
        self.translate_once(iova, access).ok()
    }

    fn translate_batch(&self, iovas: &mut [u64], access: Access) -> usize {
        let reader = self.reader();
        translate_each(iovas, |iova| reader.translate(iova, access))
    }

    fn read_batch(&self, segments: &[[u64; 2]], into: &mut [u8]) -> Result<(), DmaFault> {
        self.reader().read_batch(segments, into)
    }

    fn write_batch(&self, segments: &[[u64; 2]], from: &[u8]) -> Result<(), DmaFault> {
        self.reader().write_batch(segments, from)
    }
}
