// How many orders a second come all the way to delivery, and what each costs: ours against the bare engine below it
// and the naive saga beside it; and how much faster orders are accepted than any engine could drain them.

import { figureOf, type Benchmark, type Round } from './benchmark.ts'
import { acceptRateOf, createAccept } from './order_flow/accept.ts'
import { createBare } from './order_flow/bare.ts'
import { createNaive } from './order_flow/naive.ts'
import { createOurs } from './order_flow/ours.ts'
import { openSetup } from './order_flow/setup.ts'

const RATE = 'orders/s'
const rateOf = (round: Round, system: string): number => figureOf(round, system, RATE)

export const orderFlow: Benchmark = {
  name: 'order-flow',
  question: 'What does Holdfast make of the engine it stands on?',
  headline: RATE,
  ratios: {
    'ours / bare': (round) => rateOf(round, 'ours') / rateOf(round, 'bare'),
    'ours / naive': (round) => rateOf(round, 'ours') / rateOf(round, 'naive'),
    // The bare engine drains faster than ours does, so this is the harder one of the two.
    'accept / bare': (round) => acceptRateOf(round) / rateOf(round, 'bare'),
    'accept / ours': (round) => acceptRateOf(round) / rateOf(round, 'ours'),
  },
  goals: {
    'ours / bare': { ratio: 'ours / bare', atLeast: 0.75 },
    'ours / naive': { ratio: 'ours / naive', atLeast: 1.8 },
    'accepts / drain': { ratio: 'accept / bare', atLeast: 10 },
  },
  async open(options) {
    const setup = await openSetup(options)
    try {
      const systems = [await createBare(setup), await createOurs(setup), await createNaive(setup), createAccept(setup)]
      return { systems, facts: setup.facts, close: setup.close }
    } catch (error) {
      await setup.close()
      throw error
    }
  },
}
