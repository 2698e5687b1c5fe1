//! Things by number, found without comparing: a directory of pages of slots, made where something is.

/// Slots of a page.
const SLOTS: u64 = 512;

type Page<T> = Box<[Option<Box<T>>]>;

/// Holds boxed things by number; two loads lead to one.
pub(super) struct Directory<T> {
    pages: Vec<Option<Page<T>>>,
    len: usize,
}

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T> Directory<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn get(&self, at: u64) -> Option<&T> {
        self.pages.get(usize::try_from(at / SLOTS).ok()?)?.as_ref()?[(at % SLOTS) as usize].as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u64) -> Option<&mut T> {
        self.pages.get_mut(usize::try_from(at / SLOTS).ok()?)?.as_mut()?[(at % SLOTS) as usize].as_deref_mut()
    }

    /// Finds a thing, or puts one there.
    #[inline]
    pub(super) fn get_or_insert_with(&mut self, at: u64, make: impl FnOnce() -> T) -> &mut T {
        let (page, slot) = ((at / SLOTS) as usize, (at % SLOTS) as usize);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages[page].get_or_insert_with(|| (0..SLOTS).map(|_| None).collect());
        page[slot].get_or_insert_with(|| {
            self.len += 1;
            Box::new(make())
        })
    }

    /// Removes a thing; the last one takes the directory with it.
    pub(super) fn remove(&mut self, at: u64) {
        let page = usize::try_from(at / SLOTS).ok().and_then(|page| self.pages.get_mut(page)?.as_mut());
        if page.is_some_and(|page| page[(at % SLOTS) as usize].take().is_some()) {
            self.len -= 1;
        }
        if self.len == 0 {
            self.pages = Vec::new();
        }
    }

    /// Lists the things from number `from` on.
    pub(super) fn iter_from(&self, from: u64) -> impl Iterator<Item = (u64, &T)> {
        let pages = self.pages.iter().zip(0_u64..).skip(usize::try_from(from / SLOTS).unwrap_or(usize::MAX));
        pages.filter_map(|(page, index)| Some((page.as_ref()?, index * SLOTS))).flat_map(
            move |(page, first)| {
                let skip = from.saturating_sub(first) as usize;
                page.iter().zip(first..).skip(skip).filter_map(|(slot, at)| Some((at, slot.as_deref()?)))
            },
        )
    }

    /// Finds the lowest number from `from` on that has a thing.
    pub(super) fn next_from(&self, from: u64) -> Option<u64> {
        self.iter_from(from).next().map(|(at, _)| at)
    }

    /// Returns the bytes that the directory itself takes.
    pub(super) fn bytes(&self) -> usize {
        let pages = self.pages.iter().flatten().count();
        self.pages.capacity() * size_of::<Option<Page<T>>>() + pages * SLOTS as usize * size_of::<usize>()
    }
}
