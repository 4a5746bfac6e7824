package cli_test

import (
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
)

func TestHelpDocumentsTheExitCodes(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	got := clitest.Run(t, addr, "", "--help")
	for _, want := range []string{"  1  some call failed", "starmap", "get", "demo", "version"} {
		if got.Code != console.ExitOK || !strings.Contains(got.Out, want) {
			t.Errorf("no %q in %+v", want, got)
		}
	}
	if strings.Contains(got.Out, "demo-worker") {
		t.Error("the hidden command shows")
	}
	if got := clitest.Run(t, addr, "", "version"); got.Code != console.ExitOK || !strings.HasPrefix(got.Out, "distpool ") {
		t.Errorf("version: %+v", got)
	}
}

func TestVersionIsJSONToo(t *testing.T) {
	got := clitest.Run(t, miniredis.RunT(t).Addr(), "", "version", "--json")
	lines := clitest.Decode[struct{ Version, Go string }](t, got.Out)
	if got.Code != console.ExitOK || len(lines) != 1 || !strings.HasPrefix(lines[0].Go, "go") {
		t.Errorf("%+v", got)
	}
}
