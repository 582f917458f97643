// A fixture for the payment page: its listener over a test shop's database, whose payments a test reports and assesses.

import { randomBytes } from 'node:crypto'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { findPaymentFacts } from '../../src/db/payment_page.ts'
import { createAddressSet, createPeerOf } from '../../src/grpc/peer.ts'
import { startPayListener, type PayListener, type PayListenerOptions } from '../../src/http/pay.ts'
import { createFactsReader } from '../../src/http/pay_reader.ts'
import { createPayLinks } from '../../src/keyvault/pay_link.ts'
import { createLogger, createRegistry, type Registry } from '../../src/telemetry.ts'
import { createTestShop, type TestShop } from './shop.ts'

export type PayFixture = {
  shop: TestShop
  registry: Registry
  logLines: string[]
  origin: string
  /** The address of an order's page. */
  urlOf: (order: Pick<AcceptedOrder, 'orderId' | 'createdAt'>) => string
  /** Another listener on the same database. */
  listen: (options?: Partial<PayListenerOptions>) => Promise<PayListener>
  /** Sets the height up to which the chain was scanned. */
  scanTo: (height: number) => Promise<void>
  close: () => Promise<void>
}

export async function openPayFixture(overrides: Partial<PayListenerOptions> = {}): Promise<PayFixture> {
  const shop = await createTestShop()
  const links = createPayLinks([randomBytes(32)])
  const logLines: string[] = []
  const started: PayListener[] = []
  const listen: PayFixture['listen'] = async (more = {}) => {
    const options: PayListenerOptions = {
      ...{ bind: '127.0.0.1', port: 0, isSecure: false, chainId: 1 },
      openLink: (token) => links.open(token, new Date()),
      tokenOf: links.tokenOf,
      findFacts: createFactsReader((orderIds) => findPaymentFacts(shop.api, orderIds)),
      peerOf: createPeerOf(createAddressSet([])),
      isProxy: () => false,
      bounds: { requestsPerMinute: 1_000_000 },
      times: { lookEveryMs: 100 },
      registry: createRegistry('test'),
      logger: createLogger({
        process: 'test',
        level: 'info',
        destination: { write: (line: string) => void logLines.push(line) },
      }),
      ...overrides,
      ...more,
    }
    const listener = await startPayListener(options)
    started.push(listener)
    return listener
  }
  const registry = createRegistry('test')
  const { port } = await listen({ registry })
  const origin = `http://127.0.0.1:${port}`
  return {
    ...{ shop, registry, logLines, origin, listen },
    urlOf: (order) => `${origin}/pay/${links.tokenOf(order)}`,
    scanTo: async (height) =>
      void (await shop.query(
        `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height)
         values ('ethereum', 1, 1, $1, $1)
         on conflict (network, source) do update set scanned_height = excluded.scanned_height, tip_height = excluded.tip_height`,
        [height],
      )),
    close: async () => {
      await Promise.all(started.map((listener) => listener.stop()))
      await shop.close()
    },
  }
}
