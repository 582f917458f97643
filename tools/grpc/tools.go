//go:build tools

// Package tools names the commands that tools/setup.mjs builds from this module,
// so that go.mod and go.sum pin everything they need.
package tools

import (
	_ "github.com/bojand/ghz/cmd/ghz"
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "github.com/summerwind/h2spec/cmd/h2spec"
)
