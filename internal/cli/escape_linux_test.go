package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/recent"
)

// hostile are texts that do something to a terminal: set its title, color or clear
// it, also by one character, turn text around, overwrite a line.
const hostile = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202egnp.exe\u2066\rover\x08\x7f"

// steering are what of it must not arrive.
var steering = []string{"\x1b]", "\x1b[2J", "\x07", "\u009b", "\u202e", "\u2066", "\rover", "\x08", "\x7f"}

// onTerminal runs the program on a terminal, which is where its messages go, too.
func (s site) onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	master, slave := terminal(t)
	cmd := exec.CommandContext(clitest.Bounded(t), filepath.Join(s.dir, "distpool"), args...)
	cmd.Env = append(cmd.Environ(), "REDIS_URL="+s.url, "DISTPOOL_KEYRING=")
	cmd.Stdout, cmd.Stderr = slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	text, _ := io.ReadAll(master) // ends with an error once the program has
	_ = cmd.Wait()
	return string(text)
}

// keyOf is the hash of a job.
func keyOf(id string) string {
	a := names.SplitAddress(id)
	return job.Key(a.Queue, a.Name)
}

// What tasks, workers and other writers to Redis put into a text reaches a terminal
// as text, whichever command shows it.
func TestTextsOfOthersCannotSteerTheTerminal(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	rdb := client(t, s.url)
	message, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	id := s.submitted(t, "map", "fail", string(message), string(message))
	if got := s.run(t, "", "get", id); got.Code != console.ExitCallFailed {
		t.Fatalf("%+v", got)
	}
	canceled := s.submitted(t, "apply", "square", "1", "--queue", "lonely")
	s.run(t, "", "cancel", canceled)
	waiting := s.submitted(t, "apply", "square", "1", "--queue", "lonely")
	// What a program that may write to Redis does.
	for key, fields := range map[string][]any{
		keyOf(canceled): {"reason", hostile, "about", "1 " + hostile},
		keyOf(waiting):  {"about", "1 square" + hostile},
	} {
		if err := rdb.HSet(t.Context(), key, fields...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	evil := hostile + "/evil"
	fields := rdb.HGetAll(t.Context(), keyOf(waiting)).Val()
	if err := rdb.HSet(t.Context(), keyOf(evil), fields).Err(); err != nil {
		t.Fatal(err)
	}
	var batch recent.Batch
	batch.Add(recent.Listed{ID: evil, Task: "square", Queue: hostile, Single: true})
	if err := recent.List(t.Context(), rdb, 0, &batch); err != nil {
		t.Fatal(err)
	}
	if got := s.run(t, "", "jobs"); !strings.Contains(got.Out, "/evil") {
		t.Errorf("the job of a hostile queue is not listed: %+v", got)
	}
	if err := rdb.SAdd(t.Context(), "asynq:queues", hostile).Err(); err != nil {
		t.Fatal(err)
	}
	if err := rdb.RPush(t.Context(), "asynq:{"+hostile+"}:pending", "x").Err(); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = io.WriteString(w, hostile)
	}))
	defer web.Close()
	for _, args := range [][]string{
		{"apply", "fail", string(message)},
		{"apply", "panic", string(message)},
		{"map", "fail", string(message), string(message)},
		{"map", "panic", string(message), "--json"},
		{"get", id},
		{"get", id, "--json"},
		{"retry-failed", id},
		{"job", id},
		{"job", id, "--json"},
		{"job", canceled},
		{"job", canceled, "--watch"},
		{"job", waiting, "--watch", "--timeout", "1s"},
		{"get", canceled},
		{"get", waiting, "--timeout", "1s"},
		{"retry-failed", canceled},
		{"jobs"},
		{"jobs", "--json"},
		{"queues"},
		{"queues", "--json"},
		{"workers"},
		{"doctor"},
		{"doctor", "--json"},
		{"cancel", hostile},
		{"cancel", waiting},
		{"apply", hostile, "1"},
		{"apply", "square", hostile},
		{"apply", "square", "1", "--queue", hostile},
		{"apply", "square", "1", "--keyring", hostile},
		{"jobs", "--redis", "redis://" + hostile},
		{"job", hostile},
		{"probe", web.URL},
		{"probe", web.URL + "/bad"},
		{"__complete", "get", ""},
		{"__complete", "queues", "pause", ""},
		{"no" + hostile},
		{"jobs", "--no" + hostile},
		{"jobs", "--limit", hostile},
	} {
		text := s.onTerminal(t, args...)
		messages := s.run(t, "", args...).Err // which may be a file that is looked at later
		if text == "" {
			t.Errorf("%.60q prints nothing", args)
		}
		for _, bad := range steering {
			if strings.Contains(text, bad) {
				t.Errorf("%.60q: %q in\n%q", args, bad, text)
			}
			if strings.Contains(messages, bad) {
				t.Errorf("%.60q, not on a terminal: %q in\n%q", args, bad, messages)
			}
		}
	}
}

func TestJSONOfHostileTextsIsExact(t *testing.T) {
	s := newSite(t)
	s.worker(t)
	message, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	id := s.submitted(t, "apply", "fail", string(message))
	for _, text := range []string{s.run(t, "", "get", id, "--json").Out, s.onTerminal(t, "get", id, "--json")} {
		line, _, _ := strings.Cut(text[strings.Index(text, "{"):], "\n")
		var got map[string]json.RawMessage
		var failed struct{ Message string }
		err := json.Unmarshal([]byte(line), &got)
		if err = errors.Join(err, json.Unmarshal(got["error"], &failed)); err != nil || failed.Message != hostile {
			t.Errorf("%q is %q, %v", line, failed.Message, err)
		}
	}
}
