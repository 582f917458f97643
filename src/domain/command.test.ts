import { describe, expect, test } from '@jest/globals'
import { addressRefusalOf, refusalOf } from './command.ts'
import { ACTOR_ROLES, COMMANDS, HOLDS, ORDER_STATUSES, type ActorRole, type Command, type OrderState } from './order.ts'
import { PAYMENT_STATES } from './payment.ts'

type Standing = Pick<OrderState, 'status' | 'paymentState' | 'hold' | 'version'>
const paid: Standing = { status: 'processing', paymentState: 'paid', hold: 'none', version: 3 }
const reasonOf = (command: Command, role: ActorRole, order: Partial<Standing> = {}, expectedVersion?: number) =>
  refusalOf(command, { role, ...(expectedVersion !== undefined && { expectedVersion }) }, { ...paid, ...order })?.reason

describe('a command', () => {
  test('is taken from these roles in these statuses alone', () => {
    const taken = COMMANDS.flatMap((command) =>
      ORDER_STATUSES.flatMap((status) =>
        ACTOR_ROLES.filter((role) => reasonOf(command, role, { status }) === undefined).map(
          (role) => `${role} ${command} ${status}`,
        ),
      ),
    )
    expect(taken).toEqual([
      'customer cancel pending',
      'admin cancel pending',
      'system cancel pending',
      'customer cancel processing',
      'admin cancel processing',
      'system cancel processing',
      'fulfilment ship processing',
      'admin ship processing',
      'fulfilment deliver shipped',
      'admin deliver shipped',
    ])
  })

  test('says in which status it was refused', () => {
    expect(refusalOf('cancel', { role: 'customer' }, { ...paid, status: 'shipped' })).toEqual({
      reason: 'ORDER_STATUS',
      message: 'An order that is shipped cannot do this.',
    })
  })

  test('is refused for another version than it expects, before anything else', () => {
    expect(reasonOf('ship', 'admin', {}, 3)).toBeUndefined()
    expect(reasonOf('ship', 'admin', {}, 2)).toBe('VERSION_MISMATCH')
    expect(reasonOf('ship', 'customer', { status: 'delivered' }, 4)).toBe('VERSION_MISMATCH')
  })
})

describe('shipping', () => {
  test('needs the money settled', () => {
    const shippable = PAYMENT_STATES.filter(
      (state) => reasonOf('ship', 'fulfilment', { paymentState: state }) === undefined,
    )
    expect(shippable).toEqual(['paid', 'partially_refunded'])
    expect(reasonOf('ship', 'admin', { paymentState: 'at_risk' })).toBe('ORDER_ON_HOLD')
  })

  test('needs an order that nothing holds back', () => {
    expect(HOLDS.filter((hold) => reasonOf('ship', 'fulfilment', { hold }) === undefined)).toEqual(['none'])
    expect(reasonOf('ship', 'fulfilment', { hold: 'fraud' })).toBe('ORDER_ON_HOLD')
  })

  test('is all that a hold stops', () => {
    expect(reasonOf('cancel', 'customer', { hold: 'manual', paymentState: 'at_risk' })).toBeUndefined()
    expect(reasonOf('deliver', 'fulfilment', { status: 'shipped', hold: 'payment' })).toBeUndefined()
  })
})

describe('another delivery address', () => {
  test('is taken until the order ships', () => {
    const taken = ORDER_STATUSES.filter((status) => addressRefusalOf({}, { status, version: 3 }) === undefined)
    expect(taken).toEqual(['pending', 'processing'])
    expect(addressRefusalOf({}, { status: 'shipped', version: 3 })).toEqual({
      reason: 'ORDER_STATUS',
      message: 'The address of an order that is shipped cannot change.',
    })
  })

  test('is refused for another version than it expects, before anything else', () => {
    const refused = addressRefusalOf({ expectedVersion: 2 }, { status: 'shipped', version: 3 })
    expect(refused).toEqual({ reason: 'VERSION_MISMATCH', message: 'The order has changed since it was read.' })
    expect(addressRefusalOf({ expectedVersion: 3 }, { status: 'pending', version: 3 })).toBeUndefined()
  })
})
