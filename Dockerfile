# One image for all processes; docker-compose.yml says which one a container runs. Debian, because the Temporal SDK's
# native part is built for glibc.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY tools/bundle.mjs tools/
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY migrations migrations
COPY proto/holdfast.binpb proto/
# A new volume takes its folder's owner.
RUN mkdir --mode=0700 audit payout && chown node:node audit payout
USER node
# Without an inspector that a signal opens, and without the accessor that prototype pollution needs.
ENTRYPOINT ["node", "--enable-source-maps", "--disable-sigusr1", "--disable-proto=throw"]
