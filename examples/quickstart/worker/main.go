// The worker: start one on each machine that shall do work.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/distpool/distpool/examples/quickstart/jobs"
	"github.com/distpool/distpool/worker"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := worker.Run(ctx, worker.Config{}, jobs.CountWords); err != nil {
		log.Fatal(err)
	}
}
