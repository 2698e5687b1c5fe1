/** Numbers handed out lowest first and taken back, as the kernel's `ida` does. */
export class LowestFreeNumbers {
  readonly #first: number
  readonly #taken = new Set<number>()

  constructor(first = 0) {
    this.#first = first
  }

  /** Takes the lowest number that is free. */
  take(): number {
    let number = this.#first
    while (this.#taken.has(number)) number++
    this.#taken.add(number)
    return number
  }

  /** Gives a number back. */
  give(number: number): void {
    this.#taken.delete(number)
  }
}
