// CatalogService and CatalogAdminService: the products that the shop sells.

import { findProduct, listProducts, putProduct } from '../db/catalogue.ts'
import type { Database } from '../db/connection/pool.ts'
import { DomainError } from '../domain/failure.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import { attemptOf } from './command.ts'
import { PRODUCT_ID_PATTERN } from '../domain/stock.ts'
import { productMessage } from './convert.ts'
import type { CatalogServiceService } from './gen/holdfast/v1/catalog.ts'
import type { CatalogAdminServiceService } from './gen/holdfast/v1/catalog_admin.ts'
import type { Handlers } from './handle.ts'
import { cutPage, pageOf } from './page.ts'

export const createCatalogHandlers = ({
  database,
  cursors,
}: {
  database: Database
  cursors: CursorSeal
}): Handlers<typeof CatalogServiceService> => ({
  getProduct: async ({ productId }) => {
    const product = await findProduct(database, productId)
    if (product === undefined)
      throw new DomainError('NOT_FOUND', 'There is no such product.', { metadata: { product_id: productId } })
    return { product: productMessage(product) }
  },

  listProducts: async (request, call) => {
    const listing = { cursors, call, idPattern: PRODUCT_ID_PATTERN }
    const rows = await listProducts(database, pageOf(listing, request))
    const { page, nextCursor } = cutPage(listing, rows, { limit: request.limit, idOf: ({ productId }) => productId })
    return { products: page.map(productMessage), nextCursor }
  },
})

export const createCatalogAdminHandlers = (deps: {
  database: Database
  /** The shop's currency: every product is priced in it. */
  currency: string
}): Handlers<typeof CatalogAdminServiceService> => ({
  putProduct: async ({ idempotencyKey, productId, name, unitPrice, isActive, expectedVersion }, call) => {
    const { answer, isReplay } = await putProduct(
      deps.database,
      attemptOf(idempotencyKey, call, 'admin'),
      { productId, name, unitPriceMinor: unitPrice, currency: deps.currency, isActive, expectedVersion },
      call.deadline,
    )
    call.record.isReplay = isReplay
    return { product: productMessage(answer) }
  },
})
