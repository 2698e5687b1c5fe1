//! The filter that stops some ioctls: a program for the kernel's classic packet filter.

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Places in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const SECOND_ARGUMENT: u32 = 24;

/// Makes a filter that lets everything through but `ioctl` with one of `requests`, at most 200 of them.
pub(crate) fn program(requests: &[u32]) -> Vec<sock_filter> {
    let requests = &requests[..requests.len().min(200)];
    let count = requests.len() as u8;
    let load = |at| statement(BPF_LD | BPF_W | BPF_ABS, at);
    let mut program = vec![
        load(ARCHITECTURE),
        jump(AUDIT_ARCH_X86_64, 0, count + 3),
        load(NUMBER),
        jump(libc::SYS_ioctl as u32, 0, count + 1),
        load(SECOND_ARGUMENT),
    ];
    for (at, &request) in requests.iter().enumerate() {
        program.push(jump(request, count - at as u8, 0));
    }
    program.push(statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW));
    program.push(statement(BPF_RET | BPF_K, libc::SECCOMP_RET_USER_NOTIF));
    program
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Compares: skips `jt` statements where it is `k`, else `jf`.
fn jump(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn run(program: &[sock_filter], architecture: u32, number: u32, request: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    word = match step.k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        _ => request,
                    }
                }
                code if code == BPF_RET | BPF_K => return step.k,
                _ => at += usize::from(if word == step.k { step.jt } else { step.jf }),
            }
        }
    }

    #[test]
    fn stops_these_ioctls_and_nothing_else() {
        let ioctl = libc::SYS_ioctl as u32;
        for requests in [vec![], vec![7], vec![0x3b6a, 0x3b75, 0x3ba0]] {
            let program = program(&requests);
            for request in [0, 7, 0x3b6a, 0x3b75, 0x3ba0, 0x3ba1] {
                let stopped =
                    run(&program, AUDIT_ARCH_X86_64, ioctl, request) == libc::SECCOMP_RET_USER_NOTIF;
                assert_eq!(stopped, requests.contains(&request));
                assert_eq!(run(&program, AUDIT_ARCH_X86_64, 0, request), libc::SECCOMP_RET_ALLOW);
                assert_eq!(run(&program, 3, ioctl, request), libc::SECCOMP_RET_ALLOW);
            }
        }
    }
}
