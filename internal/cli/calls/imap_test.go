package calls_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
)

// serving is serve once the worker is in the registry.
func serving(t *testing.T) (addr string) {
	addr = clitest.Serve(t)
	clitest.Eventually(t, "the worker is listed", func() bool { return clitest.Run(t, addr, "", "workers", "--json").Out != "" })
	return addr
}

func TestImapKeepsTheOrderOfItsInput(t *testing.T) {
	addr := serving(t)
	var in, want strings.Builder
	for i := range 1000 {
		in.WriteString(strconv.Itoa(i) + "\n\n")
		want.WriteString(strconv.Itoa(i*i) + "\n")
	}
	if got := clitest.Run(t, addr, in.String(), "imap", "square"); got != clitest.OK(want.String()) {
		t.Errorf("exit code %d, errors %q, %d bytes of output, want %d", got.Code, got.Err, len(got.Out), want.Len())
	}
	file := filepath.Join(t.TempDir(), "args.jsonl")
	if err := os.WriteFile(file, []byte("5\n6"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := clitest.Run(t, addr, "", "imap", "square", "--input", file, "--window", "1"); got != clitest.OK("25\n36\n") {
		t.Errorf("file: %+v", got)
	}
	if got := clitest.Run(t, addr, "", "imap", "square"); got != clitest.OK("") {
		t.Errorf("nothing: %+v", got)
	}
}

func TestImapPrintsValuesWhileTheInputGoesOn(t *testing.T) {
	addr := serving(t)
	in, lines := io.Pipe()
	var out, errs clitest.Buffer
	ended := make(chan int, 1)
	ctx := clitest.Bounded(t)
	go func() {
		ended <- cli.Run(ctx, []string{"--redis", addr, "imap", "square"}, console.Streams{In: in, Out: &out, Err: &errs})
	}()
	want := ""
	for i := 2; i < 5; i++ { // each line is written once the value of the one before was seen
		if _, err := io.WriteString(lines, strconv.Itoa(i)+"\n"); err != nil {
			t.Fatal(err)
		}
		want += strconv.Itoa(i*i) + "\n"
		clitest.Eventually(t, "the value is printed", func() bool { return out.String() == want })
	}
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != console.ExitOK || errs.String() != "" {
		t.Errorf("exit code %d, errors %q", code, errs.String())
	}
}

func TestImapPrintsFailedCallsInTheirPlace(t *testing.T) {
	got := clitest.Run(t, serving(t), "2\n\"x\"\n3\n", "imap", "square")
	lines := strings.Split(got.Out, "\n")
	if got.Code != console.ExitCallFailed || len(lines) != 4 || lines[0] != "4" || !strings.HasPrefix(lines[1], `{"error":{"task":"square"`) || lines[2] != "9" {
		t.Errorf("got %+v", got)
	}
}

func TestImapPrintsWhatCameBeforeABadLine(t *testing.T) {
	got := clitest.Run(t, serving(t), "2\n\n{oops\n3\n", "imap", "square")
	if got.Code != console.ExitUsage || got.Out != "4\n" || !strings.Contains(got.Err, "standard input: line 3: {oops") {
		t.Errorf("got %+v", got)
	}
}

func TestImapWithoutAWorkerSaysSoAndLeavesNothing(t *testing.T) {
	mr := miniredis.RunT(t)
	got := clitest.Run(t, mr.Addr(), "2\n", "imap", "square", "--timeout", "2s")
	if got.Code != console.ExitNoResult || !strings.Contains(got.Err, `no worker serves queue "distpool"`) || !strings.Contains(got.Err, "--timeout is over") {
		t.Errorf("timeout: %+v", got)
	}
	ctx, interrupt := context.WithCancel(clitest.Bounded(t))
	in, lines := io.Pipe() // never ends
	defer lines.Close()
	var errs clitest.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(ctx, []string{"--redis", mr.Addr(), "imap", "square"}, console.Streams{In: in, Out: io.Discard, Err: &errs})
	}()
	clitest.Eventually(t, "it runs", func() bool { return errs.String() != "" })
	interrupt()
	if code := <-ended; code != console.ExitNoResult || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("interrupt: exit code %d, %q", code, errs.String())
	}
}

func TestWrongUseOfImapIsExitCode2(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for args, want := range map[string]string{
		"imap": "arg", "imap sp@ce": `"sp@ce"`, "imap square --window -1": "--window is -1",
		"imap square --chunk-size -1": "--chunk-size is -1", "imap square --input no/such": "no such file",
	} {
		if got := clitest.Run(t, addr, "", strings.Fields(args)...); got.Code != console.ExitUsage || !strings.Contains(got.Err, want) {
			t.Errorf("%s: got %+v, want exit code 2 and %q", args, got, want)
		}
	}
}
