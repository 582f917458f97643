// `npm run demo` with machine-readable output.

import { expect, test } from '@jest/globals'
import { runMain, serverVariables } from '../support/command.ts'

const WITHIN_MS = 300_000
const ID = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)

test(
  'the demo brings nine orders to their ends and prints one JSON document about them',
  async () => {
    const { code, stdout, stderr } = await runMain(['dev.ts', 'demo', '--json'], await serverVariables()).ended
    expect({ code, problems: code === 0 ? '' : stderr }).toEqual({ code: 0, problems: '' })
    const cancelled = { orderId: ID, status: 'cancelled', ms: expect.any(Number) }
    const paid = { orderId: ID, paymentState: 'paid', cancelReason: null, ms: expect.any(Number) }
    expect(JSON.parse(stdout)).toEqual({
      ok: true,
      scenarios: [
        { name: 'delivered', ...paid, status: 'delivered' },
        { name: 'expired', ...cancelled, paymentState: 'expired', cancelReason: 'expired' },
        { name: 'cancelled', ...cancelled, paymentState: 'cancelled', cancelReason: 'customer' },
        { name: 'refunded', ...cancelled, paymentState: 'refunded', cancelReason: 'customer' },
        { name: 'topped up', ...paid, status: 'processing' },
        { name: 'reorganised', ...paid, status: 'processing' },
        { name: 'late', ...paid, orderId: expect.stringMatching(/^[0-9a-f-]{36}$/), status: 'processing' },
        { name: 'race', ...paid, status: 'processing' },
      ],
      stock: [
        { productId: 'lamp', onHand: 8, reserved: 5, available: 3 },
        { productId: 'vase', onHand: 1, reserved: 1, available: 0 },
      ],
    })
    expect(stderr).toMatch(/^ +\d+\.\d s {2}worker is ready on /m)
  },
  WITHIN_MS,
)
