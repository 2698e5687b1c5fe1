//! Displays of mediated devices: planes, dma-bufs, the monitor's EDID.

use super::{VFIO_BASE, VFIO_TYPE};
use crate::constant::constants;
use crate::ioctl::ioctls;
use crate::layout::structs;

constants! {
    VFIO_GFX_PLANE_TYPE_PROBE: u32 = 1 << 0, "Asks whether a kind of plane is supported.";
    VFIO_GFX_PLANE_TYPE_DMABUF: u32 = 1 << 1, "The plane is a dma-buf.";
    VFIO_GFX_PLANE_TYPE_REGION: u32 = 1 << 2, "The plane lies in a region.";
    VFIO_DEVICE_GFX_LINK_STATE_UP: u32 = 1, "The monitor is plugged in.";
    VFIO_DEVICE_GFX_LINK_STATE_DOWN: u32 = 2, "The monitor is unplugged.";
}

structs! {
    /// Request and answer of `VFIO_DEVICE_QUERY_GFX_PLANE`.
    VfioDeviceGfxPlaneInfo = "vfio_device_gfx_plane_info" {
        argsz: u32,
        /// `VFIO_GFX_PLANE_TYPE_*`,
        flags: u32,
        /// 0 overlay, 1 primary, 2 cursor,
        drm_plane_type: u32,
        /// fourcc of the pixels,
        drm_format: u32,
        /// tiling,
        drm_format_mod: u64,
        width: u32,
        height: u32,
        /// bytes from line to line,
        stride: u32,
        /// bytes,
        size: u32,
        x_pos: u32,
        y_pos: u32,
        x_hot: u32,
        y_hot: u32,
        /// where the plane lies; also the id of its dma-buf,
        region_index: u32,
        reserved: u32,
    }

    /// Head of an EDID region.
    VfioRegionGfxEdid = "vfio_region_gfx_edid" {
        /// where the EDID lies in the region,
        edid_offset: u32,
        edid_max_size: u32,
        edid_size: u32,
        max_xres: u32,
        max_yres: u32,
        /// `VFIO_DEVICE_GFX_LINK_STATE_*`,
        link_state: u32,
    }
}

ioctls! {
    VFIO_TYPE;
    /// Describes a plane of a device's display.
    VFIO_DEVICE_QUERY_GFX_PLANE = IO(VFIO_BASE + 14), VfioDeviceGfxPlaneInfo;
    /// Opens the dma-buf of a plane.
    VFIO_DEVICE_GET_GFX_DMABUF = IO(VFIO_BASE + 15);
}
