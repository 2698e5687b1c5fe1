//! A domain as plain as can be: everything page by page, nothing fast.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use super::steps::Answer;

pub(super) struct PlainMap {
    pub(super) start: u64,
    pages: u64,
    /// First page of the process' memory behind it.
    from: u64,
    read: bool,
    write: bool,
    invalid: bool,
    /// What hardware reaches: pages of the process at the time of pinning.
    hardware: Option<Vec<u64>>,
    /// By page: how often it is pinned, and which page of the process it was.
    pins: BTreeMap<u64, (u64, u64)>,
    dirty: BTreeSet<u64>,
}

impl PlainMap {
    fn end(&self) -> u64 {
        self.start + self.pages
    }

    fn has(&self, page: u64) -> bool {
        (self.start..self.end()).contains(&page)
    }

    fn charged(&self) -> u64 {
        if self.hardware.is_some() { self.pages } else { self.pins.len() as u64 }
    }
}

pub(super) struct Plain {
    v2: bool,
    entry_limit: u32,
    limit: Option<u64>,
    pub(super) maps: Vec<PlainMap>,
    hw: bool,
    pub(super) hw_ever: bool,
    emulated: bool,
    tracking: bool,
    /// Pages that the process has unmapped.
    pub(super) missing: BTreeSet<u64>,
}

impl Plain {
    pub(super) fn new(v2: bool, entry_limit: u32, limit: Option<u64>) -> Self {
        let missing = BTreeSet::new();
        Self {
            v2,
            entry_limit,
            limit,
            maps: vec![],
            hw: false,
            hw_ever: false,
            emulated: false,
            tracking: false,
            missing,
        }
    }

    pub(super) fn locked(&self) -> u64 {
        self.maps.iter().map(PlainMap::charged).sum()
    }

    pub(super) fn entries_left(&self) -> u64 {
        u64::from(self.entry_limit) - self.maps.len() as u64
    }

    fn is_there(&self, page: u64) -> bool {
        page < RAM_PAGES && !self.missing.contains(&page)
    }

    fn find(&self, page: u64) -> Option<usize> {
        self.maps.iter().position(|map| map.has(page))
    }

    fn over(&self, charged: u64) -> bool {
        self.limit.is_some_and(|limit| self.locked() + charged > limit)
    }

    /// Looks pages up one by one, charging those that `counts` says.
    fn look_up(&self, from: u64, pages: u64, counts: impl Fn(u64) -> bool) -> Result<Vec<u64>, Errno> {
        let mut charged = 0;
        for page in 0..pages {
            if !self.is_there(from + page) {
                return Err(Errno::EFAULT);
            }
            charged += u64::from(counts(page));
            if self.over(charged) {
                return Err(Errno::ENOMEM);
            }
        }
        Ok((from..from + pages).collect())
    }

    pub(super) fn map(&mut self, flags: u32, start: u64, pages: u64, from: u64) -> Answer {
        if flags == 0 {
            return Err(Errno::EINVAL);
        }
        let overlapping = (start..start + pages).find_map(|page| self.find(page));
        if flags == 4 {
            let map = &mut self.maps[overlapping.ok_or(Errno::ENOENT)?];
            if !map.invalid || map.start != start || map.pages != pages {
                return Err(Errno::EINVAL);
            }
            map.invalid = false;
            map.from = from;
            return Ok(0);
        }
        if overlapping.is_some() {
            return Err(Errno::EEXIST);
        }
        if self.entries_left() == 0 {
            return Err(Errno::ENOSPC);
        }
        if self.hw && (start..start + pages).any(|page| !(1..=28).contains(&page) || page == 10) {
            return Err(Errno::EINVAL);
        }
        let hardware = if self.hw { Some(self.look_up(from, pages, |_| true)?) } else { None };
        let (read, write) = (flags & 1 != 0, flags & 2 != 0);
        let (pins, dirty) = (BTreeMap::new(), BTreeSet::new());
        self.maps.push(PlainMap { start, pages, from, read, write, invalid: false, hardware, pins, dirty });
        self.maps.sort_by_key(|map| map.start);
        Ok(0)
    }

    fn cut_by(&self, start: u64, end: u64) -> bool {
        let cut = |border: u64| self.maps.iter().any(|map| map.start < border && border < map.end());
        cut(start) || cut(end)
    }

    pub(super) fn unmap(&mut self, flags: u32, start: u64, pages: u64) -> Answer {
        if flags & 4 != 0 && self.emulated {
            return Err(Errno::EBUSY);
        }
        let end = if flags & 2 != 0 { u64::MAX } else { start + pages };
        if self.v2 && self.cut_by(start, end) {
            return Err(Errno::EINVAL);
        }
        if !self.v2 && self.find(start).is_some_and(|map| self.maps[map].start < start) {
            return Ok(0);
        }
        let concerned = |map: &PlainMap| start <= map.start && map.start < end;
        let bytes = self.maps.iter().filter(|map| concerned(map)).map(|map| map.pages * PAGE_SIZE).sum();
        if flags & 4 == 0 {
            self.maps.retain(|map| !concerned(map));
            return Ok(bytes);
        }
        if self.maps.iter().any(|map| concerned(map) && map.invalid) {
            return Err(Errno::EINVAL);
        }
        self.maps.iter_mut().filter(|map| concerned(map)).for_each(|map| map.invalid = true);
        Ok(bytes)
    }

    pub(super) fn attach_emulated(&mut self) -> Answer {
        if self.maps.iter().any(|map| map.invalid) {
            return Err(Errno::EBUSY);
        }
        if self.emulated {
            return Err(Errno::EINVAL);
        }
        self.emulated = true;
        Ok(0)
    }

    pub(super) fn attach_hw(&mut self) -> Answer {
        if self.maps.iter().any(|map| map.invalid) {
            return Err(Errno::EBUSY);
        }
        let outside = |map: &PlainMap| map.start < 1 || map.end() > 29;
        if self.hw
            || self.maps.iter().any(|map| map.has(10))
            || (self.hw_ever && self.maps.iter().any(outside))
        {
            return Err(Errno::EINVAL);
        }
        for index in 0..self.maps.len() {
            let map = &self.maps[index];
            let found = self.look_up(map.from, map.pages, |page| !map.pins.contains_key(&page));
            let found = found.and_then(|found| if outside(map) { Err(Errno::ERANGE) } else { Ok(found) });
            match found {
                Ok(found) => self.maps[index].hardware = Some(found),
                Err(errno) => {
                    self.maps.iter_mut().for_each(|map| map.hardware = None);
                    return Err(errno);
                }
            }
        }
        (self.hw, self.hw_ever) = (true, true);
        Ok(0)
    }

    pub(super) fn detach(&mut self, hw: bool) -> Answer {
        if hw && self.hw {
            self.hw = false;
            for map in &mut self.maps {
                map.hardware = None;
                map.dirty.extend(0..map.pages);
            }
        } else if !hw && self.emulated {
            self.emulated = false;
        } else {
            return Ok(0);
        }
        if !self.hw && !self.emulated {
            self.maps.clear();
        }
        Ok(0)
    }

    pub(super) fn pin(&mut self, start: u64, pages: u64, write: bool) -> Answer {
        if !self.v2 {
            return Err(Errno::EACCES);
        }
        if self.maps.iter().any(|map| map.invalid) {
            return Err(Errno::EBUSY);
        }
        let mut found = Vec::new();
        let mut charged = 0;
        for page in start..start + pages {
            let map = &self.maps[self.find(page).ok_or(Errno::EINVAL)?];
            if !map.read || (write && !map.write) {
                return Err(Errno::EPERM);
            }
            let inside = page - map.start;
            if let Some((_, was)) = map.pins.get(&inside) {
                found.push(*was);
                continue;
            }
            if !self.is_there(map.from + inside) {
                return Err(Errno::EFAULT);
            }
            charged += u64::from(!self.hw);
            if self.over(charged) {
                return Err(Errno::ENOMEM);
            }
            found.push(map.from + inside);
        }
        for (page, was) in (start..).zip(&found) {
            let index = self.find(page).expect("looked up above");
            let map = &mut self.maps[index];
            let inside = page - map.start;
            map.pins.entry(inside).or_insert((0, *was)).0 += 1;
            map.dirty.insert(inside);
        }
        Ok(found.iter().fold(0, |seen, page| seen * 256 + page))
    }

    pub(super) fn unpin(&mut self, start: u64, pages: u64) -> Answer {
        for page in start..start + pages {
            let Some(index) = self.find(page) else { break };
            let map = &mut self.maps[index];
            let inside = page - map.start;
            if let Some((count, _)) = map.pins.get_mut(&inside) {
                *count -= 1;
                if *count == 0 {
                    map.pins.remove(&inside);
                }
            }
        }
        Ok(0)
    }

    pub(super) fn write(&mut self, start: u64, pages: u64) -> Answer {
        let allowed = |page| {
            let map = &self.maps[self.find(page)?];
            (map.read && map.write && self.is_there(map.from + page - map.start)).then_some(())
        };
        (start..start + pages).try_for_each(allowed).ok_or(Errno::EFAULT)?;
        for page in start..start + pages {
            let index = self.find(page).expect("looked up above");
            let map = &mut self.maps[index];
            map.dirty.insert(page - map.start);
        }
        Ok(0)
    }

    pub(super) fn track(&mut self, on: bool) -> Answer {
        if !self.v2 {
            return Err(Errno::EACCES);
        }
        if on && !self.tracking {
            self.maps.iter_mut().for_each(|map| map.dirty = map.pins.keys().copied().collect());
        }
        self.tracking = on;
        Ok(0)
    }

    pub(super) fn dirty(&mut self, start: u64, pages: u64) -> Answer {
        if !self.v2 {
            return Err(Errno::EACCES);
        }
        if !self.tracking || self.cut_by(start, start + pages) {
            return Err(Errno::EINVAL);
        }
        let mut word = 0x5a5a_5a5a_5a5a_5a5a_u64;
        for map in &mut self.maps {
            if map.start < start || map.start >= start + pages {
                continue;
            }
            let first = map.start - start;
            word &= (1 << first) - 1;
            for page in 0..map.pages {
                word |= u64::from(self.hw || map.dirty.contains(&page)) << (first + page);
            }
            map.dirty = map.pins.keys().copied().collect();
        }
        Ok(word)
    }

    pub(super) fn seen_by_hardware(&self, page: u64) -> Option<u8> {
        let map = &self.maps[self.find(page)?];
        let pages = map.hardware.as_ref().filter(|_| map.read)?;
        Some(pages[(page - map.start) as usize] as u8)
    }

    pub(super) fn seen_by_driver(&self, page: u64) -> Option<u8> {
        let map = &self.maps[self.find(page)?];
        let at = map.from + page - map.start;
        (map.read && self.is_there(at)).then_some(at as u8)
    }
}
