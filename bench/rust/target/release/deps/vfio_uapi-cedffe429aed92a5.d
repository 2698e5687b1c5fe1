/work/main/bench/rust/target/release/deps/vfio_uapi-cedffe429aed92a5.d: /work/main/crates/vfio-uapi/src/lib.rs /work/main/crates/vfio-uapi/src/capability.rs /work/main/crates/vfio-uapi/src/constant.rs /work/main/crates/vfio-uapi/src/errno.rs /work/main/crates/vfio-uapi/src/ioctl.rs /work/main/crates/vfio-uapi/src/iommufd/mod.rs /work/main/crates/vfio-uapi/src/iommufd/hwpt.rs /work/main/crates/vfio-uapi/src/iommufd/ioas.rs /work/main/crates/vfio-uapi/src/iommufd/object.rs /work/main/crates/vfio-uapi/src/iommufd/test.rs /work/main/crates/vfio-uapi/src/iommufd/viommu.rs /work/main/crates/vfio-uapi/src/kvm.rs /work/main/crates/vfio-uapi/src/layout.rs /work/main/crates/vfio-uapi/src/vfio/mod.rs /work/main/crates/vfio-uapi/src/vfio/container.rs /work/main/crates/vfio-uapi/src/vfio/device.rs /work/main/crates/vfio-uapi/src/vfio/feature.rs /work/main/crates/vfio-uapi/src/vfio/gfx.rs /work/main/crates/vfio-uapi/src/vfio/irq.rs /work/main/crates/vfio-uapi/src/vfio/migration.rs /work/main/crates/vfio-uapi/src/vfio/pci.rs /work/main/crates/vfio-uapi/src/vfio/region.rs /work/main/crates/vfio-uapi/src/vfio/spapr.rs /work/main/crates/vfio-uapi/src/vfio/type1.rs

/work/main/bench/rust/target/release/deps/libvfio_uapi-cedffe429aed92a5.rmeta: /work/main/crates/vfio-uapi/src/lib.rs /work/main/crates/vfio-uapi/src/capability.rs /work/main/crates/vfio-uapi/src/constant.rs /work/main/crates/vfio-uapi/src/errno.rs /work/main/crates/vfio-uapi/src/ioctl.rs /work/main/crates/vfio-uapi/src/iommufd/mod.rs /work/main/crates/vfio-uapi/src/iommufd/hwpt.rs /work/main/crates/vfio-uapi/src/iommufd/ioas.rs /work/main/crates/vfio-uapi/src/iommufd/object.rs /work/main/crates/vfio-uapi/src/iommufd/test.rs /work/main/crates/vfio-uapi/src/iommufd/viommu.rs /work/main/crates/vfio-uapi/src/kvm.rs /work/main/crates/vfio-uapi/src/layout.rs /work/main/crates/vfio-uapi/src/vfio/mod.rs /work/main/crates/vfio-uapi/src/vfio/container.rs /work/main/crates/vfio-uapi/src/vfio/device.rs /work/main/crates/vfio-uapi/src/vfio/feature.rs /work/main/crates/vfio-uapi/src/vfio/gfx.rs /work/main/crates/vfio-uapi/src/vfio/irq.rs /work/main/crates/vfio-uapi/src/vfio/migration.rs /work/main/crates/vfio-uapi/src/vfio/pci.rs /work/main/crates/vfio-uapi/src/vfio/region.rs /work/main/crates/vfio-uapi/src/vfio/spapr.rs /work/main/crates/vfio-uapi/src/vfio/type1.rs

/work/main/crates/vfio-uapi/src/lib.rs:
/work/main/crates/vfio-uapi/src/capability.rs:
/work/main/crates/vfio-uapi/src/constant.rs:
/work/main/crates/vfio-uapi/src/errno.rs:
/work/main/crates/vfio-uapi/src/ioctl.rs:
/work/main/crates/vfio-uapi/src/iommufd/mod.rs:
/work/main/crates/vfio-uapi/src/iommufd/hwpt.rs:
/work/main/crates/vfio-uapi/src/iommufd/ioas.rs:
/work/main/crates/vfio-uapi/src/iommufd/object.rs:
/work/main/crates/vfio-uapi/src/iommufd/test.rs:
/work/main/crates/vfio-uapi/src/iommufd/viommu.rs:
/work/main/crates/vfio-uapi/src/kvm.rs:
/work/main/crates/vfio-uapi/src/layout.rs:
/work/main/crates/vfio-uapi/src/vfio/mod.rs:
/work/main/crates/vfio-uapi/src/vfio/container.rs:
/work/main/crates/vfio-uapi/src/vfio/device.rs:
/work/main/crates/vfio-uapi/src/vfio/feature.rs:
/work/main/crates/vfio-uapi/src/vfio/gfx.rs:
/work/main/crates/vfio-uapi/src/vfio/irq.rs:
/work/main/crates/vfio-uapi/src/vfio/migration.rs:
/work/main/crates/vfio-uapi/src/vfio/pci.rs:
/work/main/crates/vfio-uapi/src/vfio/region.rs:
/work/main/crates/vfio-uapi/src/vfio/spapr.rs:
/work/main/crates/vfio-uapi/src/vfio/type1.rs:
