/** Asking the machine: each request has a number, and the answer bears it. Works on the ports of browsers, of Electron and of Node. */

/** A port, or what behaves as one. */
/** @typedef {{ postMessage(message: unknown): void, addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void }} Port */

/** @typedef {import('./machine.mjs').Answers} Answers */
/** @typedef {import('./machine.mjs').Requests} Requests */

/** One end of a channel to the machine. */
export class Client {
  #port
  #last = 0
  /** @type {Map<number, { resolve: (answer: any) => void, reject: (reason: Error) => void }>} */
  #waiting = new Map()
  /** @type {Error | undefined} */
  #ended

  /** @param {Port} port */
  constructor(port) {
    this.#port = port
    port.addEventListener('message', ({ data }) => this.#take(/** @type {any} */ (data)))
  }

  /**
   * Asks for something and waits for the answer; rejected with what the machine says against it.
   * @template {keyof Requests} Name
   * @param {Name} name
   * @param {Requests[Name]} request
   * @returns {Promise<Answers[Name]>}
   */
  ask(name, request) {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = ++this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#port.postMessage({ id, name, request })
    })
  }

  /** Gives up all that is still waiting. @param {Error} reason */
  close(reason) {
    this.#ended ??= reason
    for (const { reject } of this.#waiting.values()) reject(this.#ended)
    this.#waiting.clear()
  }

  /** @param {{ id: number, answer?: unknown, error?: { code: string, message: string } }} message */
  #take({ id, answer, error }) {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error !== undefined) waiting?.reject(Object.assign(new Error(error.message), { code: error.code }))
    else waiting?.resolve(answer)
  }
}
