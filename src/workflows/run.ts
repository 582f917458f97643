// Event loop of one run of one order: its messages, its one timer, and its step counter. Message handlers only queue
// work; one loop does it, one item at a time, so that a command, a payment and the timer cannot overlap.

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
  /** Came by an update: after a reset, Temporal delivers it to the new run again. */
  isUpdate: boolean
}

export class OrderRun {
  readonly #input: OrderInput
  readonly #commands: PendingCommand[] = []
  /** The command that is running. */
  #current: PendingCommand | undefined
  /** Unknown until the first step has answered. */
  #state: OrderState | undefined
  #step: number
  #looks = 0
  /** A step is running: the order may already be further than `#state` says. */
  #isStepRunning = false
  /** The inbox of payment reports must be assessed. */
  #mustAssess = false
  #timer: CancellationScope | undefined
  #isTimeUp = false
  #retryMs = EXPIRY_RETRY_FROM_MS
  #shownStatus: OrderStatus = 'pending'
  /** Resolves the promise that the loop waits for, if it waits. */
  #wake: () => void = () => undefined

  constructor(input: OrderInput) {
    this.#input = input
    this.#step = input.step ?? 0
    const look = (): void => {
      this.#mustAssess = true
      this.#wake()
    }
    setHandler(orderChanged, look, { description: 'Look at the inbox again' })
    const countedLook = (): void => {
      this.#looks += 1
      look()
    }
    setHandler(lookUpdate, countedLook, {
      validator: () => this.#rejectExcessLook(),
      description: 'Look at the inbox again',
    })
    this.#listen(cancelUpdate, 'cancel')
    this.#listen(shipUpdate, 'ship')
    this.#listen(deliverUpdate, 'deliver')
  }

  /**
   * Confirms the hold that was taken with the order. An order without a hold ends here. Where payments were reported
   * before the start, their assessment confirms the hold in the same step.
   */
  async reserveStock(): Promise<void> {
    if (this.#input.hasNews === true) {
      const { reservation } = await this.#runStep((fence) => step('assessPayments', fence))
      if (reservation !== 'none') return
    }
    const known = await this.#runStep((fence) => step('reserveStock', fence))
    if (known.status === 'pending' && known.reservation === 'none') await this.releaseStock()
  }

  async releaseStock(): Promise<void> {
    await this.#runStep((fence) => step('releaseStock', fence))
  }

  /** Returns when the order has reached or passed the goal, or has ended before it. */
  async until(goal: OrderStatus): Promise<void> {
    for (let known = this.#state; known !== undefined && !hasReached(known.status, goal); known = this.#state)
      await (this.#next(known) ?? this.#nextMessage())
  }

  /** Not `condition()`: for it, the SDK enters the sandbox once more after each message. */
  #nextMessage(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve))
  }

  /** Answers the commands that still wait, and ends the run. The aftercare workflow handles later payments. */
  async close(): Promise<OrderOutcome> {
    this.#timer?.cancel()
    for (let late = this.#commands.shift(); late !== undefined; late = this.#commands.shift())
      await this.#runCommand(late)
    await condition(allHandlersFinished)
    const state = this.#state
    if (state === undefined || !isTerminal(state.status))
      throw ApplicationFailure.nonRetryable('closed while open', 'INTERNAL')
    return { status: state.status, cancelReason: state.cancelReason }
  }

  cancelAsAdmin(): void {
    log.warn('cancellation requested in Temporal: handled as one by an admin')
    const input: CommandInput = {
      actor: 'operator:temporal',
      role: 'admin',
      method: 'CancelOrder',
      key: uuid4(),
      requestHash: '0'.repeat(64),
    }
    this.#enqueue({ command: 'cancel', input, answer: logCancellation, isUpdate: false })
  }

  /** @param parked the undo step that waits for an operator, if there is one */
  show(parked?: string): void {
    setCurrentDetails(detailsOf(this.#input.orderId, this.#state, parked))
  }

  #listen(update: typeof cancelUpdate, command: Command): void {
    const handler = (input: CommandInput): Promise<CommandResult> =>
      new Promise((answer) => this.#enqueue({ command, input, answer, isUpdate: true }))
    setHandler(update, handler, {
      validator: (input) => this.#rejectAtOnce(command, input),
      description: `Requests to ${command} the order, on behalf of the given actor`,
    })
  }

  /** A rejected update is not in the history and does not count towards Temporal's limit of updates. */
  #rejectExcessLook(): void {
    if (this.#looks < MAX_LOOKS_PER_RUN) return
    throw ApplicationFailure.nonRetryable('This run accepts no more look updates: send the signal orderChanged.')
  }

  #enqueue(pending: PendingCommand): void {
    this.#commands.push(pending)
    this.#wake()
  }

  /** Validator: synchronous, and rejects only on a state that is certain. A rejected update is not in the history. */
  #rejectAtOnce(command: Command, input: CommandInput): void {
    const state = this.#state
    if (state === undefined || this.#isStepRunning || this.#mustAssess || this.#commands.length > 0) return
    const refusal = refusalOf(command, input, state)
    if (refusal === undefined) return
    const { reason: type, message } = refusal
    throw ApplicationFailure.create({ type, message, nonRetryable: true, details: [state] })
  }

  /** Starts the most urgent work; undefined when there is none and the loop should wait. */
  #next(known: OrderState): Promise<unknown> | undefined {
    if (this.#commands.length === 0 && isRunFull()) return this.#continueAsNew(known)
    if (this.#mustAssess || known.hasUnassessed) {
      // Cleared before the assessment, not after: a signal during it must cause another one.
      this.#mustAssess = false
      return this.#runStep((fence) => step('assessPayments', fence))
    }
    const command = this.#commands.shift()
    if (command !== undefined) return this.#runCommand(command)
    if (!mayExpire(known)) {
      this.#disarm()
      return undefined
    }
    if (this.#isTimeUp) return this.#expire()
    if (this.#timer === undefined)
      this.#arm(known.expiresInMs * (1 + EXPIRY_JITTER_SHARE * Math.random()), 'payment window')
    return undefined
  }

  /** Continues as new once every message is answered. The next run confirms the hold, and assesses payments if needed. */
  async #continueAsNew(known: OrderState): Promise<void> {
    // Handlers of commands that were just answered may not have finished yet.
    await condition(() => allHandlersFinished() || this.#commands.length > 0)
    if (this.#commands.length > 0) return
    const { orderId, generation } = this.#input
    const hasNews = this.#mustAssess || known.hasUnassessed
    const input: OrderInput = { orderId, generation, step: this.#step, ...(hasNews && { hasNews }) }
    await continueAsNew<(input: OrderInput) => Promise<OrderOutcome>>(input)
  }

  async #runCommand(pending: PendingCommand): Promise<void> {
    const { command, answer } = pending
    this.#current = pending
    try {
      const act = (fence: Fence): Promise<CommandResult> => step('runCommand', fence, command, pending.input)
      const result = await this.#takeStep(act, ({ state }) => state)
      // Histories recorded before this patch answered with the refusal.
      if (isRefusedForNews(command, result) && patched('ship-after-news')) this.#commands.unshift(pending)
      else answer(result)
    } catch (error) {
      // The caller gets the refusal; the order continues.
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
    const after = await this.#runStep((fence) => step('expireOrder', fence))
    if (!mayExpire(after)) return
    this.#arm(after.expiresInMs || this.#retryMs, 'asks for expiry again')
    this.#retryMs = Math.min(EXPIRY_RETRY_TO_MS, this.#retryMs * EXPIRY_RETRY_FACTOR)
  }

  /** Starts the run's one timer. It is kept while messages are handled. */
  #arm(ms: number, summary: string): void {
    const scope = new CancellationScope()
    this.#timer = scope
    const isUp = async (): Promise<void> => {
      await scope.run(() => sleep(ms, { summary }))
      this.#isTimeUp = true
      this.#wake()
    }
    // Rejects when the timer is cancelled, which needs no handling.
    isUp().catch(() => undefined)
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#isTimeUp = false
  }

  /**
   * Runs the next step. If the order has already taken a step of this number, this run was reset and counts from an
   * earlier step: the step is run again under the number after the last one taken. A lost answer looks the same, so
   * every step must be safe to repeat.
   */
  async #takeStep<Answer>(
    act: (fence: Fence) => Promise<Answer>,
    stateOf: (answer: Answer) => OrderState,
  ): Promise<Answer> {
    const { orderId, generation } = this.#input
    // Until the answer is stored, the order may be further than `#state` says.
    this.#isStepRunning = true
    try {
      for (;;) {
        this.#step += 1
        const answer = await act({ orderId, generation, step: this.#step })
        const { stepReached, ...state } = stateOf(answer)
        if (stepReached === undefined) {
          this.#storeState(state)
          return answer
        }
        log.warn('step number already taken: continuing after the last one', { orderId, step: this.#step, stepReached })
        this.#step = Math.max(this.#step, stepReached)
        this.#markReapplied()
      }
    } finally {
      this.#isStepRunning = false
    }
  }

  /**
   * Marks queued commands as delivered again after a reset. Temporal gives the updates of the old run to the new one in
   * its first task, so they are queued when its next step finds its number taken. A command that was refused before must
   * not take effect now, and one without an answer is sent again by its caller. An update that only this run received
   * looks the same: it is refused with a retryable reason, and the API sends it again. A cancellation requested in
   * Temporal is delivered to one run only. Only the input of a step differs, so older histories still replay.
   */
  #markReapplied(): void {
    const { runId, originalExecutionRunId } = workflowInfo()
    if (runId === originalExecutionRunId) return
    for (const pending of [this.#current, ...this.#commands])
      if (pending?.isUpdate === true) pending.input = { ...pending.input, isReapplied: true }
  }

  #runStep(act: (fence: Fence) => Promise<OrderState>): Promise<OrderState> {
    return this.#takeStep(act, (state) => state)
  }

  #storeState(state: OrderState): void {
    this.#state = state
    if (state.status !== this.#shownStatus) {
      this.#shownStatus = state.status
      upsertSearchAttributes([{ key: STATUS_ATTRIBUTE, value: state.status }])
    }
    this.show()
  }
}

/** A refusal that passes once reported payments are assessed: then the command runs again. Not after the order's end. */
const isRefusedForNews = (command: Command, { ok, state, ...refusal }: CommandResult): boolean =>
  !ok &&
  command === 'ship' &&
  state.hasUnassessed &&
  !isTerminal(state.status) &&
  (refusal as { reason?: FailureReason }).reason === 'ENGINE_UNAVAILABLE'

const logCancellation = ({ ok }: CommandResult): void =>
  log.warn('cancellation requested in Temporal was handled', { isAccepted: ok })

const mayExpire = (state: OrderState): boolean =>
  state.status === 'pending' && (state.paymentState === 'awaiting' || state.paymentState === 'partial')
