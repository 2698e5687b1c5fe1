//! Layouts against the recorded ones of two kernels, the bytes of structures, ioctl encodings.

use std::collections::HashMap;

use serde_json::Value as Json;

use crate::ioctl::Arch;
use crate::layout::{StructInfo, UapiStruct};
use crate::vfio::spapr::{VfioEehPeErr, VfioEehPeOp};
use crate::vfio::type1::VfioIommuType1DmaMap;
use crate::{Errno, SECTIONS};

fn recorded(arch: &str) -> Json {
    let path = format!("{}/../../test/conformance/{arch}/uapi.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).expect("layouts are JSON")
}

fn structs() -> HashMap<&'static str, StructInfo> {
    SECTIONS.iter().flat_map(|section| section.structs).map(|info| (info.name, *info)).collect()
}

#[test]
fn every_recorded_structure_has_its_layout() {
    let own = structs();
    for arch in ["x86", "spapr"] {
        for (name, layout) in recorded(arch)["structs"].as_object().expect("structs") {
            let info = own.get(name.as_str()).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(info.size as u64, layout["size"], "size of {name}");
            let fields: Vec<_> = (info.fields)()
                .into_iter()
                .map(|f| (f.name, f.scalar.name().to_owned(), f.offset as u64, f.count as u64))
                .collect();
            let expected: Vec<_> = layout["fields"]
                .as_array()
                .expect("fields")
                .iter()
                .map(|f| {
                    let text = |key: &str| f[key].as_str().expect("text").to_owned();
                    let number = |key: &str| f[key].as_u64().expect("number");
                    (text("name"), text("type"), number("offset"), number("count"))
                })
                .collect();
            assert_eq!(fields, expected, "members of {name}");
        }
    }
}

#[test]
fn every_recorded_request_has_its_number_and_argument() {
    for (folder, arch) in [("x86", Arch::X86), ("spapr", Arch::Ppc64)] {
        let assigned = |name: &&String| !name.contains("_BOGUS_"); // requests that no kernel knows
        let recorded = recorded(folder);
        let requests = recorded["ioctls"].as_object().expect("ioctls");
        for name in requests.keys().filter(assigned) {
            let request = &requests[name];
            let own = SECTIONS
                .iter()
                .flat_map(|section| section.ioctls)
                .find(|ioctl| ioctl.name == name)
                .unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(format!("{:#x}", own.number(arch)), request["nr"].as_str().expect("nr"), "{name}");
            assert_eq!(own.argument.map(|info| info.name), request["struct"].as_str(), "argument of {name}");
        }
    }
}

#[test]
fn every_recorded_capability_has_its_layout() {
    for (of, capabilities) in recorded("x86")["caps"].as_object().expect("caps") {
        for (id, expected) in capabilities.as_object().expect("capabilities") {
            let own = crate::capability::CAPABILITIES
                .iter()
                .find(|c| c.of == of && c.id.to_string() == *id)
                .unwrap_or_else(|| panic!("{of} {id} is missing"));
            assert_eq!(own.name, expected["name"], "{of} {id}");
            let payload: Vec<_> = (own.layout.fields)()
                .iter()
                .filter(|f| f.offset >= 8)
                .map(|f| format!("{} {}", f.scalar.name(), f.name))
                .collect();
            assert_eq!(payload.join("; "), expected["fields"].as_str().expect("fields"), "{of} {id}");
            assert_eq!(own.array.map(|array| array.name), expected["array"]["name"].as_str(), "{of} {id}");
        }
    }
}

#[test]
fn the_header_of_2011_has_its_numbers_and_sizes() {
    let find = |name: &str| {
        let requests = crate::vfio2011::SECTIONS.iter().flat_map(|section| section.ioctls);
        *requests.into_iter().find(|ioctl| ioctl.name == name).unwrap_or_else(|| panic!("{name} is missing"))
    };
    // As a C compiler has them.
    for (name, x86, ppc64) in [
        ("VFIO_GROUP_GET_INFO", 0x3b64, 0x2000_3b64),
        ("VFIO_GROUP_MERGE", 0x4004_3b65, 0x8004_3b65),
        ("VFIO_GROUP_UNMERGE", 0x3b66, 0x2000_3b66),
        ("VFIO_GROUP_GET_IOMMU_FD", 0x3b67, 0x2000_3b67),
        ("VFIO_GROUP_GET_DEVICE_FD", 0x4001_3b68, 0x8001_3b68),
        ("VFIO_IOMMU_MAP_DMA", 0x3b6a, 0x2000_3b6a),
        ("VFIO_DEVICE_RESET", 0x3b71, 0x2000_3b71),
    ] {
        assert_eq!((find(name).number(Arch::X86), find(name).number(Arch::Ppc64)), (x86, ppc64), "{name}");
    }
    let sizes: Vec<_> = crate::vfio2011::SECTIONS
        .iter()
        .flat_map(|section| section.structs)
        .map(|info| (info.name, info.size))
        .collect();
    assert_eq!(
        sizes,
        [
            ("vfio_group_info", 8),
            ("vfio_iommu_info", 32),
            ("vfio_dma_map", 32),
            ("vfio_device_info", 16),
            ("vfio_region_info", 32),
            ("vfio_irq_info", 16),
            ("vfio_irq_eventfds", 16),
            ("vfio_unmask_irq", 16),
        ]
    );
}

#[test]
fn names_are_unique() {
    let mut seen = HashMap::new();
    for section in SECTIONS {
        let constants = section.constants.iter().map(|c| c.name);
        for name in constants.chain(section.structs.iter().map(|s| s.name)) {
            assert_eq!(seen.insert(name, section.title), None, "{name} twice");
        }
    }
}

#[test]
fn a_structure_survives_its_bytes() {
    let map =
        VfioIommuType1DmaMap { argsz: 32, flags: 3, vaddr: 0x7f00_0000_1000, iova: 1 << 40, size: 0x2000 };
    let mut bytes = [0u8; 40];
    map.write_to(&mut bytes).expect("fits");
    assert_eq!(bytes[..8], [32, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(VfioIommuType1DmaMap::from_bytes(&bytes), Some(map));
    assert_eq!(VfioIommuType1DmaMap::from_bytes(&bytes[..31]), None);
    assert_eq!(map.write_to(&mut bytes[..31]), None);
}

#[test]
fn padding_is_left_alone_and_nested_members_find_their_place() {
    let op = VfioEehPeOp {
        argsz: 40,
        flags: 0,
        op: 9,
        err: VfioEehPeErr { r#type: 1, func: 2, addr: 3, mask: 4 },
    };
    let mut bytes = [0xcc_u8; 40];
    op.write_to(&mut bytes).expect("fits");
    assert_eq!(bytes[12..20], [0xcc, 0xcc, 0xcc, 0xcc, 1, 0, 0, 0]);
    assert_eq!(VfioEehPeOp::from_bytes(&bytes), Some(op));
}

#[test]
fn an_errno_is_found_by_number_and_by_name() {
    for &errno in Errno::ALL {
        assert_eq!(Errno::from_code(errno.code()), Some(errno));
        assert_eq!(Errno::from_name(errno.name()), Some(errno));
    }
    assert_eq!(Errno::EINVAL.code(), 22);
    assert_eq!(Errno::EINVAL.to_string(), "EINVAL: invalid argument");
    assert_eq!(Errno::from_code(0), None);
}
