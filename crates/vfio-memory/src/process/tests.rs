//! This process stands for the other one, and a child for one that ends.

use std::process::{Command, Stdio};
use std::sync::Arc;

use super::*;
use crate::{AddressSpace, PAGE_SIZE};

fn ourselves() -> Process {
    Process::open(std::process::id().cast_signed(), None).expect("we run")
}

fn address(memory: &Memory) -> u64 {
    memory.stable_ptr().expect("pages of ours").addr() as u64
}

#[test]
fn copies_respect_what_is_mapped() {
    let process = ourselves();
    let memory = Memory::anonymous(2 * PAGE_SIZE).expect("memory");
    let at = address(&memory);
    process.write(at + 7, b"hello").expect("it is there");
    let mut bytes = [0; 5];
    process.read(at + 7, &mut bytes).expect("it is there");
    assert_eq!(&bytes, b"hello");
    for wrong in [0, 8, u64::MAX - 2, 1 << 63] {
        assert_eq!(process.read(wrong, &mut bytes), Err(Errno::EFAULT));
        assert_eq!(process.write(wrong, &bytes), Err(Errno::EFAULT));
    }
    assert_eq!(process.read(0, &mut []), Ok(()));
    assert!(process.is_alive());
}

#[test]
fn private_memory_is_reached_by_its_address() {
    let space = AddressSpace::of_process(ourselves()).expect("we run");
    let memory = Memory::anonymous(2 * PAGE_SIZE).expect("memory");
    let at = address(&memory);
    let spans = space.get_pages(at, 2 * PAGE_SIZE, true).expect("it is there");
    assert_eq!(spans.len(), 1);
    spans[0].memory.write(spans[0].offset + 100, &[1, 2, 3]).expect("writable");
    assert_eq!(memory.load_u8(102), Ok(3));
    assert_eq!(spans[0].memory.fetch_add_u32(spans[0].offset, 5), Ok(0));
    let stop = space.get_pages(0, PAGE_SIZE, false).expect_err("nothing is there");
    assert_eq!((stop.errno, stop.done), (Errno::EFAULT, 0));
    assert_eq!(space.map(None, 0, PAGE_SIZE, memory, 0, Prot::RW), Err(Errno::EOPNOTSUPP));
}

#[test]
fn shared_memory_outlives_its_mapping() {
    let process = ourselves();
    let memory = Memory::memfd("ram", 2 * PAGE_SIZE).expect("memory");
    let at = address(&memory);
    let Ok(spans) = process.pages(at + PAGE_SIZE, PAGE_SIZE, true, false) else { panic!("it is there") };
    memory.write(PAGE_SIZE, b"kept").expect("inside");
    drop(memory);
    if !std::path::Path::new("/proc/self/map_files").exists() || !process.is_capable(21) {
        return; // without the right to look there, shared memory is reached as private memory is
    }
    let mut bytes = [0; 4];
    spans[0].memory.read(spans[0].offset, &mut bytes).expect("the file is there");
    assert_eq!(&bytes, b"kept");
}

#[test]
fn a_read_only_page_takes_no_writes() {
    let process = ourselves();
    static TEXT: [u8; 4096] = [7; 4096];
    let at = TEXT.as_ptr().addr() as u64;
    let mut bytes = [0; 2];
    process.read(at, &mut bytes).expect("readable");
    assert_eq!(process.write(at, &bytes), Err(Errno::EFAULT));
    assert!(process.pages(at, 1, false, false).is_ok());
    assert!(process.pages(at, 1, true, false).is_err());
}

#[test]
fn what_has_ended_is_refused() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat");
    let process = Process::open(child.id().cast_signed(), None).expect("it runs");
    let space = AddressSpace::of_process(process).expect("it runs");
    let process = space.process().expect("of a process");
    assert!(process.is_alive());
    let text = std::fs::read_to_string(format!("/proc/{}/maps", process.pid())).expect("it runs");
    let stack = text.lines().find(|line| line.ends_with("[stack]")).and_then(Area::parse).expect("a stack");
    let spans = space.get_pages(stack.end - 4096, 4096, true).expect("it runs");
    spans[0].memory.read(spans[0].offset, &mut [0; 8]).expect("it runs");
    child.kill().expect("it runs");
    child.wait().expect("a child");
    assert!(!process.is_alive());
    assert_eq!(spans[0].memory.read(spans[0].offset, &mut [0; 8]), Err(Errno::EFAULT));
    assert_eq!(space.read(stack.end - 8, &mut [0; 8]), Err(Errno::EFAULT));
    assert!(space.get_pages(stack.end - 4096, 4096, true).is_err());
    assert!(process.limits().is_err());
    assert!(Process::open(0, None).is_err());
    let _ = Arc::clone(&space);
}

#[test]
fn lines_that_make_no_sense_are_no_areas() {
    for line in ["", "x", "1-", "1-2 rw-p", "1-2 rw-p 0 0:0", "1-2 rw-p 0 0:0 z", "zz-2 rw-p 0 0:0 1"] {
        assert_eq!(Area::parse(line), None, "{line}");
    }
    assert!(Area::parse("1000-2000 r--s 10 00:1f 12 /a b (deleted)").is_some_and(|area| area.shared));
}
