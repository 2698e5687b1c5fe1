//! Answers that may come later.

use vfio_uapi::Errno;

/// Receives the result of a submitted access, once.
pub type Completion<T> = Box<dyn FnOnce(Result<T, Errno>) + Send>;

/// Makes a [`Completion`] of a closure.
pub fn complete<T>(done: impl FnOnce(Result<T, Errno>) + Send + 'static) -> Completion<T> {
    Box::new(done)
}
