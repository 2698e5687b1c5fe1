use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vfio_uapi::Errno;

use super::{Event, EventFd, MAX};

fn both() -> [EventFd; 2] {
    [EventFd::new(0).unwrap(), EventFd::in_process(0).unwrap()]
}

#[test]
fn counts_and_is_taken_whole() {
    for event in both() {
        assert_eq!(event.read(), None);
        event.signal(1);
        event.signal(2);
        assert!(event.is_readable());
        assert_eq!(event.read(), Some(3));
        assert!(!event.is_readable());
    }
}

#[test]
fn shows_its_count_and_its_room_without_taking_anything() {
    for event in both() {
        assert_eq!((event.count(), event.is_readable(), event.is_writable()), (Ok(0), false, true));
        event.add(MAX - 1).unwrap();
        assert_eq!((event.count(), event.is_readable(), event.is_writable()), (Ok(MAX - 1), true, true));
        event.add(1).unwrap();
        assert_eq!((event.count(), event.is_readable(), event.is_writable()), (Ok(MAX), true, false));
        assert_eq!(event.read(), Some(MAX));
        assert_eq!(event.count(), Ok(0));
    }
}

#[test]
fn saturates_instead_of_blocking() {
    for event in both() {
        event.add(MAX).unwrap();
        assert_eq!(event.add(1), Err(Errno::EAGAIN));
        assert_eq!(event.add(u64::MAX), Err(Errno::EINVAL));
        event.signal(1);
        event.signal(u64::MAX);
        assert_eq!(event.read(), Some(MAX));
    }
}

#[test]
fn runs_subscribers_before_the_write_returns() {
    for event in both() {
        let seen = Arc::new(AtomicU64::new(0));
        let subscription = {
            let (seen, event2) = (Arc::clone(&seen), event.clone());
            event.subscribe(move |what| {
                if what == Event::Readable {
                    seen.fetch_add(event2.read().unwrap_or(0), Ordering::SeqCst);
                }
            })
        };
        event.signal(5);
        assert_eq!(seen.load(Ordering::SeqCst), 5);
        drop(subscription);
        event.signal(1);
        assert_eq!(seen.load(Ordering::SeqCst), 5);
        assert_eq!(event.read(), Some(1));
    }
}

#[test]
fn a_subscriber_may_signal_another_counter_and_end_its_own_subscription() {
    let (first, second) = (EventFd::new(0).unwrap(), EventFd::new(0).unwrap());
    let slot = Arc::new(parking_lot::Mutex::new(None));
    let subscription = {
        let (slot, second) = (Arc::clone(&slot), second.clone());
        first.subscribe(move |_| {
            second.signal(1);
            drop(slot.lock().take());
        })
    };
    *slot.lock() = Some(subscription.unwrap());
    first.signal(1);
    first.signal(1);
    assert_eq!(second.read(), Some(1));
}

#[test]
fn counters_in_a_circle_are_broken_off() {
    let (first, second) = (EventFd::in_process(0).unwrap(), EventFd::in_process(0).unwrap());
    let forward = |from: &EventFd, to: &EventFd| {
        let (from2, to) = (from.clone(), to.clone());
        from.subscribe(move |_| {
            let _ = from2.read();
            to.signal(1);
        })
    };
    let circle = [forward(&first, &second), forward(&second, &first), forward(&first, &first)];
    first.signal(1);
    drop(circle);
    assert!(first.is_readable(), "what was not told stays in the counter");
}

#[cfg(target_os = "linux")]
#[test]
fn notices_writers_outside() {
    let event = EventFd::new(0).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let _subscription = {
        let (seen, event2) = (Arc::clone(&seen), event.clone());
        event.subscribe(move |_| {
            seen.fetch_add(event2.read().unwrap_or(0), Ordering::SeqCst);
        })
    };
    for round in 1..=3 {
        rustix::io::write(event.as_fd().unwrap().unwrap(), &1u64.to_ne_bytes()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while seen.load(Ordering::SeqCst) < round && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(seen.load(Ordering::SeqCst), round);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn takes_over_eventfds_only() {
    let event = EventFd::new(7).unwrap();
    let copy = event.as_fd().unwrap().unwrap().try_clone_to_owned().unwrap();
    assert_eq!(EventFd::from_fd(copy).unwrap().read(), Some(7));
    let file = std::fs::File::open("/proc/self/stat").unwrap();
    assert_eq!(EventFd::from_fd(file.into()).unwrap_err(), Errno::EINVAL);
}
