// Bounded concurrency, for every room that calls another system once per item.

/**
 * Runs `act` over items in their order, at most `width` at a time. After the first failure no further item is begun, and
 * it rejects with that failure.
 */
export async function forEachBounded<Item>(
  items: readonly Item[],
  width: number,
  act: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  let hasFailed = false
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      if (hasFailed) return
      try {
        await act(item)
      } catch (error) {
        hasFailed = true
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
}
