//! What the kernel is told unasked.

use std::sync::Arc;

use vfio_uapi::Errno;

use crate::abi::notice;
use crate::channel::Channel;

/// Tells the kernel of changes. The kernel takes its locks meanwhile, so this must not be called where a request that holds
/// them waits for the same thread: from the thread of the file system only about nodes that nobody is at work on.
#[derive(Clone)]
pub struct Notifier(pub(crate) Arc<Channel>);

impl Notifier {
    /// Has the kernel look up a name anew.
    ///
    /// # Errors
    /// `ENOENT` the kernel knows no such name, which is well; `ENOTCONN` the session has ended.
    pub fn invalidate_entry(&self, parent: u64, name: &[u8]) -> Result<(), Errno> {
        let mut body = parent.to_ne_bytes().to_vec();
        put_name(&mut body, name, &[0; 4])?;
        self.0.answer(0, notice::INVALIDATE_ENTRY, [&body, &[]])
    }

    /// Says that a name has gone with the node that it led to. Watchers of the node itself see it deleted.
    ///
    /// # Errors
    /// `ENOENT` the kernel knows no such name or another node behind it, `ENOTEMPTY` it knows names in the directory, `EBUSY`
    /// something is mounted there, `ENOTCONN` the session has ended.
    pub fn delete(&self, parent: u64, child: u64, name: &[u8]) -> Result<(), Errno> {
        let mut body = parent.to_ne_bytes().to_vec();
        body.extend(child.to_ne_bytes());
        put_name(&mut body, name, &[0; 4])?;
        self.0.answer(0, notice::DELETE, [&body, &[]])
    }

    /// Has the kernel ask for attributes anew, and drop what it has cached of the contents.
    ///
    /// # Errors
    /// `ENOENT` the kernel knows no such node, which is well; `ENOTCONN` the session has ended.
    pub fn invalidate_node(&self, node: u64) -> Result<(), Errno> {
        let mut body = node.to_ne_bytes().to_vec();
        body.extend([0; 16]);
        self.0.answer(0, notice::INVALIDATE_NODE, [&body, &[]])
    }

    /// Wakes who polls: `kh` is that of the request.
    ///
    /// # Errors
    /// `ENOENT` nobody waits any more, `ENOTCONN` the session has ended.
    pub fn wake_poll(&self, kh: u64) -> Result<(), Errno> {
        self.0.answer(0, notice::POLL, [&kh.to_ne_bytes(), &[]])
    }
}

/// The length of a name, `between`, the name and a NUL.
fn put_name(body: &mut Vec<u8>, name: &[u8], between: &[u8]) -> Result<(), Errno> {
    body.extend(u32::try_from(name.len()).map_err(|_| Errno::ENAMETOOLONG)?.to_ne_bytes());
    body.extend(between);
    body.extend(name);
    body.push(0);
    Ok(())
}
