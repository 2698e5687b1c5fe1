//! `ts/uapi/ioctl.ts`.

use std::fmt::Write as _;

use vfio_uapi::ioctl::{Arch, Ioctl};

use super::Header;
use super::source::{doc, header, quote};

fn table(of: &Header, source: &mut String, row: impl Fn(&Ioctl) -> Option<String>) {
    for ioctl in of.sections.iter().flat_map(|section| section.ioctls) {
        if let Some(row) = row(ioctl) {
            let _ = writeln!(source, "{row},");
        }
    }
}

/// Makes the file.
pub(super) fn source(of: &Header) -> String {
    let mut source = header(&format!(
        "Requests of {}: their numbers in each encoding, and what the argument points to.",
        of.name
    ));
    source.push_str("import type { StructName } from './structs.ts'\n");
    source.push_str(
        "\n/** Architecture, as far as its ioctl encoding goes; `x86` stands for every generic one. */\n",
    );
    source.push_str("export type Arch = 'x86' | 'ppc64'\n");
    source.push_str("\n/** Numbers by name, in the generic encoding. */\nexport const IOCTL = {\n");
    table(of, &mut source, |ioctl| {
        Some(format!("{}  {}: {:#x}", doc("  ", ioctl.doc), ioctl.name, ioctl.number(Arch::X86)))
    });
    source.push_str("} as const\n\n/** Name of a request, such as `'VFIO_IOMMU_MAP_DMA'`. */\n");
    source.push_str("export type IoctlName = keyof typeof IOCTL\n");
    source.push_str("\nconst PPC64: Record<IoctlName, number> = {\n");
    table(of, &mut source, |ioctl| Some(format!("  {}: {:#x}", ioctl.name, ioctl.number(Arch::Ppc64))));
    source.push_str(
        "}\n\n/** C name of the structure that a request's argument points to; absent: no structure. */\n",
    );
    source.push_str("export const IOCTL_ARGUMENT: Partial<Record<IoctlName, StructName>> = {\n");
    table(of, &mut source, |ioctl| {
        ioctl.argument.map(|argument| format!("  {}: {}", ioctl.name, quote(argument.name)))
    });
    source.push_str(
        "}

/** Returns the number of a request in an architecture's encoding. */
export function ioctlNumber(name: IoctlName, arch: Arch = 'x86'): number {
  return arch === 'ppc64' ? PPC64[name] : IOCTL[name]
}
",
    );
    source
}
