// Metrics of the rates, by asset and source.

import { Counter, Gauge, type Registry } from '../telemetry.ts'

/** What is read when the metrics are. `ageS`: of the accepted rate. */
export type RateReading = { asset: string; isAvailable: boolean; ageS: number | undefined; spread: number | undefined }
export type RateMetrics = ReturnType<typeof createRateMetrics>

export function createRateMetrics(registry: Registry, readings: () => readonly RateReading[]) {
  const gauge = (name: string, help: string, valueOf: (reading: RateReading) => number | undefined): void =>
    registry.registerMetric(
      new Gauge({
        name: `holdfast_rate_${name}`,
        help,
        labelNames: ['asset'],
        registers: [],
        collect() {
          for (const reading of readings()) {
            const value = valueOf(reading)
            if (value !== undefined) this.set({ asset: reading.asset }, value)
          }
        },
      }),
    )
  gauge('available', '1 while there is a rate to quote with.', ({ isAvailable }) => (isAvailable ? 1 : 0))
  gauge('age_seconds', 'Age of the oldest price of the accepted rate.', ({ ageS }) => ageS)
  gauge('spread_ratio', 'Largest difference between fresh prices, as a part of their median.', ({ spread }) => spread)
  const counter = <Label extends string>(name: string, help: string, ...labels: Label[]) =>
    new Counter({ name: `holdfast_rate_${name}`, help, labelNames: ['asset', ...labels], registers: [registry] })
  return {
    reads: counter('reads_total', 'Reads of price sources, by outcome: ok, or why it failed.', 'source', 'outcome'),
    refusals: counter('refusals_total', 'Turns without a new rate: sources, spread or jump.', 'reason'),
  }
}
