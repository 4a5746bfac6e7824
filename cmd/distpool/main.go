// Command distpool runs tasks from the command line, and shows what distpool
// does: distpool demo.
package main

import (
	"os"

	"github.com/redis/go-redis/v9/logging"

	"github.com/distpool/distpool/internal/cli"
)

func main() {
	logging.Disable() // go-redis's; what matters comes back as errors
	os.Exit(cli.Main())
}
