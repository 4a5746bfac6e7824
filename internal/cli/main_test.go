package cli_test

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/distpool/distpool/internal/cli"
)

// beProgram makes this test binary the distpool program, so that tests run it,
// and it its workers, as real processes.
const beProgram = "DISTPOOL_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	logging.Disable()
	if os.Getenv(beProgram) != "" {
		os.Exit(cli.Main())
	}
	m.Run()
	if dir := programsDir.Load(); dir != nil {
		_ = os.RemoveAll(*dir)
	}
}
