//! P1 and P2: where an address leads to.

use vfio_iommu::DmaSpace;

use crate::contest::{Contest, Outcome};
use crate::goal::{Effort, Goal};
use crate::layout::Layout;
use crate::peers::ours::{answer_held, answer_held_dependent, answer_held_list};
use crate::peers::{
    Art, Flat, GTree, Intervals, Ranges, RedBlack, Tlb, Translate, Tree, answer, answer_dependent,
    answer_list,
};
use crate::random::{Addresses, Stream};

/// Which peers beside the flat array take part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    All,
    Some,
    None,
}

fn run(
    effort: Effort,
    name: &str,
    layout: &Layout,
    stream: Stream,
    dependent: bool,
    field: Field,
) -> Outcome {
    let ops = effort.ops(1 << 18);
    let stream = Addresses::new(stream, layout.base, layout.pages(), layout.span, ops);
    let table = layout.table();
    let table = &table;
    let mut contest = Contest::new(name, ops);
    contest.add("vfio", move || {
        if dependent { answer_held_dependent(table, stream) } else { answer_held(table, stream) }
    });
    fn asked<T: Translate>(
        mut peer: T,
        layout: &Layout,
        stream: Addresses,
        dependent: bool,
    ) -> impl FnMut() -> u64 + use<T> {
        layout.mappings().for_each(|(iova, host)| peer.map(iova, layout.span, host));
        move || if dependent { answer_dependent(&peer, stream) } else { answer(&peer, stream) }
    }
    let flat = Flat::new(layout.base, layout.span, layout.pages());
    contest.add("flat", asked(flat, layout, stream, dependent));
    if field != Field::None {
        contest.add("BTreeMap", asked(Tree::default(), layout, stream, dependent));
        if let Some(tree) = GTree::new() {
            contest.add("GTree", asked(tree, layout, stream, dependent));
        }
    }
    if field == Field::All {
        contest.add("vm-memory Iotlb", asked(Tlb::default(), layout, stream, dependent));
        contest.add("kernel rb-tree", asked(RedBlack::default(), layout, stream, dependent));
        contest.add("rangemap", asked(Ranges::default(), layout, stream, dependent));
        contest.add("iset", asked(Intervals::default(), layout, stream, dependent));
        contest.add("congee", asked(Art::new(layout.span), layout, stream, dependent));
    }
    contest.add("vfio, an epoch each", move || {
        let space: &dyn DmaSpace = table;
        if dependent { answer_dependent(&space, stream) } else { answer(&space, stream) }
    });
    contest.run(effort.rounds)
}

/// As [`run`] with ours, the flat array and the GTree only, on addresses from an array.
fn run_list(effort: Effort, name: &str, layout: &Layout, stream: Stream) -> Outcome {
    let ops = effort.ops(1 << 18);
    let list = Addresses::new(stream, layout.base, layout.pages(), layout.span, ops).list();
    let table = layout.table();
    let mut flat = Flat::new(layout.base, layout.span, layout.pages());
    layout.mappings().for_each(|(iova, host)| flat.map(iova, layout.span, host));
    let mut contest = Contest::new(name, ops);
    contest.add("vfio", || answer_held_list(&table, &list));
    contest.add("flat", || answer_list(&flat, &list));
    if let Some(mut tree) = GTree::new() {
        layout.mappings().for_each(|(iova, host)| tree.map(iova, layout.span, host));
        let list = &list;
        contest.add("GTree", move || answer_list(&tree, list));
    }
    contest.run(effort.rounds)
}

pub fn random(effort: Effort) -> Goal {
    let mut goal = Goal::new("P1", "translate, 262,144 pages in random order");
    let outcome = run(effort, "A rnd", &Layout::a(), Stream::Random, false, Field::All);
    goal.at_most("/ flat array", outcome.ratio("vfio", "flat"), 1.5);
    goal.at_least("BTreeMap /", outcome.ratio("BTreeMap", "vfio"), 20.0);
    goal.at_least("vm-memory Iotlb /", outcome.ratio("vm-memory Iotlb", "vfio"), 30.0);
    goal.at_least("GTree /", outcome.ratio("GTree", "vfio"), 50.0);
    if outcome.ratio("GTree", "vfio").is_none() {
        goal.note("GTree is left out: there is no libglib-2.0.so.0".to_owned());
    }
    goal.contest(&outcome);
    goal
}

pub fn streams(effort: Effort) -> Goal {
    let mut goal = Goal::new("P2", "translate, other streams");
    let a = Layout::a();
    let dependent = run(effort, "A rnd-dep", &a, Stream::Random, true, Field::Some);
    goal.at_most("A rnd-dep / flat array", dependent.ratio("vfio", "flat"), 1.3);
    let hot = run(effort, "A hot64", &a, Stream::Hot, false, Field::Some);
    goal.at_most("A hot64 / flat array", hot.ratio("vfio", "flat"), 1.3);
    // Making a random address takes longer than a flat array takes to answer here, and with it not even that would be ten
    // times as fast as the tree: these addresses are listed beforehand.
    let e_list = run_list(effort, "E rnd, addresses from an array", &Layout::e(), Stream::Random);
    goal.at_most("E rnd / flat array", e_list.ratio("vfio", "flat"), 2.0);
    goal.at_least("E rnd, GTree /", e_list.ratio("GTree", "vfio"), 10.0);
    let e = run(effort, "E rnd", &Layout::e(), Stream::Random, false, Field::All);
    let seq = run(effort, "A seq", &a, Stream::Sequential, false, Field::Some);
    let b = run(effort, "B rnd", &Layout::b(), Stream::Random, false, Field::Some);
    let c = run(effort, "C rnd", &Layout::c(), Stream::Random, false, Field::None);
    let hot_list = run_list(effort, "A hot64, addresses from an array", &a, Stream::Hot);
    let ratios = |outcome: &Outcome| {
        let ratio = |of: &str, to: &str| outcome.ratio(of, to).unwrap_or(f64::NAN);
        let (flat, tree) = (ratio("vfio", "flat"), ratio("GTree", "vfio"));
        format!("{}: {flat:.2} of a flat array, GTree {tree:.1} times as long", outcome.name)
    };
    goal.note(ratios(&hot_list));
    goal.note(ratios(&e));
    [dependent, hot, e, seq, b, c, hot_list, e_list].iter().for_each(|outcome| goal.contest(outcome));
    goal
}
