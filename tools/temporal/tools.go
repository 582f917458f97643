//go:build tools

// Package tools names the commands that tools/setup.mjs builds from this module,
// so that go.mod and go.sum pin everything they need.
package tools

import (
	_ "github.com/temporalio/cli/cmd/temporal"
	_ "github.com/temporalio/ui-server/v2/cmd/server"
	_ "go.temporal.io/server/cmd/server"
	_ "go.temporal.io/server/cmd/tools/sql"
)
