//! Holding the domain's lock and the table's for a series of changes.

use parking_lot::RwLockWriteGuard;

use super::Domain;
use super::state::State;
use crate::{Editor, IoPageTable};

/// Changes the page table, which is locked at the first change only: mediated devices never need it.
pub(super) struct Changes<'t> {
    table: &'t IoPageTable,
    editor: Option<Editor<'t>>,
}

impl<'t> Changes<'t> {
    pub(super) fn to(table: &'t IoPageTable) -> Self {
        Self { table, editor: None }
    }

    pub(super) fn editor(&mut self) -> &mut Editor<'t> {
        self.editor.get_or_insert_with(|| self.table.edit())
    }
}

/// Holds the domain's lock from its first use until it is released or dropped.
#[derive(Default)]
pub(super) struct Session<'d>(Option<Locked<'d>>);

/// The order matters: what was unmapped is out of reach before others may look at the domain.
struct Locked<'d> {
    changes: Changes<'d>,
    state: RwLockWriteGuard<'d, State>,
}

impl<'d> Session<'d> {
    pub(super) fn lock(&mut self, domain: &'d Domain) -> (&mut Changes<'d>, &mut State) {
        let locked = self.0.get_or_insert_with(|| Locked {
            state: domain.state.write(),
            changes: Changes::to(&domain.table),
        });
        (&mut locked.changes, &mut locked.state)
    }

    pub(super) fn release(&mut self) {
        self.0 = None;
    }
}
