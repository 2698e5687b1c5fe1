//! Wall time, and the processor time of the calling thread.

use std::time::Instant;

/// Nanoseconds that something took.
#[derive(Clone, Copy, Default)]
pub struct Took {
    pub cpu: f64,
    pub wall: f64,
}

/// Returns the processor time of the calling thread in nanoseconds.
pub fn thread_cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills the structure that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Runs `work` and tells how long it took.
pub fn time<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (cpu, wall) = (thread_cpu(), Instant::now());
    let result = work();
    let wall = wall.elapsed().as_nanos() as f64;
    (result, Took { cpu: thread_cpu() - cpu, wall })
}
