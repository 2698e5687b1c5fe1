//! A remote device with the face of one in this process.

use vfio_device::ops::{
    Completion, DeviceInfo, IrqData, IrqFd, IrqHeader, IrqInfo, IrqSet, RegionInfo, RegionMapping,
    RegionMemory, complete,
};
use vfio_device::pci::Doorbell;
use vfio_device::{EventFd, VfioDeviceOps};
use vfio_uapi::Errno;

use super::RemoteDevice;
use super::ask::{self, Ask};

impl VfioDeviceOps for RemoteDevice {
    fn name(&self) -> &str {
        "vfio-user"
    }

    /// Asks the server; a server that is gone has no regions and no interrupts.
    fn info(&self) -> DeviceInfo {
        self.call(ask::info()).unwrap_or_default()
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        self.query_region(index).map(|region| region.info)
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        self.call(ask::irq_info(index))
    }

    fn set_irqs(&self, request: &IrqSet) -> Result<(), Errno> {
        self.irq_messages(request)?.into_iter().try_for_each(|ask| self.call(ask))
    }

    fn reset(&self) -> Result<(), Errno> {
        self.call(ask::reset())
    }

    fn read(&self, region: u32, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        for part in into.chunks_mut(self.connection.max_transfer()) {
            let at = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
            self.connection.read_region(region, at, part)?;
            done += part.len();
        }
        Ok(done)
    }

    fn write(&self, region: u32, offset: u64, from: &[u8]) -> Result<usize, Errno> {
        let mut done = 0;
        for part in from.chunks(self.connection.max_transfer()) {
            let at = offset.checked_add(done as u64).ok_or(Errno::EINVAL)?;
            self.connection.write_region(region, at, part)?;
            done += part.len();
        }
        Ok(done)
    }

    fn submit_read(&self, region: u32, offset: u64, len: usize, done: Completion<Vec<u8>>) {
        read_on(self.clone(), region, offset, len, Vec::new(), done);
    }

    fn submit_write(&self, region: u32, offset: u64, from: Vec<u8>, done: Completion<usize>) {
        write_on(self.clone(), region, offset, from, 0, done);
    }

    fn mmap(&self, region: u32, offset: u64, len: u64) -> Result<RegionMapping, Errno> {
        let areas = self.region_memory(region);
        let found = areas.into_iter().find_map(|area| Some((area.find(offset, len)?, area.memory)));
        let (offset, memory) = found.filter(|_| len != 0).ok_or(Errno::EINVAL)?;
        Ok(RegionMapping::Memory { memory, offset, len })
    }

    fn region_memory(&self, region: u32) -> Vec<RegionMemory> {
        self.query_region(region).map_or_else(|_| Vec::new(), |region| region.memory)
    }

    fn doorbells(&self, region: u32) -> Vec<Doorbell> {
        self.call(ask::doorbells(region)).unwrap_or_default()
    }

    fn migration_read(&self, size: usize) -> Result<Vec<u8>, Errno> {
        self.call(ask::migration_read(size.min(self.connection.max_transfer()) as u32))
    }

    fn migration_write(&self, data: &[u8]) -> Result<(), Errno> {
        data.chunks(self.connection.max_transfer()).try_for_each(|part| self.call(ask::migration_write(part)))
    }
}

impl RemoteDevice {
    /// Sets up, triggers, masks or unmasks interrupts without waiting.
    pub fn submit_irqs(&self, request: &IrqSet, done: Completion<()>) {
        match self.irq_messages(request) {
            Ok(asks) => one_by_one(self.clone(), asks.into_iter(), done),
            Err(errno) => done(Err(errno)),
        }
    }

    /// Puts a request into messages: descriptors count from the first interrupt of a message on, and a message bears
    /// only so many. Where several are needed the first one names all interrupts, so that those which are set up as
    /// a whole are.
    ///
    /// # Errors
    /// Those of an event's lookup; `EINVAL` beyond the last number there is.
    fn irq_messages(&self, request: &IrqSet) -> Result<Vec<Ask<()>>, Errno> {
        let header = request.header;
        let entries = match &request.data {
            IrqData::None => return Ok(vec![ask::set_irqs(header, &[], Vec::new())]),
            IrqData::Bool(bools) => return Ok(vec![ask::set_irqs(header, bools, Vec::new())]),
            IrqData::EventFds(entries) => entries,
        };
        let most = usize::try_from(self.server().max_msg_fds).unwrap_or(usize::MAX);
        let runs = runs(entries, most.clamp(1, crate::socket::MAX_FDS))?;
        let leading = runs.first().filter(|run| run.events.is_empty() && runs.len() > 1).map(|run| run.count);
        let mut messages = Vec::new();
        let mut message = |at: usize, count: usize, events: Vec<EventFd>| {
            let start = header.start.checked_add(at as u32).ok_or(Errno::EINVAL)?;
            messages.push(ask::set_irqs(IrqHeader { start, count: count as u32, ..header }, &[], events));
            Ok::<_, Errno>(())
        };
        for Run { at, count, events } in runs {
            let first = at == leading.unwrap_or(0);
            // The first message lets those go that it has no event for, which is what later ones want of theirs.
            if first {
                message(at, if events.is_empty() { count } else { entries.len() - at }, events)?;
            } else if !events.is_empty() {
                message(at, count, events)?;
            }
        }
        if let Some(count) = leading {
            message(0, count, Vec::new())?;
        }
        Ok(messages)
    }
}

/// Entries in a row that have an event each, or none.
struct Run {
    at: usize,
    count: usize,
    events: Vec<EventFd>,
}

/// Cuts entries into runs, of which none has more events than `most`; there is at least one.
fn runs(entries: &[IrqFd], most: usize) -> Result<Vec<Run>, Errno> {
    let mut runs = vec![Run { at: 0, count: 0, events: Vec::new() }];
    for (at, entry) in entries.iter().enumerate() {
        let event = entry.event()?;
        let run = runs.last_mut().expect("there is one");
        let alike = run.count == 0 || event.is_some() != run.events.is_empty();
        if !alike || run.events.len() == most {
            runs.push(Run { at, count: 0, events: Vec::new() });
        }
        let run = runs.last_mut().expect("there is one");
        run.count += 1;
        run.events.extend(event.cloned());
    }
    Ok(runs)
}

fn one_by_one(device: RemoteDevice, mut asks: std::vec::IntoIter<Ask<()>>, done: Completion<()>) {
    let Some(ask) = asks.next() else { return done(Ok(())) };
    let next = device.clone();
    device.submit(
        ask,
        complete(move |answer: Result<(), Errno>| match answer {
            Ok(()) => one_by_one(next, asks, done),
            Err(errno) => done(Err(errno)),
        }),
    );
}

fn read_on(
    device: RemoteDevice,
    region: u32,
    offset: u64,
    left: usize,
    mut read: Vec<u8>,
    done: Completion<Vec<u8>>,
) {
    if left == 0 {
        return done(Ok(read));
    }
    let count = left.min(device.connection.max_transfer());
    let Some(next) = offset.checked_add(count as u64) else { return done(Err(Errno::EINVAL)) };
    let connection = device.clone();
    let answered = move |answer: Result<Vec<u8>, Errno>| match answer {
        Ok(part) => {
            read.extend_from_slice(&part);
            read_on(device, region, next, left - count, read, done);
        }
        Err(errno) => done(Err(errno)),
    };
    connection.submit(ask::read(region, offset, count), complete(answered));
}

fn write_on(
    device: RemoteDevice,
    region: u32,
    offset: u64,
    from: Vec<u8>,
    at: usize,
    done: Completion<usize>,
) {
    if at == from.len() {
        return done(Ok(at));
    }
    let count = (from.len() - at).min(device.connection.max_transfer());
    let Some(place) = offset.checked_add(at as u64) else { return done(Err(Errno::EINVAL)) };
    let ask = ask::write(region, place, &from[at..at + count]);
    let connection = device.clone();
    let answered = move |answer: Result<(), Errno>| match answer {
        Ok(()) => write_on(device, region, offset, from, at + count, done),
        Err(errno) => done(Err(errno)),
    };
    connection.submit(ask, complete(answered));
}
