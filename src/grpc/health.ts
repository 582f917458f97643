// grpc.health.v1: one readiness check for all services of this process, evaluated for each request.

import { setTimeout as delay } from 'node:timers/promises'
import { DomainError } from '../domain/failure.ts'
import { HealthCheckResponse_ServingStatus as ServingStatus, type HealthService } from './gen/grpc/health/v1/health.ts'
import { WATCH_MAX_MS } from './deadline.ts'
import type { Handlers } from './handle.ts'
import type { Method, RpcService } from './method.ts'

const WATCH_INTERVAL_MS = 1_000

/** @param services the services of the port, so that each can be checked by name */
export function createHealthHandlers(
  isServing: () => Promise<boolean>,
  services: Readonly<Record<string, RpcService>>,
): Handlers<typeof HealthService> {
  const names = new Set(Object.values(services).flatMap((service) => Object.values<Method>(service).map(serviceNameOf)))
  const statusNow = async () =>
    (await isServing().catch(() => false)) ? ServingStatus.SERVING : ServingStatus.NOT_SERVING
  const isKnown = (service: string): boolean => service === '' || names.has(service)

  return {
    check: async ({ service }) => {
      if (!isKnown(service)) throw new DomainError('NOT_FOUND', 'This service does not exist here.')
      return { status: await statusNow() }
    },

    list: async () => {
      const status = await statusNow()
      return { statuses: Object.fromEntries(['', ...names].map((name) => [name, { status }])) }
    },

    watch: async function* ({ service }, call) {
      let told: ServingStatus | undefined
      const ending = AbortSignal.any([call.signal, AbortSignal.timeout(WATCH_MAX_MS)])
      while (!ending.aborted) {
        const status = isKnown(service) ? await statusNow() : ServingStatus.SERVICE_UNKNOWN
        if (status !== told) yield { status }
        told = status
        await delay(WATCH_INTERVAL_MS, undefined, { signal: ending }).catch(() => undefined)
      }
    },
  }
}

const serviceNameOf = (method: Method): string => method.path.split('/')[1] ?? ''
