import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { seed } from '../../test/support/scale.ts'
import { createOrderIds } from './order_id.ts'

const orderIdOf = createOrderIds(Buffer.alloc(32, 1))
const KEY = '0f8fad5b-d9cb-469f-a165-70867728950e'

describe('orderIdOf', () => {
  it('always gives a UUID of version 8 and RFC variant', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }), fc.uuid(), (userId, key) => {
        expect(orderIdOf(userId, key)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      }),
      { seed },
    )
  })

  it('gives one attempt one id, whatever the letter case of its key', () => {
    expect(orderIdOf(7n, KEY)).toBe('09cb8cf7-b27d-8317-8e74-a20ec72f6473')
    expect(orderIdOf(7n, KEY.toUpperCase())).toBe(orderIdOf(7n, KEY))
  })

  it('tells users, keys and secrets apart', () => {
    const ids = [
      orderIdOf(7n, KEY),
      orderIdOf(70n, KEY.slice(1)),
      orderIdOf(8n, KEY),
      orderIdOf(7n, KEY.replace('0e', '0f')),
      createOrderIds(Buffer.alloc(32, 2))(7n, KEY),
    ]
    expect(new Set(ids).size).toBe(ids.length)
  })
})
