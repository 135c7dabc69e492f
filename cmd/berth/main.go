package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	_ "berth/ui/noquery" // before bubbletea, so that no verb waits for a terminal's answer
)

func main() { os.Exit(run()) }

// run is main with an exit code, for tests that run the program inside the test binary.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return newApp().run(ctx, os.Args[1:])
}
