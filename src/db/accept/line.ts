// Who waits for a product, because its expired holds are being given back or its stock row is locked. The one invariant: no
// order is decided before an earlier one that waits for the same product, unless it takes nothing from that one: the
// reclaim gets nowhere and it fits what is free, or it asks for more than can come back, which is refused.

import type { AcceptVerdict, ProposedOrder, VerdictRow } from './verdict.ts'

export type Entry = {
  readonly order: ProposedOrder
  /** Aborted when the caller no longer waits for the answer. */
  readonly signal: AbortSignal | undefined
  readonly resolve: (verdict: AcceptVerdict) => void
  readonly reject: (error: unknown) => void
  /** Units wanted by product. */
  readonly wants: ReadonlyMap<string, number>
  /** Its place in the order of arrival. */
  readonly seq: number
  /** Set from the first time it waits for a product, in milliseconds since the epoch: past it, «try again». */
  waitsUntil: number | undefined
  /** Of what it was short when it was decided last. */
  missing: ReadonlySet<string>
  /** A statement that failed may have written it: its address is not given back. */
  mayBeWritten: boolean
  /** Where it waits now. */
  lines: readonly Line[]
  /** Of which lines it is among the first, while it is decided. */
  leads: readonly Line[]
}

/** The orders that wait for one product. */
export type Line = {
  readonly productId: string
  length: number
  /** How many of it are being decided in their turn. */
  leading: number
  /** Its holds are being given back, or its lock is waited for. */
  isBusy: boolean
  isLocked: boolean
  /** The last reclaim gave nothing back: one order at a time asks whether that has changed. */
  isStalled: boolean
  /** Units that were free when last told, less those that orders were let through for. */
  free: number
  /** Units that were free or due to come back when last told. */
  attainable: number
}

export type Shortfall = NonNullable<NonNullable<VerdictRow['detail']>['shortages']>[number]

/** The lines that an order of these products meets. */
type Standing = { turns: readonly Line[]; passes: readonly { line: Line; wants: number }[]; stops: readonly Line[] }
const UNHINDERED: Standing = { turns: [], passes: [], stops: [] }

export type LineDeps = {
  /** Has a product's expired holds given back. Resolves to whether any was, else after a pause; never rejects. */
  reclaim: (productId: string) => Promise<boolean>
  /** Resolves after a pause to whether another session has a product's stock locked; never rejects. */
  isLockedStill: (productId: string) => Promise<boolean>
  /** Told when an order may be decided that could not be before. */
  onReady: () => void
}

export function createLines(deps: LineDeps) {
  const lines = new Map<string, Line>()
  const linesOf = ({ wants }: Entry): Line[] => [...wants.keys()].flatMap((productId) => lines.get(productId) ?? [])
  const lineOf = (productId: string): Line => {
    const line = lines.get(productId) ?? createLine(productId)
    lines.set(productId, line)
    return line
  }
  const endIfEmpty = (line: Line): void => {
    if (line.length === 0 && line.leading === 0 && lines.get(line.productId) === line) lines.delete(line.productId)
  }

  async function look(line: Line): Promise<void> {
    line.isBusy = true
    let isBack = false
    if (!line.isLocked) isBack = await deps.reclaim(line.productId)
    // Each time, those are dropped whose callers are gone.
    else for (; !isBack && line.length > 0; deps.onReady()) isBack = !(await deps.isLockedStill(line.productId))
    Object.assign(line, { isStalled: !isBack, isLocked: false, isBusy: false })
    deps.onReady()
  }

  return {
    count: (): number => lines.size,
    /** The lines of its products, the order itself standing in none of them. */
    linesOf,

    /** What the database told of products of which there is not enough just now. */
    noteShort: (shortfalls: readonly Shortfall[]): void => {
      for (const { p, available, returning = 0 } of shortfalls)
        Object.assign(lineOf(p), { free: available, attainable: available + returning })
    },
    noteLocked: (productIds: ReadonlySet<string>): void => {
      for (const productId of productIds) lineOf(productId).isLocked = true
    },
    join: (entry: Entry): void => {
      entry.lines = linesOf(entry)
      for (const line of entry.lines) line.length += 1
    },
    leave: (entry: Entry): void => {
      const left = entry.lines
      entry.lines = []
      for (const line of left) line.length -= 1
      for (const line of left) endIfEmpty(line)
    },
    /** Has the products looked after that the entry waits for. */
    lookAfter: (entry: Entry, awaited: ReadonlySet<string>): void => {
      for (const line of entry.lines) if (awaited.has(line.productId) && !line.isBusy) void look(line)
    },
    /** An order that was taken in its turn has been decided, or is out of it. */
    settled: (entry: Entry, isDecided: boolean): void => {
      const led = entry.leads
      entry.leads = []
      for (const line of led) {
        line.leading -= 1
        if (isDecided) line.isStalled = false
        endIfEmpty(line)
      }
    },

    /**
     * In which lines it is the order's turn, which it may pass, and which stop it.
     * @param held products that an earlier order waits for
     * @param led products of which orders are in the same batch in their turn
     */
    standingOf: ({ wants: wanted, missing }: Entry, held: ReadonlySet<string>, led: ReadonlySet<string>): Standing => {
      const turns: Line[] = []
      const passes: { line: Line; wants: number }[] = []
      const stops: Line[] = []
      for (const [productId, wants] of wanted) {
        const line = lines.get(productId)
        if (line === undefined) continue
        // It is to be refused, for good. Asked once, since what is due may have changed.
        if (missing.size === 0 && wants > line.attainable) return UNHINDERED
        const isOpen = !line.isBusy && (led.has(productId) ? !line.isStalled : line.leading === 0)
        if (isOpen && !held.has(productId)) turns.push(line)
        // Not beside one that asks in its turn: within a batch the database has all others wait behind that one.
        else if (line.isStalled && !led.has(productId) && wants <= line.free) passes.push({ line, wants })
        else stops.push(line)
      }
      return { turns, passes, stops }
    },
  }
}

const createLine = (productId: string): Line => ({
  productId,
  length: 0,
  leading: 0,
  isBusy: false,
  isLocked: false,
  isStalled: false,
  free: 0,
  attainable: Infinity,
})

/** Notes in the lines that an order is taken to be decided. */
export function takeTurns(entry: Entry, { turns, passes }: Standing, led: Set<string>): void {
  for (const line of turns) {
    line.leading += 1
    led.add(line.productId)
  }
  for (const { line, wants } of passes) line.free -= wants
  entry.leads = turns
}
