//! `ts/uapi/errno.ts`.

use std::fmt::Write as _;

use vfio_uapi::Errno;

use super::Header;
use super::source::{header, quote};

/// Makes the file.
pub(super) fn source(_: &Header) -> String {
    let mut source = header("Errno: the numbers with which Linux refuses, their names and short texts.");
    source.push_str("\n/** Numbers by name. */\nexport const ERRNO = {\n");
    for errno in Errno::ALL {
        let _ = writeln!(source, "  {}: {},", errno.name(), errno.code());
    }
    source.push_str("} as const\n\n/** Name of an errno, such as `'EINVAL'`. */\nexport type ErrnoName = keyof typeof ERRNO\n");
    source.push_str("\nconst TEXTS: Record<ErrnoName, string> = {\n");
    for errno in Errno::ALL {
        let _ = writeln!(source, "  {}: {},", errno.name(), quote(errno.text()));
    }
    source.push_str(
        "}

const NAMES = new Map<number, ErrnoName>(Object.entries(ERRNO).map(([name, number]) => [number, name as ErrnoName]))

/** Returns the name of a positive number, or `undefined` where Linux has none. */
export function errnoName(number: number): ErrnoName | undefined {
  return NAMES.get(number)
}

/** Returns what an errno means, in a few words. */
export function errnoText(name: ErrnoName): string {
  return TEXTS[name]
}
",
    );
    source
}
