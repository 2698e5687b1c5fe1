//! `ts/uapi/structs.ts`.

use std::fmt::Write as _;

use vfio_uapi::capability::{CAPABILITIES, Capability};
use vfio_uapi::layout::{FieldInfo, StructInfo};

use super::Header;
use super::source::{doc, header, number, property, quote, variable};

fn field(info: &FieldInfo) -> String {
    let property = property(&info.name);
    let mut arguments = info.offset.to_string();
    if info.count > 0 {
        let _ = write!(arguments, ", {}", info.count);
    }
    if property != info.name {
        let _ = write!(arguments, ", {}", quote(&info.name));
    }
    let plural = if info.count > 0 { "s" } else { "" };
    format!("{}  {property}: {}{plural}({arguments}),\n", doc("  ", &info.doc), info.scalar.name())
}

fn codec(info: &StructInfo) -> String {
    let fields: String = (info.fields)().iter().map(field).collect();
    let (name, quoted) = (variable(info.rust_name), quote(info.name));
    format!("\n{}export const {name} = struct({quoted}, {}, {{\n{fields}}})\n", doc("", info.doc), info.size)
}

fn capability(capability: &Capability) -> String {
    let codec = variable(capability.layout.rust_name);
    let array = capability.array.map_or_else(String::new, |array| {
        format!(
            "      array: {{ name: {}, countedBy: {}, element: {} }},\n",
            quote(array.name),
            quote(array.counted_by),
            variable(array.element.rust_name)
        )
    });
    format!(
        "    {}: {{\n      name: {},\n      codec: {codec},\n{array}    }},\n",
        number(u64::from(capability.id)),
        quote(capability.name)
    )
}

/// Makes the file.
pub(super) fn source(of: &Header) -> String {
    let structs: Vec<_> = of.sections.iter().flat_map(|section| section.structs).collect();
    let scalars = ["s32", "s64", "u16", "u16s", "u32", "u32s", "u64", "u64s", "u8", "u8s"];
    let body: String = structs.iter().map(|info| codec(info)).collect();
    let used: Vec<_> = scalars.iter().filter(|name| body.contains(&format!(": {name}("))).copied().collect();
    let mut source = header(&format!("Codecs of the structures of {}.", of.name));
    let _ = writeln!(
        source,
        "import {{ struct, {}, type AnyCodec{} }} from '{}codec.ts'",
        used.join(", "),
        if of.capabilities { ", type CapabilityCodec" } else { "" },
        of.root,
    );
    source.push_str(&body);
    source.push_str("\n/** Codecs by the C names of their structures. */\nexport const STRUCTS = {\n");
    for info in &structs {
        let _ = writeln!(source, "  {}: {},", info.name, variable(info.rust_name));
    }
    source.push_str("} as const satisfies Record<string, AnyCodec>\n");
    source.push_str("\n/** C name of a structure, such as `'vfio_irq_set'`. */\nexport type StructName = keyof typeof STRUCTS\n");
    if !of.capabilities {
        return source;
    }
    source.push_str(
        "\n/** Capabilities by the C name of the info structure that carries them, then by id. */\n",
    );
    source.push_str("export const CAPABILITIES: Readonly<Record<string, Readonly<Record<number, CapabilityCodec>>>> = {\n");
    let mut carriers: Vec<_> = CAPABILITIES.iter().map(|capability| capability.of).collect();
    carriers.dedup();
    for of in carriers {
        let of_it = CAPABILITIES.iter().filter(|capability| capability.of == of).map(capability);
        let _ = write!(source, "  {of}: {{\n{}  }},\n", of_it.collect::<String>());
    }
    source.push_str("}\n");
    source
}
