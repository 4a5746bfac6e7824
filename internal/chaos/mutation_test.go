package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/internal/redistest"
)

// edit is a change of a source file: old, which must be in it exactly once, becomes
// new.
type edit struct{ file, old, new string }

// mutants are distpools with a bug that chaos must find, each with a run that is
// aimed at it. With the real distpool the same runs find nothing.
var mutants = []struct {
	name  string
	edits []edit
	run   []string
	finds history.Rule
}{
	{
		// Workers that were frozen in a call record it when it has long been run by
		// others, and somebody has got the value.
		name: "first write wins is off",
		edits: []edit{{
			"internal/job/lua/finish.lua",
			"  elseif j[3] == 'done' then\n", // as jobs of one call are, which the load consists of
			"  elseif j[3] == 'done' then\n    redis.call('HSET', key, 'out:' .. chunk, ARGV[i + 6])\n",
		}},
		// The seed freezes three different workers.
		run:   []string{"-seed", "5", "-faults", "freeze-worker", "-load", "slow", "-workers", "5", "-gap", "2s", "-duration", "8s"},
		finds: history.RuleAgree,
	},
	{
		// A worker dies, and then those who wait for its calls.
		name: "the supervisor is off",
		edits: []edit{{
			"internal/supervise/supervisor.go",
			"func (s *Supervisor) Run(ctx context.Context) {\n",
			"func (s *Supervisor) Run(ctx context.Context) {\n\t<-ctx.Done()\n\treturn\n",
		}},
		run: []string{
			"-seed", "5", "-faults", "kill-worker,kill-producer", "-ordered", "-load", "slow",
			"-producers", "1", "-gap", "1s", "-duration", "8s", "-drain", "30s",
		},
		finds: history.RuleEnds,
	},
	{
		// Deliveries of chunks that are recorded come again while their job goes on.
		name: "the check of take is off",
		edits: []edit{{
			"internal/job/lua/finish.lua",
			"  if redis.call('HDEL', key, args_of, own_of, lost_of, part_of, counted_of) == 0 then\n",
			"  redis.call('HSETNX', key, 'mutant:' .. chunk, redis.call('HGET', key, args_of) or '')\n" +
				"  local was = redis.call('HDEL', key, args_of)\n" +
				"  redis.call('HDEL', key, own_of, lost_of, part_of, counted_of)\n" +
				"  if was == 0 then\n",
		}, {
			"internal/job/lua/take.lua",
			"    local args, ended = j and j[7], nil\n",
			"    local args, ended = j and (j[7] or redis.call('HGET', key, 'mutant:' .. chunk)), nil\n",
		}},
		run:   []string{"-seed", "5", "-faults", "duplicate", "-load", "watched", "-workers", "2", "-gap", "1s", "-duration", "12s"},
		finds: history.RuleAgain,
	},
}

const envMutations = "DISTPOOL_MUTATIONS"

func TestChaosFindsPlantedBugsAndNothingElse(t *testing.T) {
	if os.Getenv(envMutations) != "1" {
		t.Skipf("it takes minutes on a busy machine; set %s=1 to run it", envMutations)
	}
	if _, err := redistest.Find(); err != nil {
		t.Fatal(err)
	}
	unchanged := build(t, "unchanged", nil)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			mutant := build(t, "mutant", m.edits)
			code, out := chaos(t, mutant, m.run)
			if found := violated(out); code != 1 || found[m.finds] == 0 {
				t.Errorf("status %d, violations %v; want 1 and violations of the rule %q. It printed:\n%s", code, found, m.finds, out)
			}
		})
		t.Run(m.name+", not", func(t *testing.T) {
			t.Parallel()
			if code, out := chaos(t, unchanged, m.run); code != 0 {
				t.Errorf("status %d with the real distpool, which printed:\n%s", code, out)
			}
		})
	}
}

// root is the module's folder.
const root = "../.."

// build builds the program of chaos, and so its workers and producers, with the
// edits in place.
func build(t *testing.T, name string, edits []edit) string {
	t.Helper()
	dir := t.TempDir()
	base, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for i, e := range edits {
		file := filepath.Join(base, e.file)
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(source, []byte(e.old)); n != 1 {
			t.Fatalf("%s has %d places that read %q, want one: the mutation must follow the source", e.file, n, e.old)
		}
		mutated := filepath.Join(dir, "edit"+string(rune('0'+i))+filepath.Ext(e.file))
		if err := os.WriteFile(mutated, bytes.Replace(source, []byte(e.old), []byte(e.new), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[file] = mutated
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./internal/chaos/run")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return program
}

// chaos runs the program, and returns its exit status and what it printed.
func chaos(t *testing.T, program string, args []string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(args[:len(args):len(args)], "-dir", t.TempDir())...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if !lastLine.Match(out) && cmd.ProcessState.ExitCode() < 2 {
		t.Errorf("the last line is not the summary:\n%s", out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// lastLine is the form that others read.
var lastLine = regexp.MustCompile(`\nchaos: seed=\d+ faults=\d+ calls=\d+ recovery_max=\d+\.\ds violations=\d+\n$`)

// violated counts the violations by rule.
func violated(out string) map[history.Rule]int {
	found := map[history.Rule]int{}
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "VIOLATION "); ok {
			_, rest, _ = strings.Cut(rest, " ")
			rule, _, _ := strings.Cut(rest, ":")
			found[history.Rule(rule)]++
		}
	}
	return found
}
