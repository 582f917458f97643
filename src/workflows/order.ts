// The life of an order, top to bottom. It decides and never does: each step is one transaction elsewhere that
// answers with the order's whole state, and the story goes on when that state has reached or passed its goal.

import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  log,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  uuid4,
} from '@temporalio/workflow'
import { refusalOf, type CommandInput, type CommandResult, type Fence } from '../domain/command.ts'
import { hasReached, isTerminal, type Command, type OrderState, type OrderStatus } from '../domain/order.ts'
import { createCompensation } from './compensation.ts'
import { detailsOf } from './details.ts'
import {
  cancelUpdate,
  deliverUpdate,
  orderChanged,
  shipUpdate,
  STATUS_ATTRIBUTE,
  type OrderInput,
  type OrderOutcome,
} from './message.ts'
import {
  EXPIRY_JITTER_SHARE,
  EXPIRY_RETRY_FACTOR,
  EXPIRY_RETRY_FROM_MS,
  EXPIRY_RETRY_TO_MS,
  isFinal,
  reasonOf,
  step,
} from './policy.ts'

export async function order(input: OrderInput): Promise<OrderOutcome> {
  const run = createRun(input)
  onCancellationRequest(run.cancelAsAdmin)
  return CancellationScope.nonCancellable(async () => {
    const undo = createCompensation(run.showParked)
    try {
      undo.register('releaseStock', run.releaseStock)
      await run.reserveStock()
      await run.until('processing')
      await run.until('shipped')
      undo.clear()
      await run.until('delivered')
    } catch (error) {
      // A later run owns the order: whatever there is to undo is its business.
      if (reasonOf(error) !== 'STALE_RUN') await undo.undoAll()
      throw error
    }
    return run.close()
  })
}

type PendingCommand = { command: Command; input: CommandInput; answer: (result: CommandResult) => void }

/** One run of one order: its messages, its timer, and the steps it has counted. */
function createRun(input: OrderInput) {
  /** Unknown until the first step has answered. */
  let state: OrderState | undefined
  let isChanged = false
  let isTimeUp = false
  let retryMs = EXPIRY_RETRY_FROM_MS
  let timer: CancellationScope | undefined
  let shownStatus: OrderStatus = 'pending'
  const commands: PendingCommand[] = []
  const fence: Fence = { orderId: input.orderId, generation: input.generation, step: 0 }
  const nextFence = (): Fence => ({ ...fence, step: (fence.step += 1) })

  // Handlers only take note; the loop below acts, one thing at a time.
  setHandler(orderChanged, () => void (isChanged = true), { description: 'Look at the inbox again' })
  for (const [update, command] of [
    [cancelUpdate, 'cancel'],
    [shipUpdate, 'ship'],
    [deliverUpdate, 'deliver'],
  ] as const) {
    setHandler(update, (asked) => enqueue(command, asked), {
      validator: (asked) => refuseAtOnce(command, asked),
      description: `Asks to ${command} the order, on behalf of the actor named`,
    })
  }

  // A declaration, so that a message which came before its handler finds it.
  function enqueue(command: Command, asked: CommandInput): Promise<CommandResult> {
    return new Promise((answer) => commands.push({ command, input: asked, answer }))
  }

  /** Synchronous, and only from what is known: a refusal here leaves no trace in the history. */
  function refuseAtOnce(command: Command, asked: CommandInput): void {
    if (state === undefined || isChanged || commands.length > 0) return
    const refusal = refusalOf(command, asked, state)
    if (refusal === undefined) return
    throw ApplicationFailure.create({
      type: refusal.reason,
      message: refusal.message,
      nonRetryable: true,
      details: [state],
    })
  }

  async function learn(next: Promise<OrderState>): Promise<OrderState> {
    state = await next
    if (state.status !== shownStatus) {
      shownStatus = state.status
      upsertSearchAttributes([{ key: STATUS_ATTRIBUTE, value: state.status }])
    }
    setCurrentDetails(detailsOf(input.orderId, state, undefined))
    return state
  }

  async function runCommand({ command, input: asked, answer }: PendingCommand): Promise<void> {
    try {
      const result = await step('runCommand', nextFence(), command, asked)
      await learn(Promise.resolve(result.state))
      answer(result)
    } catch (error) {
      // The asker is told; the order lives on.
      if (!isFinal(error) || reasonOf(error) === 'STALE_RUN' || state === undefined) throw error
      answer({ ok: false, reason: 'INTERNAL', message: 'The order could not do this.', state })
    }
  }

  /** Arms one timer and keeps it over any number of messages; `isTimeUp` says that it has fired. */
  function armTimer(ms: number, summary: string): void {
    timer = new CancellationScope()
    void timer
      .run(() => sleep(ms, { summary }))
      .then(
        () => void (isTimeUp = true),
        () => undefined,
      )
  }

  async function expire(): Promise<void> {
    isTimeUp = false
    timer = undefined
    const after = await learn(step('expireOrder', nextFence()))
    if (mayExpire(after)) {
      armTimer(after.expiresInMs || retryMs, 'asks for expiry again')
      retryMs = Math.min(EXPIRY_RETRY_TO_MS, retryMs * EXPIRY_RETRY_FACTOR)
    }
  }

  /** Acts on the one most urgent thing there is to do; false when there is nothing but to wait. */
  async function act(known: OrderState): Promise<boolean> {
    if (isChanged || known.hasUnassessed) {
      // Cleared before the look, not after: a signal during it must cause another.
      isChanged = false
      await learn(step('assessPayments', nextFence()))
      return true
    }
    const command = commands.shift()
    if (command !== undefined) {
      await runCommand(command)
      return true
    }
    if (!mayExpire(known)) {
      timer?.cancel()
      timer = undefined
      isTimeUp = false
      return false
    }
    if (isTimeUp) {
      await expire()
      return true
    }
    if (timer === undefined) armTimer(known.expiresInMs * (1 + EXPIRY_JITTER_SHARE * Math.random()), 'payment window')
    return false
  }

  return {
    /** Confirms the hold that was taken with the order; an order that could get none ends here. */
    async reserveStock(): Promise<void> {
      const known = await learn(step('reserveStock', nextFence()))
      if (known.status === 'pending' && known.reservation === 'none') await learn(step('releaseStock', nextFence()))
    },

    async releaseStock(): Promise<void> {
      await learn(step('releaseStock', nextFence()))
    },

    /** Goes on when the order has reached the goal, or has ended before it. */
    async until(goal: OrderStatus): Promise<void> {
      while (state !== undefined && !hasReached(state.status, goal)) {
        if (await act(state)) continue
        await condition(() => isChanged || isTimeUp || commands.length > 0)
      }
    },

    /** Answers who still asks, and ends. What comes later is aftercare's. */
    async close(): Promise<OrderOutcome> {
      timer?.cancel()
      for (let late = commands.shift(); late !== undefined; late = commands.shift()) await runCommand(late)
      await condition(allHandlersFinished)
      if (state === undefined || !isTerminal(state.status))
        throw ApplicationFailure.nonRetryable('closed while open', 'INTERNAL')
      return { status: state.status, cancelReason: state.cancelReason }
    },

    cancelAsAdmin(): void {
      log.warn('cancellation was asked for in Temporal: treated as an admin cancelling')
      const asked = {
        actor: 'operator:temporal',
        role: 'admin',
        method: 'CancelOrder',
        key: uuid4(),
        requestHash: '0'.repeat(64),
      } as const
      void enqueue('cancel', asked).then((result) => {
        if (!result.ok) log.warn('cancellation asked for in Temporal was refused', { reason: result.reason })
      })
    },

    showParked(undo: string | undefined): void {
      if (state !== undefined || undo !== undefined) setCurrentDetails(detailsOf(input.orderId, state, undo))
    },
  }
}

const mayExpire = (state: OrderState): boolean =>
  state.status === 'pending' && (state.paymentState === 'awaiting' || state.paymentState === 'partial')

/** A workflow is asked to cancel once at most; from shipping on the request is noted and refused. */
function onCancellationRequest(act: () => void): void {
  void CancellationScope.current().cancelRequested.catch(act)
}
