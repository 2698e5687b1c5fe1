/**
 * The user-space API as data: constants, ioctl numbers, structure codecs and errnos, for callers of the file door.
 *
 * Generated from the Rust crate `vfio-uapi`, which holds each definition once.
 */
export * from './constants.ts'
export * from './codec.ts'
export * from './errno.ts'
export * from './ioctl.ts'
export * from './structs.ts'
