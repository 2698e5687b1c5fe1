/** `vfio help`: what there is. */

/** Prints the commands. */
export async function help(_args: readonly string[]): Promise<number> {
  console.log(`usage: vfio COMMAND …

  serve TYPE-OR-UUID --socket PATH    serves a device over vfio-user, for QEMU and others
        [--keep-state] [--uid N] [--json]
        TYPE: mtty-1, mtty-2 (serial cards), edu (DMA test device), nvme (NVMe controller),
              mdpy-vga, -xga, -hd and mbochs-small, -medium, -large (displays)
        A UUID names the card that is created: mtty-2 with that UUID.
        QEMU:  -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'
               with the guest's memory shared: -object memory-backend-memfd,id=mem,size=SIZE,share=on -machine memory-backend=mem
  help                                prints this`)
  return 0
}
