package metrics_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"
)

// expression is a PromQL expression of a dashboard or a rule.
type expression struct{ where, expr string }

// What is looked at of the two files.
type (
	grafana struct {
		Templating templating
		Panels     []panel
	}
	templating struct{ List []variable }
	variable   struct{ Name, Query string }
	panel      struct {
		ID      int
		Title   string
		Type    string
		GridPos place
		Targets []target
	}
	place  struct{ X, Y, W, H int }
	target struct{ Expr string }

	ruleFile struct{ Groups []group }
	group    struct{ Rules []rule }
	rule     struct {
		Alert, Expr string
		Labels      severity
		Annotations annotations
	}
	severity    struct{ Severity string }
	annotations struct{ Summary, Description string }
)

// dashboard reads the expressions of the Grafana dashboard.
func dashboard(t *testing.T) (es []expression) {
	t.Helper()
	data, err := os.ReadFile("../deploy/grafana/distpool.json")
	if err != nil {
		t.Fatal(err)
	}
	var d grafana
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q: ID %d, place %+v", p.Title, p.ID, p.GridPos)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			es = append(es, expression{"panel " + p.Title, target.Expr})
		}
	}
	for _, v := range d.Templating.List {
		if selector, ok := strings.CutPrefix(v.Query, "label_values("); ok {
			metric, label, _ := strings.Cut(strings.TrimSuffix(selector, ")"), ", ")
			es = append(es, expression{"variable " + v.Name, metric + "{" + label + `=~".*"}`})
		}
	}
	return es
}

// alerts reads the expressions of the alert rules.
func alerts(t *testing.T) (es []expression) {
	t.Helper()
	data, err := os.ReadFile("../deploy/prometheus/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var f ruleFile
	if err := yaml.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Labels.Severity == "" || r.Annotations.Summary == "" || r.Annotations.Description == "" {
				t.Errorf("alert %q lacks a severity, a summary or a description", r.Alert)
			}
			es = append(es, expression{"alert " + r.Alert, r.Expr})
		}
	}
	return es
}

// What PromQL expressions are made of, as far as ours go.
var (
	words     = []string{"by", "on", "and", "or", "unless", "absent", "max_over_time", "sum", "max", "min", "rate", "increase", "histogram_quantile"}
	ranges    = regexp.MustCompile(`\[[^\]]*\]`)
	grouping  = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
	selection = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\})?`)
	matcher   = regexp.MustCompile(`^([a-z_]+)(=~|!~|!=|=)"([^"]*)"$`)
)

// addedByPrometheus are labels that come with the scrape.
var addedByPrometheus = []string{"instance", "job", "le"}

func TestDashboardAndAlertsReferOnlyToMetricsThatExist(t *testing.T) {
	w := start(t)
	w.run()
	w.eventually(1, "distpool_queues_up")
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]map[string]bool{} // name of a series -> its labels
	for _, f := range families {
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
			if m.GetHistogram() != nil {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					series[f.GetName()+suffix] = labels
				}
				continue
			}
			series[f.GetName()] = labels
		}
	}
	used := map[string]bool{}
	for _, e := range append(dashboard(t), alerts(t)...) {
		expr := ranges.ReplaceAllString(e.expr, "")
		grouped := grouping.FindAllStringSubmatch(expr, -1)
		expr = grouping.ReplaceAllString(expr, "")
		all := map[string]bool{} // labels of any metric in it
		for _, s := range selection.FindAllStringSubmatch(expr, -1) {
			name, matchers := s[1], s[2]
			if slices.Contains(words, name) || name == "up" { // which is Prometheus's own
				continue
			}
			labels, ok := series[name]
			if !ok {
				t.Errorf("%s refers to %s, which no pool, worker or queue has: %s", e.where, name, e.expr)
				continue
			}
			used[name] = true
			maps.Copy(all, labels)
			for m := range strings.SplitSeq(matchers, ",") {
				if m == "" {
					continue
				}
				parts := matcher.FindStringSubmatch(strings.TrimSpace(m))
				if parts == nil || !labels[parts[1]] {
					t.Errorf("%s: %s has no label for %q", e.where, name, m)
				}
			}
		}
		for _, g := range grouped {
			for label := range strings.SplitSeq(g[1], ",") {
				if label = strings.TrimSpace(label); label != "" && !all[label] && !slices.Contains(addedByPrometheus, label) {
					t.Errorf("%s groups by %q, which is a label of none of its metrics: %s", e.where, label, e.expr)
				}
			}
		}
	}
	for name := range series {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !used[base] && !used[base+"_bucket"] && !used[base+"_count"] {
			t.Errorf("neither the dashboard nor an alert shows %s", base)
		}
	}
}
