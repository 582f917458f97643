// What the shop signs of a refund: the address that the customer confirmed, and each approval. The api's database
// credential is enough to write the rows of a refund; a signature can be made by an api process alone, after it has
// checked the caller's token. Its form is fixed: another one gets a new first line.

export type DestinationStatement = {
  refundId: string
  orderId: string
  network: string
  asset: string
  /** In canonical form. */
  destination: string
}

export type ApprovalStatement = DestinationStatement & {
  /** The version that the approver saw. */
  version: string
  /** Base units, in decimal digits. */
  units: string
  feeBearer: string
  /** As the audit names the approver. */
  approver: string
}

const destinationLines = ({ refundId, orderId, network, asset, destination }: DestinationStatement): string[] => [
  `refund ${refundId}`,
  `order ${orderId}`,
  `network ${network}`,
  `asset ${asset}`,
  `destination ${destination}`,
]

export const destinationTextOf = (statement: DestinationStatement, keyId: string): string =>
  ['holdfast refund destination 1', ...destinationLines(statement), `key ${keyId}`, ''].join('\n')

export const approvalTextOf = (statement: ApprovalStatement, keyId: string): string =>
  [
    'holdfast refund approval 1',
    ...destinationLines(statement),
    `version ${statement.version}`,
    `units ${statement.units}`,
    `fee-bearer ${statement.feeBearer}`,
    `approver ${statement.approver}`,
    `key ${keyId}`,
    '',
  ].join('\n')
