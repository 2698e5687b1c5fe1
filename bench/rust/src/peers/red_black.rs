//! A red-black tree of separately allocated nodes, searched as the kernel's type1 driver searches its own:
//! compare with the start, then with the end, go down.
//!
//! Restated from the algorithm's textbook form; nodes have parents, and a root that owns them.

use std::ptr;

use super::Translate;

/// A node, with as much beside its links as the kernel keeps per mapping or pin.
struct Node {
    parent: *mut Node,
    left: *mut Node,
    right: *mut Node,
    red: bool,
    start: u64,
    len: u64,
    host: u64,
    count: u64,
    _rest: [u64; 4],
}

pub struct RedBlack {
    root: *mut Node,
}

impl Default for RedBlack {
    fn default() -> Self {
        Self { root: ptr::null_mut() }
    }
}

// Every pointer below is null or a live node of this tree, which nobody else can reach.
impl RedBlack {
    fn find(&self, at: u64) -> *mut Node {
        let mut node = self.root;
        // SAFETY: see above.
        unsafe {
            while !node.is_null() {
                if at < (*node).start {
                    node = (*node).left;
                } else if at >= (*node).start + (*node).len {
                    node = (*node).right;
                } else {
                    return node;
                }
            }
        }
        ptr::null_mut()
    }

    /// Pins a page once more (`vfio_pin_page_external`): the tree is searched, and a node made for a new page.
    pub fn pin(&mut self, page: u64, host: u64) -> u64 {
        let found = self.find(page);
        if found.is_null() {
            self.insert(page, 1, host);
            return host;
        }
        // SAFETY: see above.
        unsafe {
            (*found).count += 1;
            (*found).host
        }
    }

    /// Takes a pin off; the node of a page without any is erased.
    pub fn unpin(&mut self, page: u64) {
        let found = self.find(page);
        if found.is_null() {
            return;
        }
        // SAFETY: see above; an erased node is in the tree no more.
        unsafe {
            (*found).count -= 1;
            if (*found).count == 0 {
                self.erase(found);
                drop(Box::from_raw(found));
            }
        }
    }

    fn insert(&mut self, start: u64, len: u64, host: u64) {
        let nothing = ptr::null_mut();
        let node = Node {
            parent: nothing,
            left: nothing,
            right: nothing,
            red: true,
            start,
            len,
            host,
            count: 1,
            _rest: [0; 4],
        };
        let node = Box::into_raw(Box::new(node));
        // SAFETY: see above.
        unsafe {
            let mut parent = ptr::null_mut();
            let mut link: *mut *mut Node = &mut self.root;
            while !(*link).is_null() {
                parent = *link;
                link = if start < (*parent).start { &mut (*parent).left } else { &mut (*parent).right };
            }
            (*node).parent = parent;
            *link = node;
            self.repair_insertion(node);
        }
    }

    /// Turns `node` down to the left, or to the right.
    unsafe fn rotate(&mut self, node: *mut Node, left: bool) {
        // SAFETY: see above; the child that comes up exists.
        unsafe {
            let up = *child(node, !left);
            let inner = *child(up, left);
            *child(node, !left) = inner;
            if !inner.is_null() {
                (*inner).parent = node;
            }
            self.replace(node, up);
            *child(up, left) = node;
            (*node).parent = up;
        }
    }

    /// Puts `new` where `old` hangs.
    unsafe fn replace(&mut self, old: *mut Node, new: *mut Node) {
        // SAFETY: see above.
        unsafe {
            let parent = (*old).parent;
            if parent.is_null() {
                self.root = new;
            } else {
                *child(parent, (*parent).left == old) = new;
            }
            if !new.is_null() {
                (*new).parent = parent;
            }
        }
    }

    unsafe fn repair_insertion(&mut self, mut node: *mut Node) {
        // SAFETY: see above; a red node has a parent, for the root is black.
        unsafe {
            loop {
                let parent = (*node).parent;
                if parent.is_null() || !(*parent).red {
                    break;
                }
                let above = (*parent).parent;
                let left = (*above).left == parent;
                let uncle = *child(above, !left);
                if is_red(uncle) {
                    (*parent).red = false;
                    (*uncle).red = false;
                    (*above).red = true;
                    node = above;
                    continue;
                }
                if *child(parent, !left) == node {
                    self.rotate(parent, left);
                    node = parent;
                }
                let parent = (*node).parent;
                (*parent).red = false;
                (*above).red = true;
                self.rotate(above, !left);
            }
            (*self.root).red = false;
        }
    }

    unsafe fn erase(&mut self, node: *mut Node) {
        // SAFETY: see above.
        unsafe {
            let (mut removed_red, hole, mut parent) = ((*node).red, (*node).right, (*node).parent);
            let hole = if (*node).left.is_null() {
                self.replace(node, hole);
                hole
            } else if (*node).right.is_null() {
                self.replace(node, (*node).left);
                (*node).left
            } else {
                let mut next = (*node).right;
                while !(*next).left.is_null() {
                    next = (*next).left;
                }
                removed_red = (*next).red;
                let hole = (*next).right;
                parent = next;
                if (*next).parent != node {
                    parent = (*next).parent;
                    self.replace(next, hole);
                    (*next).right = (*node).right;
                    (*(*next).right).parent = next;
                }
                self.replace(node, next);
                (*next).left = (*node).left;
                (*(*next).left).parent = next;
                (*next).red = (*node).red;
                hole
            };
            if !removed_red {
                self.repair_removal(hole, parent);
            }
        }
    }

    unsafe fn repair_removal(&mut self, mut node: *mut Node, mut parent: *mut Node) {
        // SAFETY: see above; the sibling of a hole exists, or black heights would differ.
        unsafe {
            while !parent.is_null() && !is_red(node) {
                let left = (*parent).left == node;
                let mut sibling = *child(parent, !left);
                if is_red(sibling) {
                    (*sibling).red = false;
                    (*parent).red = true;
                    self.rotate(parent, left);
                    sibling = *child(parent, !left);
                }
                if !is_red((*sibling).left) && !is_red((*sibling).right) {
                    (*sibling).red = true;
                    node = parent;
                    parent = (*node).parent;
                    continue;
                }
                if !is_red(*child(sibling, !left)) {
                    (**child(sibling, left)).red = false;
                    (*sibling).red = true;
                    self.rotate(sibling, !left);
                    sibling = *child(parent, !left);
                }
                (*sibling).red = (*parent).red;
                (*parent).red = false;
                (**child(sibling, !left)).red = false;
                self.rotate(parent, left);
                break;
            }
            if !node.is_null() {
                (*node).red = false;
            }
        }
    }
}

unsafe fn child<'a>(node: *mut Node, left: bool) -> &'a mut *mut Node {
    // SAFETY: the caller names a live node.
    unsafe { if left { &mut (*node).left } else { &mut (*node).right } }
}

unsafe fn is_red(node: *mut Node) -> bool {
    // SAFETY: the caller names a live node or null.
    unsafe { !node.is_null() && (*node).red }
}

impl Drop for RedBlack {
    fn drop(&mut self) {
        let mut rest = vec![self.root];
        while let Some(node) = rest.pop() {
            if !node.is_null() {
                // SAFETY: each node hangs in one place.
                let node = unsafe { Box::from_raw(node) };
                rest.extend([node.left, node.right]);
            }
        }
    }
}

impl Translate for RedBlack {
    fn map(&mut self, iova: u64, len: u64, host: u64) {
        self.insert(iova, len, host);
    }

    #[inline]
    fn translate(&self, iova: u64) -> u64 {
        // SAFETY: a node of the tree, or null.
        unsafe { self.find(iova).as_ref() }.map_or(u64::MAX, |node| node.host + (iova - node.start))
    }
}
