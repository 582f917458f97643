// One run of one order: its messages, its one timer, and the steps it has counted. Messages only leave a note; one
// loop acts on them, one thing at a time, so that a command, a payment and the clock cannot cross.

import {
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  log,
  patched,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow'
import { refusalOf, type CommandInput, type CommandResult, type Fence } from '../domain/command.ts'
import { FAILURES, type FailureReason } from '../domain/failure.ts'
import { hasReached, isTerminal, type Command, type OrderState, type OrderStatus } from '../domain/order.ts'
import { detailsOf } from './details.ts'
import {
  cancelUpdate,
  deliverUpdate,
  lookUpdate,
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
  isRunFull,
  MAX_LOOKS_PER_RUN,
  reasonOf,
  step,
} from './policy.ts'

type PendingCommand = {
  command: Command
  input: CommandInput
  answer: (result: CommandResult) => void
  /** Came by an update, which a reset gives to the new run once more. */
  isUpdate: boolean
}

export class OrderRun {
  readonly #input: OrderInput
  readonly #commands: PendingCommand[] = []
  /** The command that is being carried out. */
  #current: PendingCommand | undefined
  /** Unknown until the first step has answered. */
  #state: OrderState | undefined
  #step: number
  #looks = 0
  /** A step is under way: the order may already be further than is known here. */
  #isBusy = false
  /** Somebody has a reason to look at the inbox. */
  #isChanged = false
  #timer: CancellationScope | undefined
  #isTimeUp = false
  #retryMs = EXPIRY_RETRY_FROM_MS
  #shownStatus: OrderStatus = 'pending'
  /** Ends the present wait, if there is one. */
  #ring: () => void = () => undefined

  constructor(input: OrderInput) {
    this.#input = input
    this.#step = input.step ?? 0
    const look = (): void => {
      this.#isChanged = true
      this.#ring()
    }
    setHandler(orderChanged, look, { description: 'Look at the inbox again' })
    const countedLook = (): void => {
      this.#looks += 1
      look()
    }
    setHandler(lookUpdate, countedLook, {
      validator: () => this.#refuseManyLooks(),
      description: 'Look at the inbox again',
    })
    this.#listen(cancelUpdate, 'cancel')
    this.#listen(shipUpdate, 'ship')
    this.#listen(deliverUpdate, 'deliver')
  }

  /**
   * Confirms the hold that was taken with the order; an order that could get none ends here. Where there is news of
   * money already, assessing it confirms as much in the same step.
   */
  async reserveStock(): Promise<void> {
    if (this.#input.hasNews === true) {
      const { reservation } = await this.#learn((fence) => step('assessPayments', fence))
      if (reservation !== 'none') return
    }
    const known = await this.#learn((fence) => step('reserveStock', fence))
    if (known.status === 'pending' && known.reservation === 'none') await this.releaseStock()
  }

  async releaseStock(): Promise<void> {
    await this.#learn((fence) => step('releaseStock', fence))
  }

  /** Goes on when the order has reached the goal, or has ended before it. */
  async until(goal: OrderStatus): Promise<void> {
    for (let known = this.#state; known !== undefined && !hasReached(known.status, goal); known = this.#state)
      await (this.#next(known) ?? this.#news())
  }

  /** Not `condition()`, for which the SDK goes once more into the sandbox after each message. */
  #news(): Promise<void> {
    return new Promise((resolve) => (this.#ring = resolve))
  }

  /** Answers who still asks, and ends. What comes later is aftercare's. */
  async close(): Promise<OrderOutcome> {
    this.#timer?.cancel()
    for (let late = this.#commands.shift(); late !== undefined; late = this.#commands.shift()) await this.#run(late)
    await condition(allHandlersFinished)
    const state = this.#state
    if (state === undefined || !isTerminal(state.status))
      throw ApplicationFailure.nonRetryable('closed while open', 'INTERNAL')
    return { status: state.status, cancelReason: state.cancelReason }
  }

  cancelAsAdmin(): void {
    log.warn('cancellation was asked for in Temporal: treated as an admin cancelling')
    const input: CommandInput = {
      actor: 'operator:temporal',
      role: 'admin',
      method: 'CancelOrder',
      key: uuid4(),
      requestHash: '0'.repeat(64),
    }
    this.#ask({ command: 'cancel', input, answer: noteCancellation, isUpdate: false })
  }

  /** @param parked the undo step that waits for a person, if one does */
  show(parked?: string): void {
    setCurrentDetails(detailsOf(this.#input.orderId, this.#state, parked))
  }

  #listen(update: typeof cancelUpdate, command: Command): void {
    const handler = (input: CommandInput): Promise<CommandResult> =>
      new Promise((answer) => this.#ask({ command, input, answer, isUpdate: true }))
    setHandler(update, handler, {
      validator: (input) => this.#refuseAtOnce(command, input),
      description: `Asks to ${command} the order, on behalf of the actor named`,
    })
  }

  /** A refusal leaves no trace in the history and is not counted by the engine. */
  #refuseManyLooks(): void {
    if (this.#looks < MAX_LOOKS_PER_RUN) return
    throw ApplicationFailure.nonRetryable('This run has taken all the looks it takes by update: send a signal.')
  }

  #ask(pending: PendingCommand): void {
    this.#commands.push(pending)
    this.#ring()
  }

  /** Synchronous, and only from what is known for sure: a refusal here leaves no trace in the history. */
  #refuseAtOnce(command: Command, input: CommandInput): void {
    const state = this.#state
    if (state === undefined || this.#isBusy || this.#isChanged || this.#commands.length > 0) return
    const refusal = refusalOf(command, input, state)
    if (refusal === undefined) return
    const { reason: type, message } = refusal
    throw ApplicationFailure.create({ type, message, nonRetryable: true, details: [state] })
  }

  /** Begins the one most urgent thing there is to do; undefined when there is nothing but to wait. */
  #next(known: OrderState): Promise<unknown> | undefined {
    if (this.#commands.length === 0 && isRunFull()) return this.#continueAsNew(known)
    if (this.#isChanged || known.hasUnassessed) {
      // Cleared before the look, not after: a signal during it must cause another.
      this.#isChanged = false
      return this.#learn((fence) => step('assessPayments', fence))
    }
    const command = this.#commands.shift()
    if (command !== undefined) return this.#run(command)
    if (!mayExpire(known)) {
      this.#disarm()
      return undefined
    }
    if (this.#isTimeUp) return this.#expire()
    if (this.#timer === undefined)
      this.#arm(known.expiresInMs * (1 + EXPIRY_JITTER_SHARE * Math.random()), 'payment window')
    return undefined
  }

  /** Begins again with an empty history and no messages to answer. The next run confirms the hold, and looks if need be. */
  async #continueAsNew(known: OrderState): Promise<void> {
    // Commands that were just answered are still on their way out of their handlers.
    await condition(() => allHandlersFinished() || this.#commands.length > 0)
    if (this.#commands.length > 0) return
    const { orderId, generation } = this.#input
    const hasNews = this.#isChanged || known.hasUnassessed
    const input: OrderInput = { orderId, generation, step: this.#step, ...(hasNews && { hasNews }) }
    await continueAsNew<(input: OrderInput) => Promise<OrderOutcome>>(input)
  }

  async #run(pending: PendingCommand): Promise<void> {
    const { command, answer } = pending
    this.#current = pending
    try {
      const act = (fence: Fence): Promise<CommandResult> => step('runCommand', fence, command, pending.input)
      const result = await this.#take(act, ({ state }) => state)
      // Runs written before this answered the refusal: their histories go on as they did.
      if (isRefusedForNews(command, result) && patched('ship-after-news')) this.#commands.unshift(pending)
      else answer(result)
    } catch (error) {
      // The asker is told; the order lives on.
      const state = this.#state
      if (!isFinal(error) || reasonOf(error) === 'STALE_RUN' || state === undefined) throw error
      const reason = reasonOf(error)
      const known = reason !== undefined && Object.hasOwn(FAILURES, reason) ? (reason as FailureReason) : 'INTERNAL'
      answer({ ok: false, reason: known, message: 'The order could not do this.', state })
    } finally {
      this.#current = undefined
    }
  }

  async #expire(): Promise<void> {
    this.#disarm()
    const after = await this.#learn((fence) => step('expireOrder', fence))
    if (!mayExpire(after)) return
    this.#arm(after.expiresInMs || this.#retryMs, 'asks for expiry again')
    this.#retryMs = Math.min(EXPIRY_RETRY_TO_MS, this.#retryMs * EXPIRY_RETRY_FACTOR)
  }

  /** One timer, kept over any number of messages. */
  #arm(ms: number, summary: string): void {
    const scope = new CancellationScope()
    this.#timer = scope
    const isUp = async (): Promise<void> => {
      await scope.run(() => sleep(ms, { summary }))
      this.#isTimeUp = true
      this.#ring()
    }
    // Cancelled: nobody waits for it any more.
    isUp().catch(() => undefined)
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#isTimeUp = false
  }

  /**
   * Takes the next step. One that the order had taken before is taken again, after the last one it has taken: this run
   * was reset, and counts from an earlier step. An answer that was lost on its way looks the same, so every act must bear
   * being repeated.
   */
  async #take<Answer>(
    act: (fence: Fence) => Promise<Answer>,
    stateOf: (answer: Answer) => OrderState,
  ): Promise<Answer> {
    const { orderId, generation } = this.#input
    // Until the answer is noted, the order may be further than is known here.
    this.#isBusy = true
    try {
      for (;;) {
        this.#step += 1
        const answer = await act({ orderId, generation, step: this.#step })
        const { stepReached, ...state } = stateOf(answer)
        if (stepReached === undefined) {
          this.#note(state)
          return answer
        }
        log.warn('step was taken before: going on after the last one', { orderId, step: this.#step, stepReached })
        this.#step = Math.max(this.#step, stepReached)
        this.#distrustCommands()
      }
    } finally {
      this.#isBusy = false
    }
  }

  /**
   * A run that came of a reset got the updates of the run before it in its first task: they are queued when its next
   * step says that it was taken before. What was refused then must not be done now, and what has no answer yet is asked
   * again by its caller. An update that only this run was asked looks the same, and is refused with a reason that passes:
   * the front asks again. A cancellation asked for in Temporal is given to no other run. Only the input of a step
   * differs, so histories recorded before this replay.
   */
  #distrustCommands(): void {
    const { runId, originalExecutionRunId } = workflowInfo()
    if (runId === originalExecutionRunId) return
    for (const pending of [this.#current, ...this.#commands])
      if (pending?.isUpdate === true) pending.input = { ...pending.input, isReapplied: true }
  }

  #learn(act: (fence: Fence) => Promise<OrderState>): Promise<OrderState> {
    return this.#take(act, (state) => state)
  }

  #note(state: OrderState): void {
    this.#state = state
    if (state.status !== this.#shownStatus) {
      this.#shownStatus = state.status
      upsertSearchAttributes([{ key: STATUS_ATTRIBUTE, value: state.status }])
    }
    this.show()
  }
}

/** News of the payment is looked at first, and then the command runs again. An order that has ended looks no more. */
const isRefusedForNews = (command: Command, { ok, state, ...refusal }: CommandResult): boolean =>
  !ok &&
  command === 'ship' &&
  state.hasUnassessed &&
  !isTerminal(state.status) &&
  (refusal as { reason?: FailureReason }).reason === 'ENGINE_UNAVAILABLE'

const noteCancellation = ({ ok }: CommandResult): void =>
  log.warn('cancellation asked for in Temporal is done', { isAccepted: ok })

const mayExpire = (state: OrderState): boolean =>
  state.status === 'pending' && (state.paymentState === 'awaiting' || state.paymentState === 'partial')
