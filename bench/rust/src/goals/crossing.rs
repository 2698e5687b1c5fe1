//! The Rust side of P9: what the same work costs without JavaScript.

use vfio_iommu::{Access, DmaSpace};

use crate::contest::Contest;
use crate::goal::{Effort, Goal};
use crate::layout::Layout;
use crate::random::{Addresses, Stream};

/// Addresses of a batch.
const BATCH: usize = 1024;
const COPY: usize = 65_536;

pub fn run(effort: Effort) -> Goal {
    let mut goal = Goal::new("P9", "from JavaScript");
    let layout = Layout::a();
    layout.memory().fill(0, 1, 64 << 20).expect("it is there");
    let table = layout.table();
    let list = Addresses::new(Stream::Random, layout.base, layout.pages(), layout.span, BATCH).list();

    let mut batch = list.clone();
    let mut contest = Contest::new("translate 1,024", BATCH);
    contest.add("reader", || {
        let reader = table.reader();
        list.iter().fold(0, |sum: u64, iova| {
            sum.wrapping_add(reader.translate(*iova, Access::Read).map_or(u64::MAX, |found| found.host))
        })
    });
    contest.add("batch", || {
        batch.copy_from_slice(&list);
        table.translate_batch(&mut batch, Access::Read);
        batch.iter().fold(0, |sum: u64, host| sum.wrapping_add(*host))
    });
    goal.contest(&contest.run(effort.rounds * 20));

    let mut into = vec![0_u8; COPY];
    let mut contest = Contest::new("copy 64 KiB", 1);
    contest.add("read", || {
        table.read(layout.base, &mut into).expect("it is mapped");
        u64::from(into[COPY - 1])
    });
    goal.contest(&contest.run(effort.rounds * 20));
    goal
}
