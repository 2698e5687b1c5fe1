//! Against what an assembler makes, and what a processor does.

use super::*;

/// Memory of 64 bytes at `BASE`.
struct Ram([u8; 64]);

const BASE: u64 = 0x1000;

impl Bus for Ram {
    fn read(&mut self, address: u64, into: &mut [u8]) -> Option<()> {
        let at = usize::try_from(address.checked_sub(BASE)?).ok()?;
        into.copy_from_slice(self.0.get(at..at + into.len())?);
        Some(())
    }

    fn write(&mut self, address: u64, from: &[u8]) -> Option<()> {
        let at = usize::try_from(address.checked_sub(BASE)?).ok()?;
        self.0.get_mut(at..at + from.len())?.copy_from_slice(from);
        Some(())
    }
}

fn run(code: &[u8], prepare: impl FnOnce(&mut State, &mut Ram)) -> (State, Ram) {
    let (mut state, mut ram) = (State::default(), Ram([0; 64]));
    prepare(&mut state, &mut ram);
    let instruction = decode(code).expect("known");
    assert_eq!(usize::from(instruction.length), code.len(), "{code:x?}");
    instruction.execute(&mut state, BASE, &mut ram).expect("memory is there");
    assert_eq!(state.instruction, code.len() as u64);
    (state, ram)
}

#[test]
fn loads_fill_registers_as_their_width_says() {
    let fill = |state: &mut State, ram: &mut Ram| {
        state.general = [u64::MAX; 16];
        ram.0[..8].copy_from_slice(&0x8182_8384_8586_8788_u64.to_le_bytes());
    };
    let cases: [(&[u8], usize, u64); 9] = [
        (&[0x8a, 0x00], 0, 0xffff_ffff_ffff_ff88),       // mov al, [rax]
        (&[0x8a, 0x60, 0x7f], 0, 0xffff_ffff_ffff_88ff), // mov ah, [rax+0x7f]
        (&[0x66, 0x8b, 0x08], 1, 0xffff_ffff_ffff_8788), // mov cx, [rax]
        (&[0x8b, 0x0d, 1, 2, 3, 4], 1, 0x8586_8788),     // mov ecx, [rip+…]
        (&[0x4c, 0x8b, 0x84, 0x88, 0, 1, 0, 0], 8, 0x8182_8384_8586_8788), // mov r8, [rax+rcx*4+0x100]
        (&[0x0f, 0xb6, 0x10], 2, 0x88),                  // movzx edx, byte [rax]
        (&[0x0f, 0xb7, 0x10], 2, 0x8788),                // movzx edx, word [rax]
        (&[0x48, 0x0f, 0xbe, 0x10], 2, 0xffff_ffff_ffff_ff88), // movsx rdx, byte [rax]
        (&[0x48, 0x63, 0x14, 0x25, 0, 0, 0, 0], 2, 0xffff_ffff_8586_8788), // movsxd rdx, [0]
    ];
    for (code, register, value) in cases {
        let (state, _) = run(code, fill);
        assert_eq!(state.general[register], value, "{code:x?}");
    }
}

#[test]
fn stores_write_their_width_and_no_more() {
    let fill = |state: &mut State, _: &mut Ram| {
        state.general = [0x1122_3344_5566_7788; 16];
        state.vectors = [[7; 16]; 16];
    };
    let cases: [(&[u8], &[u8]); 10] = [
        (&[0x88, 0x08], &[0x88]),                                  // mov [rax], cl
        (&[0x88, 0x28], &[0x77]),                                  // mov [rax], ch
        (&[0x40, 0x88, 0x28], &[0x88]),                            // mov [rax], bpl
        (&[0x66, 0x89, 0x08], &[0x88, 0x77]),                      // mov [rax], cx
        (&[0x66, 0xc7, 0x00, 0x34, 0x12], &[0x34, 0x12]),          // mov word [rax], 0x1234
        (&[0xc6, 0x40, 4, 0x20], &[0x20]),                         // mov byte [rax+4], 0x20
        (&[0xc7, 0x00, 1, 0, 0, 0], &[1, 0, 0, 0]),                // mov dword [rax], 1
        (&[0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0xff], &[0xff; 8]), // mov qword [rax], -1
        (&[0xf3, 0x0f, 0x7f, 0x00], &[7; 16]),                     // movdqu [rax], xmm0
        (&[0x66, 0x0f, 0xd6, 0x00], &[7; 8]),                      // movq [rax], xmm0
    ];
    for (code, bytes) in cases {
        let (_, ram) = run(code, fill);
        assert_eq!(&ram.0[..bytes.len()], bytes, "{code:x?}");
        assert!(ram.0[bytes.len()..].iter().all(|&byte| byte == 0), "{code:x?}");
    }
}

#[test]
fn arithmetic_sets_flags() {
    use super::state::{CARRY, SIGN, ZERO};
    let (_, ram) = run(&[0x83, 0x08, 0x01], |_, ram| ram.0[0] = 0x10); // or dword [rax], 1
    assert_eq!(ram.0[0], 0x11);
    let (state, ram) = run(&[0x81, 0x38, 5, 0, 0, 0], |_, ram| ram.0[0] = 5); // cmp dword [rax], 5
    assert_eq!((state.flags & ZERO, ram.0[0]), (ZERO, 5));
    let (state, _) = run(&[0x3b, 0x08], |state, ram| {
        state.general[1] = 4; // cmp ecx, [rax]
        ram.0[0] = 5;
    });
    assert_eq!(state.flags & (CARRY | SIGN | ZERO), CARRY | SIGN);
    let (state, _) = run(&[0xf6, 0x00, 0x80], |_, ram| ram.0[0] = 0x7f); // test byte [rax], 0x80
    assert_eq!(state.flags & ZERO, ZERO);
    let (state, _) = run(&[0x03, 0x08], |state, ram| {
        state.general[1] = 0xffff_ffff; // add ecx, [rax]
        ram.0[0] = 1;
    });
    assert_eq!((state.general[1], state.flags & (CARRY | ZERO)), (0, CARRY | ZERO));
    let (state, ram) = run(&[0xff, 0x00], |state, ram| {
        state.flags = CARRY; // inc dword [rax]
        ram.0[..4].fill(0xff);
    });
    assert_eq!((ram.0[0], state.flags & (CARRY | ZERO)), (0, CARRY | ZERO));
    let (state, ram) = run(&[0x87, 0x08], |state, ram| {
        state.general[1] = 9; // xchg [rax], ecx
        ram.0[0] = 8;
    });
    assert_eq!((state.general[1], ram.0[0]), (8, 9));
}

#[test]
fn strings_move_both_ways_and_stop_where_memory_ends() {
    let (state, ram) = run(&[0xf3, 0xa4], |state, ram| {
        ram.0[..8].copy_from_slice(b"abcdefgh"); // rep movsb
        state.general[state::RSI] = BASE;
        state.general[state::RDI] = BASE + 32;
        state.general[state::RCX] = 8;
    });
    assert_eq!(&ram.0[32..40], b"abcdefgh");
    assert_eq!(state.general[state::RCX], 0);
    let (mut state, mut ram) = (State::default(), Ram([0; 64]));
    state.general[state::RDI] = BASE + 56;
    state.general[state::RCX] = 4;
    let instruction = decode(&[0xf3, 0x48, 0xab]).expect("rep stosq");
    assert_eq!(instruction.execute(&mut state, BASE + 56, &mut ram), None);
    assert_eq!((state.general[state::RCX], state.instruction), (3, 0));
}

#[test]
fn what_is_not_known_is_left_alone() {
    let unknown: [&[u8]; 8] = [
        &[],
        &[0x66],
        &[0x8b],
        &[0x8b, 0xc0],
        &[0xc5, 0xfe, 0x6f, 0],
        &[0x0f, 0x05],
        &[0xd9, 0],
        &[0xff, 0x20],
    ];
    for code in unknown {
        assert_eq!(decode(code), None, "{code:x?}");
    }
    let mut bytes = [0x66; 16];
    bytes[15] = 0x90;
    assert_eq!(decode(&bytes), None);
}
