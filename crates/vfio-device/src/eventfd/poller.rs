//! Watches eventfds for writers outside: one epoll instance and one thread, made when first needed.
//!
//! Registrations are edge triggered: a counter that its subscribers leave non-zero does not keep the thread busy, while
//! every further write wakes it again.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use rustix::event::epoll;
use vfio_uapi::Errno;

use super::counter::from_os;
use super::{Event, Inner};

struct Poller {
    epoll: OwnedFd,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    last_id: u64,
    by_id: HashMap<u64, Weak<Inner>>,
}

/// How long the thread rests when counters signal each other in a circle.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

static POLLER: OnceLock<Result<&'static Poller, Errno>> = OnceLock::new();

/// Has the thread notify the subscribers of `inner` from now on.
pub(super) fn watch(inner: &Arc<Inner>) -> Result<(), Errno> {
    let Some(fd) = inner.counter.as_fd() else { return Ok(()) };
    let poller = (*POLLER.get_or_init(Poller::start))?;
    let mut watched = poller.watched.lock();
    if inner.watched_as.load(Ordering::Acquire) != 0 {
        return Ok(());
    }
    let id = watched.last_id + 1;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&poller.epoll, fd, epoll::EventData::new_u64(id), flags).map_err(from_os)?;
    watched.last_id = id;
    watched.by_id.insert(id, Arc::downgrade(inner));
    inner.watched_as.store(id, Ordering::Release);
    Ok(())
}

/// Ends watching a counter whose last clone is being dropped: its file may live on in another process.
pub(super) fn forget(inner: &Inner) {
    let id = inner.watched_as.load(Ordering::Acquire);
    if id == 0 {
        return;
    }
    if let (Some(fd), Some(Ok(poller))) = (inner.counter.as_fd(), POLLER.get()) {
        poller.watched.lock().by_id.remove(&id);
        // Fails only for a descriptor that is not in the set, which is what is wanted.
        let _ = epoll::delete(&poller.epoll, fd);
    }
}

impl Poller {
    fn start() -> Result<&'static Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(from_os)?;
        let poller: &'static Self = Box::leak(Box::new(Self { epoll, watched: Mutex::default() }));
        std::thread::Builder::new()
            .name("vfio-eventfd".into())
            .spawn(move || poller.run())
            .map_err(|_| Errno::ENOMEM)?;
        Ok(poller)
    }

    fn run(&self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(32);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &events {
                let data = event.data;
                let known = self.watched.lock().by_id.get(&data.u64()).cloned();
                if let Some(inner) = known.and_then(|inner| inner.upgrade()) {
                    // Counters in a circle wake this thread again and again: leave some time to others.
                    if !inner.notify(Event::Readable) {
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        }
    }
}
