//! Pages that devices ask for: requests that user space reads and answers (`IOMMUFD_OBJ_FAULT`).
//!
//! An access that misses makes one group of requests, a request for each page. A group waits to be read, then, under a
//! cookie, to be answered; whoever waits for it is told with no lock held.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_uapi::Errno;

use crate::{Access, Iova};

/// Most groups that one queue holds; what comes then is refused at once.
const CAPACITY: usize = 4096;

/// The PASID field is meant.
const PASID_VALID: u32 = 1 << 0;
/// The last request of its group.
const LAST_PAGE: u32 = 1 << 1;

/// What user space says to a group of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageAnswer {
    /// The pages are there: try again.
    Success,
    /// They will not be: the access fails.
    Invalid,
}

/// One request as it is read (`struct iommu_hwpt_pgfault`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// `IOMMU_PGFAULT_FLAGS_*`.
    pub flags: u32,
    /// Id of the device.
    pub device: u32,
    /// PASID; counts if the flags say so.
    pub pasid: u32,
    /// Number of the group, as the device gave it.
    pub group: u32,
    /// `IOMMU_PGFAULT_PERM_*`.
    pub perm: u32,
    /// The page.
    pub addr: Iova,
    /// By which the group is answered.
    pub cookie: u32,
}

/// Names one attachment of a device; the caller chooses the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttachId(pub u64);

/// Is told how a group was answered, with no lock held.
pub(super) type Waiter = Box<dyn FnOnce(PageAnswer) + Send>;

/// Is told that there is something to read, with no lock held.
pub type ReadyListener = Arc<dyn Fn() + Send + Sync>;

/// A group that is to be asked for.
pub struct PageGroup {
    /// Which attachment misses the pages.
    pub attach: AttachId,
    /// Id of the device.
    pub device: u32,
    /// PASID of the access, if it had one.
    pub pasid: Option<u32>,
    /// Number that the device gives the group.
    pub number: u32,
    /// `IOMMU_PGFAULT_PERM_*`.
    pub perm: u32,
    /// The pages.
    pub pages: Vec<Iova>,
}

struct Group {
    asked: PageGroup,
    waiters: Vec<Waiter>,
}

/// Keeps groups of requests until they are answered.
#[derive(Default)]
pub struct PageRequests {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    unread: VecDeque<Group>,
    unanswered: BTreeMap<u32, Group>,
    listener: Option<ReadyListener>,
}

/// Returns the bits of the right that an access asks for.
pub(super) const fn perm_of(access: Access) -> u32 {
    match access {
        Access::Read => 1,
        Access::Write => 2,
    }
}

impl PageRequests {
    /// Makes an empty queue.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Has `listener` be told when there is something to read.
    pub fn on_ready(&self, listener: Option<ReadyListener>) {
        let old = std::mem::replace(&mut self.inner.lock().listener, listener);
        drop(old);
    }

    /// Asks for pages on behalf of whoever made the group, without waiting for the answer.
    ///
    /// # Errors
    /// `ENOSPC` the queue is full.
    pub fn report(&self, group: PageGroup) -> Result<(), Errno> {
        self.add(group, None, false).map_err(|_| Errno::ENOSPC)
    }

    /// Asks for pages. Where the same were asked for already, and nobody has answered, `waiter` joins.
    ///
    /// # Errors
    /// The waiter: the queue is full.
    pub(super) fn ask(&self, asked: PageGroup, waiter: Option<Waiter>) -> Result<(), Option<Waiter>> {
        self.add(asked, waiter, true)
    }

    fn add(&self, asked: PageGroup, waiter: Option<Waiter>, joins: bool) -> Result<(), Option<Waiter>> {
        let listener = {
            let mut inner = self.inner.lock();
            if joins && let Some(group) = inner.same(&asked) {
                group.waiters.extend(waiter);
                return Ok(());
            }
            if inner.unread.len() + inner.unanswered.len() >= CAPACITY {
                return Err(waiter);
            }
            inner.unread.push_back(Group { asked, waiters: waiter.into_iter().collect() });
            inner.listener.clone()
        };
        if let Some(listener) = listener {
            listener();
        }
        Ok(())
    }

    /// Tells whether there is something to read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.inner.lock().unread.is_empty()
    }

    /// Reads whole groups, of at most `room` requests.
    ///
    /// # Errors
    /// `EINVAL` the first group has more.
    pub fn read(&self, room: usize) -> Result<Vec<PageRequest>, Errno> {
        let mut inner = self.inner.lock();
        let mut requests = Vec::new();
        while let Some(group) = inner.unread.pop_front() {
            if group.asked.pages.len() > room - requests.len() {
                inner.unread.push_front(group);
                if requests.is_empty() {
                    return Err(Errno::EINVAL);
                }
                break;
            }
            let cookie = inner.free_cookie();
            requests.extend(group.asked.requests(cookie));
            inner.unanswered.insert(cookie, group);
        }
        Ok(requests)
    }

    /// Answers a group that was read.
    ///
    /// # Errors
    /// `EINVAL` no group with that cookie waits.
    pub fn answer(&self, cookie: u32, answer: PageAnswer) -> Result<(), Errno> {
        let group = self.inner.lock().unanswered.remove(&cookie).ok_or(Errno::EINVAL)?;
        group.finish(answer);
        Ok(())
    }

    /// Gives up all groups of an attachment: its device was detached.
    pub(super) fn give_up(&self, attach: AttachId) {
        self.give_up_if(|group| group.attach == attach);
    }

    /// Gives up every group: the queue goes.
    pub fn close(&self) {
        self.on_ready(None);
        self.give_up_if(|_| true);
    }

    fn give_up_if(&self, gone: impl Fn(&PageGroup) -> bool) {
        let groups = {
            let mut inner = self.inner.lock();
            let (groups, unread) =
                std::mem::take(&mut inner.unread).into_iter().partition(|group| gone(&group.asked));
            inner.unread = unread;
            let mut groups: VecDeque<Group> = groups;
            let cookies: Vec<u32> =
                inner.unanswered.iter().filter(|(_, group)| gone(&group.asked)).map(|(at, _)| *at).collect();
            groups.extend(cookies.iter().filter_map(|cookie| inner.unanswered.remove(cookie)));
            groups
        };
        groups.into_iter().for_each(|group| group.finish(PageAnswer::Invalid));
    }
}

impl Inner {
    /// Finds a group that asks for the same; its number is its own.
    fn same(&mut self, asked: &PageGroup) -> Option<&mut Group> {
        let same = |group: &&mut Group| {
            let other = &group.asked;
            other.attach == asked.attach
                && other.pasid == asked.pasid
                && other.perm == asked.perm
                && other.pages == asked.pages
        };
        self.unread.iter_mut().chain(self.unanswered.values_mut()).find(same)
    }

    /// Returns the lowest cookie that is free, from 1 on.
    fn free_cookie(&self) -> u32 {
        let mut cookie = 1;
        for used in self.unanswered.keys() {
            if *used != cookie {
                break;
            }
            cookie += 1;
        }
        cookie
    }
}

impl PageGroup {
    fn requests(&self, cookie: u32) -> impl Iterator<Item = PageRequest> {
        let last = self.pages.len().saturating_sub(1);
        let flags = if self.pasid.is_some() { PASID_VALID } else { 0 };
        self.pages.iter().enumerate().map(move |(at, addr)| PageRequest {
            flags: flags | if at == last { LAST_PAGE } else { 0 },
            device: self.device,
            pasid: self.pasid.unwrap_or(0),
            group: self.number,
            perm: self.perm,
            addr: *addr,
            cookie,
        })
    }
}

impl Group {
    fn finish(self, answer: PageAnswer) {
        self.waiters.into_iter().for_each(|waiter| waiter(answer));
    }
}

impl Drop for PageRequests {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for PageRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.lock();
        f.debug_struct("PageRequests")
            .field("unread", &inner.unread.len())
            .field("unanswered", &inner.unanswered.len())
            .finish_non_exhaustive()
    }
}
