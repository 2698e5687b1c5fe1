//! Tests of the fault log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FaultContext, FaultLog, MapChange, MapHistory};
use crate::{Access, DmaFault, FaultReason, IovaRange};

fn fault(iova: u64, reason: FaultReason) -> DmaFault {
    DmaFault { iova, len: 0x40, access: Access::Write, reason }
}

fn device() -> Arc<str> {
    "0000:06:0d.0".into()
}

#[test]
fn keeps_the_latest_and_counts_all() {
    let log = FaultLog::new(2);
    for iova in 0..5 {
        log.record(&device(), fault(iova, FaultReason::NoMapping), FaultContext::default());
    }
    assert_eq!(log.total(), 5);
    let kept: Vec<(u64, u64)> =
        log.records().iter().map(|record| (record.sequence, record.fault.iova)).collect();
    assert_eq!(kept, [(4, 3), (5, 4)]);
    log.set_capacity(0);
    assert_eq!(log.latest(), None);
    log.record(&device(), fault(9, FaultReason::NoMapping), FaultContext::default());
    assert_eq!((log.total(), log.records().len()), (6, 0));
}

#[test]
fn tells_a_listener_that_may_look_at_the_log() {
    let log = Arc::new(FaultLog::default());
    let seen = Arc::new(AtomicU64::new(0));
    let (inner, sum) = (Arc::clone(&log), Arc::clone(&seen));
    log.set_listener(Some(Arc::new(move |record| {
        sum.fetch_add(record.fault.iova + inner.total(), Ordering::Relaxed);
    })));
    log.record(&device(), fault(10, FaultReason::NoMapping), FaultContext::default());
    log.set_listener(None);
    log.record(&device(), fault(10, FaultReason::NoMapping), FaultContext::default());
    assert_eq!(seen.load(Ordering::Relaxed), 11);
}

#[test]
fn explains_an_address_past_the_end() {
    let history = MapHistory::default();
    history.record(MapChange::Mapped, IovaRange::new(0x10_0000, 0x1f_ffff).unwrap());
    history.record(MapChange::Unmapped, IovaRange::new(0x10_0000, 0x1f_ffff).unwrap());
    history.record(MapChange::Mapped, IovaRange::new(0, 0xf_ffff).unwrap());
    let log = FaultLog::default();
    let context = FaultContext {
        below: IovaRange::new(0, 0xf_ffff),
        above: None,
        last_change: history.last_covering(0x10_0000),
    };
    log.record(&device(), fault(0x10_0000, FaultReason::NoMapping), context);
    assert_eq!(
        log.latest().unwrap().explain(),
        "0000:06:0d.0: DMA write of 0x40 bytes at 0x100000 refused: nothing is mapped there. The nearest mapping \
         below, 0x0..=0xfffff, ends 0x1 bytes before it; there is none above. The address was last unmapped with \
         0x100000..=0x1fffff, one change ago. Map it for writing before the device uses it."
    );
}

#[test]
fn explains_what_has_nothing_to_do_with_mappings() {
    let log = FaultLog::default();
    log.record(&device(), fault(0, FaultReason::BusMasterOff), FaultContext::default());
    assert_eq!(
        log.latest().unwrap().explain(),
        "0000:06:0d.0: DMA write of 0x40 bytes at 0x0 refused: bus mastering is off. Set the bus master bit (0x4) \
         of the device's PCI command register."
    );
}

#[test]
fn forgets_old_changes() {
    let history = MapHistory::new(2);
    for page in 0..3_u64 {
        history.record(MapChange::Mapped, IovaRange::sized(page << 12, 4096).unwrap());
    }
    assert_eq!(history.last_covering(0), None);
    assert_eq!(history.last_covering(0x1000).map(|event| event.ago), Some(1));
    let none = MapHistory::new(0);
    none.record(MapChange::Mapped, IovaRange::ALL);
    assert_eq!(none.last_covering(0), None);
}
