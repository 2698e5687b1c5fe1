/**
 * The machine: guest memory, an IOMMU, a serial card that echoes and a device that does DMA, asked by name.
 *
 * Whoever asks may ask for anything: what makes no sense is answered with an error, and changes nothing.
 */
import {
  capabilities,
  Edu,
  HostMemory,
  mtty,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
} from 'vfio'

/** What can be asked for, by name. */
/**
 * @typedef {object} Requests
 * @property {Record<string, never>} describe
 * @property {{ text: string }} send
 * @property {{ at: number, bytes: Uint8Array }} write
 * @property {{ at: number, length: number }} read
 * @property {{ from: number, to: number, length: number }} copy
 * @property {Record<string, never>} crash
 */
/** What comes back. */
/**
 * @typedef {object} Answers
 * @property {{ versions: { node: string, electron?: string }, externalBuffers: string, memory: string, view: boolean }} describe
 * @property {{ echo: string }} send
 * @property {Record<string, never>} write
 * @property {{ bytes: Uint8Array }} read
 * @property {{ faults: string }} copy
 * @property {never} crash
 */

const MEMORY = 1 << 20
const PAGE = 4096
const EDU = '0000:00:02.0'
const MEMORY_AND_BUS_MASTER = 6
const [SOURCE, DESTINATION, COUNT, START, BUFFER, TO_DEVICE, TO_MEMORY] = [0x80, 0x88, 0x90, 0x98, 0x40000, 1, 3]
const [DATA, FIFO_CONTROL, LINE_STATUS, DATA_READY, ENABLE_AND_CLEAR] = [0, 2, 5, 1, 7]

/** A machine. */
export class Machine {
  #host = new SoftwareHost()
  #memory
  /** Guest memory as an array, where this runtime allows that. */
  #view
  #container
  #groups
  #edu
  #registers
  #serial
  #port

  constructor() {
    const host = this.#host
    host.mdev.registerParent('mtty', mtty({ repaired: true }))
    const card = host.mdev.create('mtty-1')
    host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
    this.#memory = guestMemory()
    this.#view = viewOf(this.#memory)
    this.#container = host.openContainer()
    const [eduGroup, cardGroup] = [EDU, card.uuid].map((name) => host.openGroup(host.groupOf(name).number))
    if (eduGroup === undefined || cardGroup === undefined) throw new Error('two names, two groups')
    this.#groups = [eduGroup, cardGroup]
    eduGroup.setContainer(this.#container)
    this.#container.setIommu(VFIO_TYPE1v2_IOMMU)
    cardGroup.setContainer(this.#container)
    this.#container.mapDma({ iova: 0, memory: this.#memory, read: true, write: true })
    this.#edu = eduGroup.getDevice(EDU)
    this.#edu.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, MEMORY_AND_BUS_MASTER)
    this.#registers = this.#edu.region(VFIO_PCI_BAR0_REGION_INDEX)
    this.#serial = cardGroup.getDevice(card.uuid)
    this.#port = this.#serial.region(VFIO_PCI_BAR0_REGION_INDEX)
  }

  /**
   * Answers a message of {@link Client}: never throws.
   * @param {any} message
   */
  answer(message) {
    const id = Number(message?.id)
    try {
      return { id, answer: this.#do(message?.name, message?.request) }
    } catch (error) {
      const { code, message: text } = /** @type {{ code?: unknown, message?: unknown }} */ (error ?? {})
      return { id, error: { code: String(code ?? 'ERR_MACHINE'), message: String(text ?? error) } }
    }
  }

  /** Switches it off (idempotent). */
  close() {
    for (const part of [this.#edu, this.#serial, ...this.#groups, this.#container, this.#memory, this.#host]) {
      part[Symbol.dispose]()
    }
  }

  /** @param {unknown} name @param {any} request */
  #do(name, request) {
    switch (name) {
      case 'describe': {
        const { available } = capabilities().externalBuffers
        const { node, electron } = /** @type {{ node: string, electron?: string }} */ (process.versions)
        const versions = electron === undefined ? { node } : { node, electron }
        const externalBuffers = available ? 'allowed' : 'refused'
        return { versions, externalBuffers, memory: this.#memory.kind, view: this.#view !== undefined }
      }
      case 'send':
        return { echo: this.#send(text(request?.text)) }
      case 'write': {
        const { at, bytes } = request ?? {}
        if (!(bytes instanceof Uint8Array)) throw new TypeError('bytes must be a Uint8Array')
        this.#memory.write(at, bytes)
        return {}
      }
      case 'read':
        return { bytes: this.#read(request?.at, request?.length) }
      case 'copy':
        return { faults: this.#copy(request ?? {}) }
      case 'crash':
        return process.exit(70)
      default:
        throw new TypeError(`there is no request ${JSON.stringify(name)}`)
    }
  }

  /** Sends a text through the serial port, byte by byte, as a guest without interrupts would. @param {string} said */
  #send(said) {
    const port = this.#port
    port.writeU8(FIFO_CONTROL, ENABLE_AND_CLEAR)
    const echo = []
    for (const byte of new TextEncoder().encode(said)) {
      port.writeU8(DATA, byte)
      while ((port.readU8(LINE_STATUS) & DATA_READY) !== 0) echo.push(port.readU8(DATA))
    }
    return new TextDecoder().decode(Uint8Array.from(echo))
  }

  /** @param {number} at @param {number} length */
  #read(at, length) {
    if (this.#view === undefined) return this.#memory.read(at, length)
    if (!Number.isInteger(at) || !Number.isInteger(length) || at < 0 || length < 0 || at + length > MEMORY) {
      throw new RangeError(`guest memory has ${MEMORY} bytes`)
    }
    return Uint8Array.from(this.#view.subarray(at, at + length))
  }

  /**
   * Has the device copy guest memory, and tells what the IOMMU refused.
   * @param {{ from?: number, to?: number, length?: number }} request
   */
  #copy({ from = 0, to = 0, length = PAGE }) {
    if (length > PAGE) throw new RangeError(`the device's buffer has ${PAGE} bytes`)
    const { faults } = this.#container
    faults.clear()
    this.#dma(from, BUFFER, length, TO_DEVICE)
    this.#dma(BUFFER, to, length, TO_MEMORY)
    return faults.explain()
  }

  /** @param {number} source @param {number} destination @param {number} length @param {number} command */
  #dma(source, destination, length, command) {
    this.#registers.writeU64(SOURCE, source)
    this.#registers.writeU64(DESTINATION, destination)
    this.#registers.writeU64(COUNT, length)
    this.#registers.writeU64(START, command)
  }
}

/** Memory that another process could map, too, where the system has such; else memory of the engine's own. */
function guestMemory() {
  if (capabilities().memfd.available) return HostMemory.allocate(MEMORY, { kind: 'memfd', name: 'guest' })
  return HostMemory.from(new SharedArrayBuffer(MEMORY))
}

/** @param {HostMemory} memory */
function viewOf(memory) {
  try {
    return memory.view()
  } catch {
    return undefined // read() and write() do as well
  }
}

/** @param {unknown} value */
function text(value) {
  if (typeof value !== 'string' || value.length > PAGE)
    throw new TypeError(`text must be a string of up to ${PAGE} characters`)
  return value
}
