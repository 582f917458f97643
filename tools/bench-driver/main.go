// Command bench-driver is the load generator of a benchmark: a closed loop of orders, each created, paid, shipped and
// delivered through Holdfast's public gRPC port. It is written in Go, so that it costs little and its garbage
// collection is not measured as the server's.
//
// It reads its configuration as JSON from the first line of stdin and ends when stdin does. It writes JSON lines:
// {"event":"begin"} after the warm-up, {"event":"end"} after the window, and {"event":"done",...} with the results once
// the orders under way are delivered.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

type config struct {
	// Address is host:port of the public port; Protoset is the path of Holdfast's descriptor set.
	Address  string `json:"address"`
	Protoset string `json:"protoset"`
	// InFlight is how many orders are under way at any time.
	InFlight  int `json:"inFlight"`
	WarmUpMS  int `json:"warmUpMs"`
	MeasureMS int `json:"measureMs"`
	// ThinkMS passes before each step of an order but its first.
	ThinkMS int `json:"thinkMs"`

	Customers       []customer `json:"customers"`
	FulfilmentToken string     `json:"fulfilmentToken"`
	WatcherToken    string     `json:"watcherToken"`
	Source          string     `json:"source"`
	SourceSecret    []byte     `json:"sourceSecret"`
	Network         string     `json:"network"`
	Asset           string     `json:"asset"`
	Products        []product  `json:"products"`
	LinesPerOrder   int        `json:"linesPerOrder"`
}

type customer struct {
	UserID int64  `json:"userId"`
	Token  string `json:"token"`
}

type product struct {
	ID    string `json:"id"`
	Price string `json:"price"`
}

// Errors of one run are alike: these are enough.
const maxErrorsKept = 5

// Pause after an error: no hot loop of calls to a shop that is down.
const pauseAfterError = 100 * time.Millisecond

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench-driver: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the configuration is a line of JSON on stdin: %w", err)
	}
	var cfg config
	if err := json.Unmarshal(line, &cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel() // the parent process has ended
	}()
	shop, err := openShop(cfg)
	if err != nil {
		return err
	}
	defer shop.close()
	done := drive(ctx, cfg, shop)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return say(done)
}

// result holds the measurements of the window. An order and its latencies count if it is delivered within the window.
type result struct {
	Event     string               `json:"event"`
	OrderIDs  []string             `json:"orderIds"`
	LatencyMS map[string][]float64 `json:"latencyMs"`
	Errors    int                  `json:"errors"`
	Messages  []string             `json:"messages"`
}

func drive(ctx context.Context, cfg config, shop *shop) *result {
	var (
		mutex     sync.Mutex
		measuring bool
		stopping  bool
		done      = &result{Event: "done", OrderIDs: []string{}, LatencyMS: map[string][]float64{}, Messages: []string{}}
	)
	note := func(order *trace, err error) (goOn bool) {
		mutex.Lock()
		defer mutex.Unlock()
		if err != nil && ctx.Err() == nil {
			done.Errors++
			if len(done.Messages) < maxErrorsKept {
				done.Messages = append(done.Messages, err.Error())
			}
		}
		if err == nil && measuring {
			done.OrderIDs = append(done.OrderIDs, order.id)
			for phase, took := range order.took {
				done.LatencyMS[phase] = append(done.LatencyMS[phase], float64(took.Microseconds())/1000)
			}
		}
		return !stopping && ctx.Err() == nil
	}
	var buyers sync.WaitGroup
	for buyer := range cfg.InFlight {
		buyers.Go(func() {
			for goOn := true; goOn; {
				order, err := shop.order(ctx, buyer)
				if err != nil {
					time.Sleep(pauseAfterError)
				}
				goOn = note(order, err)
			}
		})
	}
	pass := func(ms int, change func(), event string) {
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-ctx.Done():
		}
		mutex.Lock()
		change()
		mutex.Unlock()
		_ = say(map[string]string{"event": event})
	}
	pass(cfg.WarmUpMS, func() { measuring = true }, "begin")
	pass(cfg.MeasureMS, func() { measuring, stopping = false, true }, "end")
	buyers.Wait()
	return done
}

func say(event any) error {
	return json.NewEncoder(os.Stdout).Encode(event)
}
