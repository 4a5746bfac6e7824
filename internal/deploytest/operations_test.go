package deploytest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/worker"
)

const operations = "docs/operations.md"

// named is what the page about running distpool may name, since it exists.
type named struct {
	metrics  map[string]map[string]bool // with their labels
	alerts   map[string]bool
	help     map[string]string // of each command: "worker", "distpool", "distpool jobs"
	tests    map[string]bool
	settings string // the text of everything that reads or sets variables
}

// ruleFile is what is read of a file of alert rules.
type (
	ruleFile struct {
		Groups []ruleGroup `yaml:"groups"`
	}
	ruleGroup struct {
		Rules []namedRule `yaml:"rules"`
	}
	namedRule struct {
		Alert string `yaml:"alert"`
	}
)

// ruleNames are the names of the alert rules.
func ruleNames(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file ruleFile
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			names[r.Alert] = true
		}
	}
	return names
}

var listed = regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)

// helpTexts are the helps of the worker, of distpool and of all its commands.
func helpTexts(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	var ask func(words []string)
	ask = func(words []string) {
		out, err := exec.Command(program(t, words[0]), append(slices.Clone(words[1:]), "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q --help: %v\n%s", words, err, out)
		}
		texts[strings.Join(words, " ")] = string(out)
		_, commands, ok := strings.Cut(string(out), "Available Commands:\n")
		if !ok || slices.Contains(words, "completion") {
			return
		}
		commands, _, _ = strings.Cut(commands, "\n\n")
		for _, m := range listed.FindAllStringSubmatch(commands, -1) {
			if m[1] != "help" {
				ask(append(slices.Clone(words), m[1]))
			}
		}
	}
	ask([]string{"worker"})
	ask([]string{"distpool"})
	return texts
}

// sources is the text of the files that set or read variables, and the names of all
// tests.
func sources(t *testing.T) (text string, tests map[string]bool) {
	t.Helper()
	var b strings.Builder
	tests = map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && len(name) > 2 && (name[0] == '.' || name == "bin" || name == "docs") {
			return filepath.SkipDir
		}
		isTest := strings.HasSuffix(path, "_test.go")
		if d.IsDir() || !isTest && !slices.Contains([]string{".go", ".yml", ".service", ".sh"}, filepath.Ext(path)) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !isTest {
			b.Write(data)
		}
		for _, m := range declared.FindAllSubmatch(data, -1) {
			tests[string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), tests
}

func everythingNamed(t *testing.T) named {
	t.Helper()
	n := named{metrics: reported(t), alerts: ruleNames(t), help: helpTexts(t)}
	n.settings, n.tests = sources(t)
	return n
}

var (
	metricWord  = regexp.MustCompile(`\b(distpool_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	labelWord   = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)"`)
	alertWord   = regexp.MustCompile(`\bDistpool[A-Z]\w+`)
	testWord    = regexp.MustCompile(`\bTest[A-Z]\w+`)
	envWord     = regexp.MustCompile(`\b(?:DISTPOOL|REDIS|WORKER|CREDENTIALS)_[A-Z_]+`)
	fieldWord   = regexp.MustCompile(`\b(producer|worker)\.Config\.(\w+)`)
	linkWord    = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	fileWord    = regexp.MustCompile(`^(?:[\w.@-]+/)*[\w.@-]+\.(?:yml|json|md|service|conf|sh)$`)
	codeWord    = regexp.MustCompile("`([^`\n]+)`")
	blockLine   = regexp.MustCompile(`(?m)^    (?:\$ )?((?:distpool|worker) [^#\n]*)`)
	commandWord = regexp.MustCompile(`^(?:distpool|worker)( |$)`)
	flagWord    = regexp.MustCompile(`^--?[a-z][a-z-]*$`)
)

// missing lists what the text names and there is not.
func (n named) missing(text string) (missing []string) {
	complain := func(format string, args ...any) { missing = append(missing, fmt.Sprintf(format, args...)) }
	for _, m := range metricWord.FindAllStringSubmatch(text, -1) {
		labels, ok := n.metrics[m[1]]
		if !ok {
			complain("metric %s", m[1])
		}
		for _, l := range labelWord.FindAllStringSubmatch(m[2], -1) {
			if !labels[l[1]] {
				complain("label %s of %s", l[1], m[1])
			}
		}
	}
	for _, name := range alertWord.FindAllString(text, -1) {
		if !n.alerts[name] {
			complain("alert %s", name)
		}
	}
	for _, name := range testWord.FindAllString(text, -1) {
		if !n.tests[name] {
			complain("test %s", name)
		}
	}
	for _, name := range envWord.FindAllString(text, -1) {
		if !strings.Contains(n.settings, name) {
			complain("variable %s", name)
		}
	}
	for _, m := range fieldWord.FindAllStringSubmatch(text, -1) {
		config := map[string]reflect.Type{"producer": reflect.TypeFor[producer.Config](), "worker": reflect.TypeFor[worker.Config]()}[m[1]]
		if _, ok := config.FieldByName(m[2]); !ok {
			complain("field %s", m[0])
		}
	}
	for _, m := range linkWord.FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(root, "docs", m[1])); err != nil {
			complain("file %s", m[1])
		}
	}
	for _, m := range codeWord.FindAllStringSubmatch(text, -1) {
		n.code(m[1], complain)
	}
	for _, m := range blockLine.FindAllStringSubmatch(text, -1) {
		n.code(m[1], complain)
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// code looks at what stands between back quotes, or on a line of a block.
func (n named) code(text string, complain func(string, ...any)) {
	words := strings.Fields(text)
	switch {
	case len(words) == 1 && fileWord.MatchString(text):
		if _, err := os.Stat(filepath.Join(root, text)); err != nil {
			complain("file %s", text)
		}
	case commandWord.MatchString(text):
		command, rest := words[:1], words[1:]
		for len(rest) > 0 && n.help[strings.Join(append(slices.Clone(command), rest[0]), " ")] != "" {
			command, rest = append(slices.Clone(command), rest[0]), rest[1:]
		}
		name := strings.Join(command, " ")
		if name == "distpool" && len(rest) > 0 && rest[0][0] != '-' || name == "distpool queues" && len(rest) > 0 {
			complain("command %s %s", name, rest[0])
			return
		}
		for _, w := range rest {
			if flagWord.MatchString(w) && !hasFlag(n.help[name], w) {
				complain("flag %s of %s", w, name)
			}
		}
	case len(words) > 0 && flagWord.MatchString(words[0]):
		if !slices.ContainsFunc(slices.Collect(maps.Values(n.help)), func(help string) bool { return hasFlag(help, words[0]) }) {
			complain("flag %s", words[0])
		}
	}
}

// hasFlag says whether a help describes the flag, written as it is there.
func hasFlag(help, flag string) bool {
	return regexp.MustCompile(`(?m)^\s+(?:-\w, )?` + regexp.QuoteMeta(flag) + `(?:\s|$)`).MatchString(help)
}

func page(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, operations))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOperationsNamesOnlyWhatExists(t *testing.T) {
	text, n := page(t), everythingNamed(t)
	for _, what := range n.missing(text) {
		t.Errorf("%s names what is not there: %s", operations, what)
	}
	for name := range n.alerts {
		if !strings.Contains(text, name) {
			t.Errorf("%s does not say what to do about %s", operations, name)
		}
	}
	wrong := map[string]string{
		"`distpool_queue_latency`":                  "metric distpool_queue_latency",
		"`distpool_calls_total{result=\"ok\"}`":     "label result of distpool_calls_total",
		"`DistpoolQueueWithoutWorkers`":             "alert DistpoolQueueWithoutWorkers",
		"`TestNothingAtAll`":                        "test TestNothingAtAll",
		"DISTPOOL_KEYRINGS":                         "variable DISTPOOL_KEYRINGS",
		"`worker.Config.Graces`":                    "field worker.Config.Graces",
		"[there](operation.md#keys)":                "file operation.md",
		"`deploy/systemd/distpool-worker.service`":  "file deploy/systemd/distpool-worker.service",
		"`distpool job`, `distpool physician`":      "command distpool physician",
		"`distpool queues halt NAME`":               "command distpool queues halt",
		"\n    $ distpool jobs --state failed\n":    "flag --state of distpool jobs",
		"\n    worker -http :9090 -slots 3  # so\n": "flag -slots of worker",
		"`-keyrings`":                               "flag -keyrings",
	}
	for text, want := range wrong {
		if got := n.missing(text); !slices.Equal(got, []string{want}) {
			t.Errorf("of %q the check says %q, want %q", text, got, want)
		}
	}
}

// The table of graces says what the files say.
func TestOperationsKnowsTheGracesOfTheDeployments(t *testing.T) {
	text := page(t)
	for file, settings := range map[string][]string{
		"docker-compose.yml":                      {"-grace 30s", "stop_grace_period: 35s"},
		"deploy/kubernetes/worker.yml":            {"-grace 45s", "terminationGracePeriodSeconds: 60"},
		"deploy/systemd/distpool-worker@.service": {"-grace 45s", "TimeoutStopSec=60"},
	} {
		b, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.NewReplacer(`", "`, " ", `"`, "").Replace(string(b))
		for _, s := range settings {
			if !strings.Contains(plain, s) {
				t.Errorf("%s has no %s", file, s)
			}
		}
		if row := fmt.Sprintf("| `%s` | `%s` | `%s` |", file, settings[0], settings[1]); !strings.Contains(text, row) {
			t.Errorf("%s has no line %s", operations, row)
		}
	}
}
