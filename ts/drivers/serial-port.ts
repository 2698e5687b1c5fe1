/**
 * One 16550A port whose transmitter feeds its own receiver.
 *
 * The registers live in the very bytes that migration saves, so saving is copying. The port keeps the manners of the
 * sample it stands for: divisor writes are or-ed until DLAB is set again, the receive trigger level is 0 until the FIFO
 * control register is written and 1 ever after, and a FIFO that is exactly full reads as empty unless it is repaired.
 */

/** Registers by offset in the port's BAR; two that share an offset differ by direction or by DLAB. */
const DATA = 0
const INTERRUPT_ENABLE = 1
const INTERRUPT_ID = 2
const FIFO_CONTROL = 2
const LINE_CONTROL = 3
const MODEM_CONTROL = 4
const LINE_STATUS = 5
const MODEM_STATUS = 6
const SCRATCH = 7

const IER_RECEIVED = 1
const IER_TRANSMIT_EMPTY = 2
const IER_LINE_STATUS = 4
const IER_MODEM_STATUS = 8
const IER_MASK = 0x0f

const IIR_MODEM_STATUS = 0
const IIR_NONE = 1
const IIR_TRANSMIT_EMPTY = 2
const IIR_RECEIVED = 4
const IIR_LINE_STATUS = 6
const IIR_FIFO_ENABLED = 0xc0

const FCR_ENABLE = 1
const FCR_CLEAR = 6
const LCR_DLAB = 0x80
const MCR_DTR_RTS = 3
const MCR_OUT2 = 8
const MCR_AUTOFLOW = 0x20
const LSR_DATA_READY = 1
const LSR_OVERRUN = 2
const LSR_TRANSMIT_EMPTY = 0x60
/** DSR and DCD are up, and DSR has changed. */
const MSR_FIXED = 0xa2
/** CTS is up and has changed. */
const MSR_CLEAR_TO_SEND = 0x11

const FIFO_SIZE = 16

/** Where the parts of the state lie in its bytes. Bytes 0 to 7 are the registers, 8 to 23 the FIFO. */
const FIFO = 8
const HEAD = 24
const TAIL = 25
const COUNT = 26
const DLAB = 27
const OVERRUN = 28
const DIVISOR = 30
const FIFO_CONTROL_COPY = 32
const FIFO_LIMIT = 33
const TRIGGER_LEVEL = 34

/** Bytes of a port's state as migration saves it. */
export const SERIAL_PORT_STATE_SIZE = 36

/** A serial port. */
export class SerialPort {
  readonly #state = new Uint8Array(SERIAL_PORT_STATE_SIZE)
  readonly #interrupt: () => void
  readonly #repaired: boolean

  /** Makes a port that calls `interrupt` whenever it would raise its line; `repaired`: a full FIFO reads as full. */
  constructor(interrupt: () => void, repaired = false) {
    this.#interrupt = interrupt
    this.#repaired = repaired
    this.#state[FIFO_LIMIT] = FIFO_SIZE
  }

  /** Copies the whole state out. */
  save(): Uint8Array {
    return this.#state.slice()
  }

  /** Takes over a state; whatever the bytes are, the port stays within its FIFO. */
  load(state: Uint8Array): void {
    this.#state.set(state.subarray(0, SERIAL_PORT_STATE_SIZE))
  }

  /** Reads the register at `offset`; undefined where nothing answers: no such register, an empty receive buffer. */
  read(offset: number): number | undefined {
    switch (offset) {
      case DATA:
        return this.#dlab ? this.#byte(DIVISOR) : this.#receive()
      case INTERRUPT_ENABLE:
        return this.#dlab ? this.#byte(DIVISOR + 1) : this.#byte(INTERRUPT_ENABLE) & IER_MASK
      case INTERRUPT_ID:
        return this.#interruptId()
      case LINE_STATUS:
        return this.#lineStatus()
      case MODEM_STATUS:
        return MSR_FIXED | (this.#clearToSend ? MSR_CLEAR_TO_SEND : 0)
      case LINE_CONTROL:
      case MODEM_CONTROL:
      case SCRATCH:
        return this.#byte(offset)
      default:
        return undefined
    }
  }

  /** Writes the register at `offset`; the status registers and what lies behind the last one take no notice. */
  write(offset: number, value: number): void {
    switch (offset) {
      case DATA:
        return this.#dlab ? this.#orDivisor(0, value) : this.#transmit(value)
      case INTERRUPT_ENABLE:
        return this.#dlab ? this.#orDivisor(1, value) : this.#enableInterrupts(value)
      case FIFO_CONTROL:
        return this.#controlFifo(value)
      case LINE_CONTROL:
        return this.#controlLine(value)
      case MODEM_CONTROL:
        return this.#controlModem(value)
      case SCRATCH:
        this.#state[SCRATCH] = value
    }
  }

  /** Loops a byte back. It interrupts where the count of bytes reaches the trigger level, or where there is no room. */
  #transmit(value: number): void {
    const room = this.#byte(COUNT) < this.#byte(FIFO_LIMIT)
    this.#state[OVERRUN] = room ? 0 : 1
    if (!room) {
      if (this.#enabled(IER_LINE_STATUS)) this.#interrupt()
      return
    }
    this.#state[FIFO + slot(this.#byte(HEAD))] = value
    this.#state[HEAD] = slot(this.#byte(HEAD) + 1)
    this.#state[COUNT] = this.#byte(COUNT) + 1
    if (this.#enabled(IER_RECEIVED) && this.#byte(COUNT) === this.#byte(TRIGGER_LEVEL)) this.#interrupt()
  }

  #receive(): number | undefined {
    let value: number | undefined
    if (!this.#empty) {
      value = this.#byte(FIFO + slot(this.#byte(TAIL)))
      this.#state[COUNT] = this.#byte(COUNT) - 1
      this.#state[TAIL] = slot(this.#byte(TAIL) + 1)
    }
    if (this.#empty && this.#enabled(IER_TRANSMIT_EMPTY)) this.#interrupt()
    return value
  }

  /** Or-es the causes together; with both line status and others pending they blend, as they do in the sample. */
  #interruptId(): number {
    let causes = IIR_MODEM_STATUS
    if (this.#enabled(IER_LINE_STATUS) && this.#byte(OVERRUN) !== 0) causes |= IIR_LINE_STATUS
    if (this.#enabled(IER_RECEIVED) && this.#byte(COUNT) >= this.#byte(TRIGGER_LEVEL)) causes |= IIR_RECEIVED
    if (this.#enabled(IER_TRANSMIT_EMPTY) && this.#empty) causes |= IIR_TRANSMIT_EMPTY
    return (causes === 0 ? IIR_NONE : causes) | IIR_FIFO_ENABLED
  }

  #lineStatus(): number {
    const overrun = this.#byte(OVERRUN) === 0 ? 0 : LSR_OVERRUN
    return overrun | (this.#empty ? LSR_TRANSMIT_EMPTY : LSR_DATA_READY)
  }

  #enableInterrupts(value: number): void {
    this.#state[INTERRUPT_ENABLE] = value
    if (this.#enabled(IER_TRANSMIT_EMPTY) && this.#empty) this.#interrupt()
  }

  #controlFifo(value: number): void {
    this.#state[FIFO_CONTROL_COPY] = value
    if ((value & FCR_CLEAR) !== 0) this.#state.fill(0, HEAD, COUNT + 1)
    this.#state[TRIGGER_LEVEL] = 1
    this.#state[FIFO_LIMIT] = (value & FCR_ENABLE) === 0 ? 1 : FIFO_SIZE
  }

  #controlLine(value: number): void {
    this.#state[LINE_CONTROL] = value
    this.#state[DLAB] = (value & LCR_DLAB) === 0 ? 0 : 1
    if (this.#dlab) this.#state.fill(0, DIVISOR, DIVISOR + 2)
  }

  #controlModem(value: number): void {
    this.#state[MODEM_CONTROL] = value
    if (!this.#enabled(IER_MODEM_STATUS)) return
    if ((value & MCR_OUT2) !== 0) this.#interrupt()
    if ((value & MCR_DTR_RTS) !== 0) this.#interrupt()
  }

  #orDivisor(byte: 0 | 1, value: number): void {
    this.#state[DIVISOR + byte] = this.#byte(DIVISOR + byte) | value
  }

  get #dlab(): boolean {
    return this.#byte(DLAB) !== 0
  }

  get #empty(): boolean {
    return this.#repaired ? this.#byte(COUNT) === 0 : this.#byte(HEAD) === this.#byte(TAIL)
  }

  get #clearToSend(): boolean {
    return (this.#byte(MODEM_CONTROL) & MCR_AUTOFLOW) === 0 || this.#byte(COUNT) < this.#byte(FIFO_LIMIT)
  }

  #enabled(interrupt: number): boolean {
    return (this.#byte(INTERRUPT_ENABLE) & interrupt) !== 0
  }

  #byte(at: number): number {
    return this.#state[at] ?? 0
  }
}

/** Index into the FIFO. */
function slot(index: number): number {
  return index & (FIFO_SIZE - 1)
}
