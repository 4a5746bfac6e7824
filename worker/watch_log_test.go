package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// lines collects a JSON log.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) all(t *testing.T) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// logged runs a map of a good and a failing call, and returns what pool and
// worker log from the level on.
func logged(t *testing.T, level slog.Level) (fromPool, fromWorker []map[string]any) {
	t.Helper()
	url := redistest.Start(t).URL()
	odd := tasks.Define("odd", func(ctx context.Context, n int) (int, error) {
		tasks.Logger(ctx).Warn("from the task", "n", n)
		if n%2 == 0 {
			return 0, errors.New("even")
		}
		return n, nil
	})
	newLog := func() (*lines, *slog.Logger) {
		l := &lines{}
		return l, slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level}))
	}
	pl, plog := newLog()
	wl, wlog := newLog()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx, worker.Config{Redis: url, Logger: wlog}, odd) }()
	pool, err := producer.Open(t.Context(), producer.Config{Redis: url, Logger: plog})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := producer.Map(t.Context(), pool, odd, []int{1, 2}, producer.ChunkSize(2)); err == nil {
		t.Error("no call failed")
	}
	pool.Close()
	if err := pool.Join(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return pl.all(t), wl.all(t)
}

func TestLogIsQuietUnlessItIsAskedForMore(t *testing.T) {
	fromPool, fromWorker := logged(t, slog.LevelInfo)
	if len(fromPool) != 0 && fromPool[0]["msg"] != "no live worker serves the queue" {
		for _, l := range fromPool {
			if l["level"] != "WARN" {
				t.Errorf("the pool logs %v", l)
			}
		}
	}
	for _, l := range fromWorker {
		msg, _ := l["msg"].(string)
		if msg != "from the task" && (l["level"] != "INFO" || !strings.HasPrefix(msg, "the worker ")) {
			t.Errorf("the worker logs %v", l)
		}
	}
}

func TestLogLinesSayWhichJobChunkAndCall(t *testing.T) {
	fromPool, fromWorker := logged(t, slog.LevelDebug)
	var job any
	for _, l := range fromPool {
		if l["msg"] == "submitted" {
			job = l["job"]
		}
	}
	want := func(msg string, n int, attrs ...string) {
		t.Helper()
		for _, l := range append(fromPool, fromWorker...) {
			if l["msg"] != msg {
				continue
			}
			n--
			for _, a := range attrs {
				if _, ok := l[a]; !ok || l["job"] != job {
					t.Errorf("a line lacks %q, or is not of job %v: %v", a, job, l)
				}
			}
		}
		if n != 0 {
			t.Errorf("%q is logged %d times too seldom", msg, n)
		}
	}
	want("submitted", 1, "job", "task", "queue", "calls", "chunks")
	want("a delivery", 1, "worker", "job", "chunk", "task", "queue", "delivery", "verdict")
	want("from the task", 2, "worker", "job", "chunk", "call", "task", "attempt", "n")
	want("a call ended", 2, "worker", "job", "chunk", "call", "task", "attempt", "result", "took")
	want("a chunk ended", 1, "worker", "job", "chunk", "task", "fate", "failed")
	want("a job is over", 1, "job", "task", "outcome", "failed")
}

// names are the attributes that log lines may have. docs/observability.md
// explains each.
var names = []string{
	"worker", "job", "chunk", "call", "task", "queue", "attempt", "delivery", "deliveries", "error",
	"answer", "calls", "chunks", "dead", "failed", "fate", "grace", "nested", "outcome", "panic", "queues", "reason",
	"lane", "owner", "died", "request", "result", "slots", "stack", "tasks", "took", "verb", "verdict", "wait", "workers",
}

func TestLogAttributesHaveTheSameNamesEverywhere(t *testing.T) {
	doc, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/observability.md does not explain the attribute %s", name)
		}
	}
	seen := 0
	for _, dir := range []string{".", "../internal/deliver", "../internal/execute", "../internal/supervise", "../internal/queue", "../internal/fleet", "../internal/nested", "../producer", "../internal/await", "../tasks"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				for _, name := range attributes(n) {
					seen++
					if !slices.Contains(names, name) {
						t.Errorf("%s: a log line has the attribute %q, which is none of those that docs/observability.md has", fset.Position(n.Pos()), name)
					}
				}
				return true
			})
		}
	}
	if seen < 50 {
		t.Errorf("only %d attributes were found; does this test still see the log calls?", seen)
	}
}

// attributes are the names that a call of a logger's method gives.
func attributes(n ast.Node) (found []string) {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	method, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	logger := ""
	switch x := method.X.(type) {
	case *ast.Ident:
		logger = x.Name
	case *ast.SelectorExpr:
		logger = x.Sel.Name
	}
	if logger != "log" && logger != "Log" && logger != "Logger" {
		return nil
	}
	first := 1 // behind the message
	switch method.Sel.Name {
	case "With":
		first = 0
	case "DebugContext":
		first = 2
	case "Debug", "Info", "Warn", "Error":
	default:
		return nil
	}
	for i := first; i < len(c.Args); i += 2 {
		if lit, ok := c.Args[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			name, _ := strconv.Unquote(lit.Value)
			found = append(found, name)
		}
	}
	return found
}
