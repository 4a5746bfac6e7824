package cli_test

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
)

// serving is serve once the worker is in the registry.
func serving(t *testing.T) (addr string) {
	addr = serve(t)
	eventually(t, "the worker is listed", func() bool { return program(bounded(t), addr, "", "workers", "--json").out != "" })
	return addr
}

func TestImapKeepsTheOrderOfItsInput(t *testing.T) {
	addr := serving(t)
	var in, want strings.Builder
	for i := range 1000 {
		in.WriteString(strconv.Itoa(i) + "\n\n")
		want.WriteString(strconv.Itoa(i*i) + "\n")
	}
	if got := program(bounded(t), addr, in.String(), "imap", "square"); got != (outcome{cli.ExitOK, want.String(), ""}) {
		t.Errorf("exit code %d, errors %q, %d bytes of output, want %d", got.code, got.err, len(got.out), want.Len())
	}
	file := filepath.Join(t.TempDir(), "args.jsonl")
	if err := os.WriteFile(file, []byte("5\n6"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := program(bounded(t), addr, "", "imap", "square", "--input", file, "--window", "1"); got != (outcome{cli.ExitOK, "25\n36\n", ""}) {
		t.Errorf("file: %+v", got)
	}
	if got := program(bounded(t), addr, "", "imap", "square"); got != (outcome{cli.ExitOK, "", ""}) {
		t.Errorf("nothing: %+v", got)
	}
}

func TestImapPrintsValuesWhileTheInputGoesOn(t *testing.T) {
	addr := serving(t)
	in, lines := io.Pipe()
	var out, errs buffer
	ended := make(chan int, 1)
	ctx := bounded(t)
	go func() {
		ended <- cli.Run(ctx, []string{"--redis", addr, "imap", "square"}, cli.Streams{In: in, Out: &out, Err: &errs})
	}()
	want := ""
	for i := 2; i < 5; i++ { // each line is written once the value of the one before was seen
		if _, err := io.WriteString(lines, strconv.Itoa(i)+"\n"); err != nil {
			t.Fatal(err)
		}
		want += strconv.Itoa(i*i) + "\n"
		eventually(t, "the value is printed", func() bool { return out.String() == want })
	}
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != cli.ExitOK || errs.String() != "" {
		t.Errorf("exit code %d, errors %q", code, errs.String())
	}
}

func TestImapPrintsFailedCallsInTheirPlace(t *testing.T) {
	got := program(bounded(t), serving(t), "2\n\"x\"\n3\n", "imap", "square")
	lines := strings.Split(got.out, "\n")
	if got.code != cli.ExitCallFailed || len(lines) != 4 || lines[0] != "4" || !strings.HasPrefix(lines[1], `{"error":{"task":"square"`) || lines[2] != "9" {
		t.Errorf("got %+v", got)
	}
}

func TestImapPrintsWhatCameBeforeABadLine(t *testing.T) {
	got := program(bounded(t), serving(t), "2\n\n{oops\n3\n", "imap", "square")
	if got.code != cli.ExitUsage || got.out != "4\n" || !strings.Contains(got.err, "standard input: line 3: {oops") {
		t.Errorf("got %+v", got)
	}
}

func TestImapWithoutAWorkerSaysSoAndLeavesNothing(t *testing.T) {
	mr := miniredis.RunT(t)
	got := program(bounded(t), mr.Addr(), "2\n", "imap", "square", "--timeout", "2s")
	if got.code != cli.ExitNoResult || !strings.Contains(got.err, `no worker serves queue "distpool"`) || !strings.Contains(got.err, "--timeout is over") {
		t.Errorf("timeout: %+v", got)
	}
	ctx, interrupt := context.WithCancel(bounded(t))
	in, lines := io.Pipe() // never ends
	defer lines.Close()
	var errs buffer
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Run(ctx, []string{"--redis", mr.Addr(), "imap", "square"}, cli.Streams{In: in, Out: io.Discard, Err: &errs})
	}()
	eventually(t, "it runs", func() bool { return errs.String() != "" })
	interrupt()
	if code := <-ended; code != cli.ExitNoResult || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("interrupt: exit code %d, %q", code, errs.String())
	}
}

func TestWrongUseOfImapIsExitCode2(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	for args, want := range map[string]string{
		"imap": "arg", "imap sp@ce": `"sp@ce"`, "imap square --window -1": "--window is -1",
		"imap square --chunk-size -1": "--chunk-size is -1", "imap square --input no/such": "no such file",
	} {
		if got := program(bounded(t), addr, "", strings.Fields(args)...); got.code != cli.ExitUsage || !strings.Contains(got.err, want) {
			t.Errorf("%s: got %+v, want exit code 2 and %q", args, got, want)
		}
	}
}
