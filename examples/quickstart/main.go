// Command quickstart runs the worker and the producer of this folder, each as a
// process of its own. Run it with
//
//	go run ./examples/quickstart
//
// It needs no Redis: when REDIS_URL is not set, one is embedded. To run the
// parts by hand, with a Redis on this machine, in two terminals:
//
//	go run ./examples/quickstart/worker
//	go run ./examples/quickstart/producer
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/alicebob/miniredis/v2"
)

const folder = "github.com/distpool/distpool/examples/quickstart/"

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	bin, err := os.MkdirTemp("", "quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	if err := command("go", "build", "-o", bin+"/", folder+"worker", folder+"producer").Run(); err != nil {
		return fmt.Errorf("building the worker and the producer: %w", err)
	}

	if os.Getenv("REDIS_URL") == "" {
		server, err := miniredis.Run()
		if err != nil {
			return fmt.Errorf("starting the embedded Redis: %w", err)
		}
		defer server.Close()
		if err := os.Setenv("REDIS_URL", "redis://"+server.Addr()); err != nil {
			return err
		}
	}

	// The producer need not wait for the worker: its calls wait in Redis.
	w := command(filepath.Join(bin, "worker"))
	if err := w.Start(); err != nil {
		return fmt.Errorf("starting the worker: %w", err)
	}
	if err := command(filepath.Join(bin, "producer")).Run(); err != nil {
		return fmt.Errorf("running the producer: %w", stop(w, err))
	}
	return stop(w, nil)
}

// stop lets the worker drain. It returns err, or else how the worker ended.
func stop(w *exec.Cmd, err error) error {
	if serr := w.Process.Signal(syscall.SIGTERM); serr != nil && err == nil {
		err = fmt.Errorf("stopping the worker: %w", serr)
	}
	if werr := w.Wait(); werr != nil && err == nil {
		err = fmt.Errorf("the worker failed: %w", werr)
	}
	return err
}

func command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c
}
