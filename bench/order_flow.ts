// The order-flow benchmark: delivered orders per second and the cost of each, ours against the bare engine and against
// a naive saga; and how much faster orders are accepted than any engine could drain them.

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
  question: 'How much of the throughput of bare Temporal does Holdfast keep?',
  headline: RATE,
  ratios: {
    'ours / bare': (round) => rateOf(round, 'ours') / rateOf(round, 'bare'),
    'ours / naive': (round) => rateOf(round, 'ours') / rateOf(round, 'naive'),
    // The bare engine drains faster than ours, so this is the harder of the two goals.
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
