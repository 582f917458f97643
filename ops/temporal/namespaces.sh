#!/bin/sh
# Creates two namespaces, and the search attributes by which operators find orders. For a development server,
# src/servers/namespace.ts does the same. Safe to repeat.
set -eu

ensure_namespace() {
  temporal operator namespace describe --namespace "$1" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$1" --retention "$2"
  # All parts of the server know a new namespace after about ten seconds.
  tries=60
  until known=$(temporal operator search-attribute list --namespace "$1" 2>/dev/null); do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "namespace $1 is still not known" >&2; exit 1; }
    sleep 1
  done
  for attribute in Asset:Keyword PaymentDeadline:Datetime OrderStatus:Keyword NeedsOperator:Bool; do
    name=${attribute%:*}
    echo "$known" | grep -qw "$name" ||
      temporal operator search-attribute create --namespace "$1" --name "$name" --type "${attribute#*:}"
  done
}

ensure_namespace holdfast 720h
ensure_namespace holdfast-background 24h
