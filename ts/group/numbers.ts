/** Numbers handed out lowest first and taken back, as the kernel's `ida` does. */
export class LowestFreeNumbers {
  /** No free number is below this. */
  #lowest: number
  readonly #taken = new Set<number>()

  constructor(first = 0) {
    this.#lowest = first
  }

  /** Takes the lowest number that is free. */
  take(): number {
    let number = this.#lowest
    while (this.#taken.has(number)) number++
    this.#taken.add(number)
    this.#lowest = number + 1
    return number
  }

  /** Gives a number back. */
  give(number: number): void {
    if (this.#taken.delete(number)) this.#lowest = Math.min(this.#lowest, number)
  }
}
