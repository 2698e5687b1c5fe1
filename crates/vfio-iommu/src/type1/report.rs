//! Logging what was refused.

use std::sync::Arc;

use super::Domain;
use crate::{DmaFault, FaultReason, IovaRange};

impl Domain {
    /// Logs a refusal with what is known of the address; returns it, with the reason made more precise.
    ///
    /// No lock or epoch may be held: the log's listener is called.
    #[cold]
    pub(super) fn report(&self, device: &Arc<str>, mut fault: DmaFault) -> DmaFault {
        let context = {
            let state = self.state.read();
            let at = IovaRange::sized(fault.iova, 1).expect("one byte is not empty");
            if fault.reason == FaultReason::NoMapping && !state.iovas.allows(at) {
                fault.reason = FaultReason::OutsideWindow;
            }
            state.fault_context(fault.iova)
        };
        self.faults.record(device, fault, context);
        fault
    }
}
