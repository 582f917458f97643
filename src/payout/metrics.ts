// Metrics of payouts.

import { Counter, Gauge, type Registry } from '../telemetry.ts'

export type PayoutMetrics = ReturnType<typeof createPayoutMetrics>

export function createPayoutMetrics(registry: Registry) {
  const named = (name: string, help: string) => ({ name: `holdfast_payout_${name}`, help, registers: [registry] })
  return {
    prepared: new Counter(named('prepared_total', 'Refunds that got their payout.')),
    confirmed: new Counter(named('confirmed_total', 'Payouts that are final on the chain.')),
    failed: new Counter({
      ...named(
        'failed_total',
        'Steps of payouts that failed: sign, send, end; node: it refused a question; turn: a whole turn.',
      ),
      labelNames: ['step'] as const,
    }),
    open: new Gauge({ ...named('open', 'Payouts that are not over, by status.'), labelNames: ['status'] as const }),
    waiting: new Gauge({
      ...named('waiting', 'Approved refunds that get no payout now, by reason.'),
      labelNames: ['reason'] as const,
    }),
    lastTurn: new Gauge(named('last_turn_timestamp_seconds', 'When the last good turn ended.')),
  }
}
