//! Memory of files that others may cut.

use vfio_uapi::Errno;

use crate::Memory;

#[test]
fn a_file_that_its_owner_cuts_answers_efault_and_kills_nobody() {
    use std::os::fd::AsFd;

    let fd = rustix::fs::memfd_create("unsealed", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
    rustix::fs::ftruncate(&fd, 8192).expect("room");
    let owner = fd.as_fd().try_clone_to_owned().expect("another descriptor");
    let memory = Memory::from_fd(fd, 4096, 4096, true).expect("memory");
    assert!(!memory.is_stable());
    memory.write(8, b"here").expect("inside");
    assert_eq!(memory.fetch_add_u32(16, 5), Ok(0));
    assert_eq!(memory.compare_exchange_u32(16, 5, 9), Ok(5));
    assert_eq!(memory.load_u32(16), Ok(9));
    let mut back = [0; 4];
    rustix::io::pread(&owner, &mut back, 4096 + 8).expect("the file");
    assert_eq!(&back, b"here");
    rustix::fs::ftruncate(&owner, 4096).expect("cut");
    assert_eq!(memory.read(8, &mut back), Err(Errno::EFAULT));
    assert_eq!(memory.write(8, &back), Err(Errno::EFAULT));
    assert_eq!(memory.fill(0, 1, 4096), Err(Errno::EFAULT));
    assert_eq!(memory.fetch_add_u64(0, 1), Err(Errno::EFAULT));
    assert_eq!(rustix::fs::fstat(&owner).expect("the file").st_size, 4096, "and it is not made longer");
}
