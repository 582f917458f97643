// Which build of the workflow code runs the orders. By itself a deployment only moves forward: only an operator's
// command brings back a build that was replaced, however often its workers restart (docs/decisions/0017).

import { status } from '@grpc/grpc-js'
import type { Client } from '@temporalio/client'
import { tsToMs } from '@temporalio/common/lib/time.js'
import type { temporal } from '@temporalio/proto'
import { temporalCodeOf, isTemporalUnavailable } from './temporal_failure.ts'
import { retry } from '../repeat.ts'

export const DEPLOYMENT = 'holdfast'

type Info = temporal.api.deployment.v1.IWorkerDeploymentInfo
type Version = temporal.api.deployment.v1.WorkerDeploymentInfo.IWorkerDeploymentVersionSummary

/** A new build takes over, the current one continues; one that was replaced or comes too late stands by. */
export type BuildStanding = 'new' | 'current' | 'superseded'

/**
 * A build is new when no build is current, or when it never was current and was first seen after the current one. All
 * of this is Temporal's record, so the order in which workers start does not matter.
 * @returns undefined while the server does not know the build
 */
export function standingOf(info: Info | null | undefined, buildId: string): BuildStanding | undefined {
  const find = (id: string): Version | undefined =>
    info?.versionSummaries?.find(({ deploymentVersion }) => deploymentVersion?.buildId === id)
  const own = find(buildId)
  if (own === undefined) return undefined
  const currentId = info?.routingConfig?.currentDeploymentVersion?.buildId
  if (!currentId) return 'new'
  if (currentId === buildId) return 'current'
  return wasCurrent(own) || createdAtMs(own) < createdAtMs(find(currentId)) ? 'superseded' : 'new'
}

const timeOf = (timestamp: Version['createTime']): number => (timestamp ? tsToMs(timestamp) : 0)
const wasCurrent = (version: Version): boolean => timeOf(version.lastCurrentTime) > 0
export const createdAtMs = (version: Version | undefined): number => timeOf(version?.createTime)

export type PromoteOptions = {
  client: Client
  buildId: string
  signal: AbortSignal
  onRetry: (error: unknown) => void
}

/**
 * Makes this build current where it is new, once the server has seen its workers poll. Before that it gets no work.
 * @throws the first error that is not transient; the signal's reason, when stopped
 */
export const promote = ({ client, buildId, ...options }: PromoteOptions): Promise<BuildStanding> =>
  retry(() => attempt(client, buildId), { ...options, isTransient })

async function attempt(client: Client, buildId: string): Promise<BuildStanding> {
  const deployment = { namespace: client.options.namespace, deploymentName: DEPLOYMENT }
  const { workerDeploymentInfo, conflictToken } = await client.workflowService.describeWorkerDeployment(deployment)
  const standing = standingOf(workerDeploymentInfo, buildId)
  if (standing === undefined) throw new UnknownBuildError(`Temporal has not seen a worker of ${buildId} poll`)
  // Optimistic concurrency: refused, and retried, when another worker or an operator has changed the deployment since.
  const change = { ...deployment, buildId, conflictToken, identity: 'holdfast-worker' }
  if (standing === 'new') await client.workflowService.setWorkerDeploymentCurrentVersion(change)
  return standing
}

class UnknownBuildError extends Error {}

/** Not seen polling yet, or changed since it was read. */
const TOO_EARLY: ReadonlySet<number | undefined> = new Set([status.NOT_FOUND, status.FAILED_PRECONDITION])

const isTransient = (error: unknown): boolean =>
  error instanceof UnknownBuildError || TOO_EARLY.has(temporalCodeOf(error)) || isTemporalUnavailable(error)
