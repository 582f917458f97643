// Metrics of the watchers, by network.

import { Counter, Gauge, Histogram, type Registry } from '../telemetry.ts'

/** Ethereum and Bitcoin replace one block now and then. Half of the depth of ETH is worth a look. */
const REORG_DEPTHS = [1, 2, 3, 6, 12, 32]

export type ChainMetrics = ReturnType<typeof createChainMetrics>

export function createChainMetrics(registry: Registry) {
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `holdfast_chain_${name}`, help, labelNames: ['network'], registers: [registry] })
  const counter = <Label extends string>(name: string, help: string, ...labels: Label[]) =>
    new Counter({ name: `holdfast_chain_${name}`, help, labelNames: ['network', ...labels], registers: [registry] })
  return {
    tipHeight: gauge('tip_height', 'Height of the newest block of the node.'),
    scannedHeight: gauge('scanned_height', 'Height of the last block whose effects are stored.'),
    lagBlocks: gauge(
      'lag_blocks',
      'Blocks between the tip and the last scanned one; negative while the node is behind what was scanned.',
    ),
    tipAge: gauge('tip_age_seconds', "The tip's age by its own time. It grows while a node is stuck."),
    caughtUpAt: gauge(
      'caught_up_timestamp_seconds',
      'Chain time up to which everything is scanned and delivered; expiries wait for it.',
    ),
    outboxDepth: gauge('outbox_depth', 'Reports that wait to be delivered.'),
    refusedDepth: gauge('outbox_refused', 'Waiting reports that were refused repeatedly: an operator must look.'),
    unexplained: gauge('unexplained', 'Addresses that hold money which no reported output explains.'),
    sweepAge: new Gauge({
      name: 'holdfast_chain_sweep_age_seconds',
      help: 'Time since the last complete sweep over the balances of a tier of addresses began: recent, retired.',
      labelNames: ['network', 'tier'],
      registers: [registry],
    }),
    isHalted: gauge('halted', '1 while a reorganisation too deep to follow stops the watcher.'),
    isHistoryGone: gauge('history_gone', '1 while the node lacks a block far below its tip, which stops the watcher.'),
    backfillEta: gauge(
      'backfill_eta_seconds',
      'Time until the tip is reached, at the present rate; 0 near the tip, infinite while the distance grows.',
    ),
    reorgs: counter('reorgs_total', 'Reorganisations followed.'),
    reorgDepth: new Histogram({
      ...{ name: 'holdfast_chain_reorg_depth_blocks', help: 'Blocks that a followed reorganisation replaced.' },
      ...{ labelNames: ['network'], buckets: REORG_DEPTHS, registers: [registry] },
    }),
    lostBlocks: counter('lost_blocks_total', 'Scanned blocks that left the chain.'),
    missingBlocks: counter('missing_blocks_total', 'Blocks up to the tip that the node did not give.'),
    untracedBlocks: counter('untraced_blocks_total', 'Blocks whose calls inside contracts the node did not show.'),
    failures: counter('failures_total', 'Steps of the watcher that failed.'),
    reports: counter('reports_total', 'Messages sent, by outcome: taken, refused, deferred.', 'outcome'),
  }
}
