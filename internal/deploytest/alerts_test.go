package deploytest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	k8syaml "sigs.k8s.io/yaml"
)

// What we use of a file of promtool's tests.
type (
	alertTests struct {
		RuleFiles []string    `yaml:"rule_files"`
		Every     string      `yaml:"evaluation_interval"`
		Tests     []alertTest `yaml:"tests"`
	}
	alertTest struct {
		Name     string         `yaml:"name"`
		Interval string         `yaml:"interval"`
		Input    []inputSeries  `yaml:"input_series"`
		Exprs    []exprTest     `yaml:"promql_expr_test"`
		Rules    []alertSummary `yaml:"alert_rule_test"`
	}
	inputSeries struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	}
	exprTest struct {
		At   string       `yaml:"eval_time"`
		Expr string       `yaml:"expr"`
		Want []wantSample `yaml:"exp_samples"`
	}
	wantSample struct {
		Labels string  `yaml:"labels"`
		Value  float64 `yaml:"value"`
	}
	alertSummary struct {
		Alert string           `yaml:"alertname"`
		At    string           `yaml:"eval_time"`
		Want  []map[string]any `yaml:"exp_alerts"`
	}
)

const alertsFile, alertTestsFile = "deploy/prometheus/alerts.yml", "deploy/prometheus/tests.yml"

var (
	seriesWord = regexp.MustCompile(`^([a-z_]+)\{(.*)\}$`)
	labelPair  = regexp.MustCompile(`(\w+)="([^"]*)"`)
	firingName = regexp.MustCompile(`alertname="(\w+)"`)
)

// make alerts runs them. What they are worth depends on their series.
func TestAlertsAreTestedWithReportedSeries(t *testing.T) {
	var file alertTests
	strictly(t, alertTestsFile, &file)
	if !slices.Equal(file.RuleFiles, []string{filepath.Base(alertsFile)}) {
		t.Errorf("what is tested are the rules %q", file.RuleFiles)
	}
	known := reported(t)
	known["up"] = map[string]bool{}
	firing := map[string]bool{}
	for _, test := range file.Tests {
		for _, in := range test.Input {
			m := seriesWord.FindStringSubmatch(in.Series)
			if m == nil {
				t.Fatalf("%s: %q is no series", test.Name, in.Series)
			}
			labels := map[string]bool{}
			for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
				labels[l[1]] = true
			}
			if !labels["job"] || !labels["instance"] {
				t.Errorf("%s: a scrape gives %q a job and an instance", test.Name, in.Series)
			}
			delete(labels, "job")
			delete(labels, "instance")
			delete(labels, "le")
			if want, ok := known[m[1]]; !ok || !maps.Equal(labels, want) {
				t.Errorf("%s: %s has the labels %v, and is reported with %v", test.Name, m[1], labels, want)
			}
		}
		for _, e := range test.Exprs {
			if e.Expr != `ALERTS{alertstate="firing"}` {
				t.Errorf("%s: %q is not all that fires", test.Name, e.Expr)
			}
			for _, w := range e.Want {
				firing[firingName.FindStringSubmatch(w.Labels)[1]] = true
			}
		}
	}
	if rules := ruleNames(t); !maps.Equal(firing, rules) {
		t.Errorf("the tests have %v fire, the rules are %v", slices.Sorted(maps.Keys(firing)), slices.Sorted(maps.Keys(rules)))
	}
	if !strings.Contains(makefile(t), "test rules "+alertTestsFile) {
		t.Errorf("the Makefile does not run %s", alertTestsFile)
	}
	if ci, err := os.ReadFile(filepath.Join(root, ".ci/run")); err != nil || !strings.Contains(string(ci), "\nmake alerts\n") {
		t.Errorf("the tests of the alerts are not part of what every change must pass: %v", err)
	}
}

// scraping is what we use of the Prometheus Operator's PodMonitor.
type (
	podMonitor struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   podMonitorMeta `json:"metadata"`
		Spec       podMonitorSpec `json:"spec"`
	}
	podMonitorMeta struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	}
	podMonitorSpec struct {
		Selector  podSelector   `json:"selector"`
		Endpoints []podEndpoint `json:"podMetricsEndpoints"`
	}
	podSelector struct {
		MatchLabels map[string]string `json:"matchLabels"`
	}
	podEndpoint struct {
		Port          string            `json:"port"`
		Authorization *podAuthorization `json:"authorization"`
		Relabelings   []podRelabeling   `json:"relabelings"`
	}
	podAuthorization struct {
		Type        string         `json:"type"`
		Credentials podCredentials `json:"credentials"`
	}
	podCredentials struct{ Name, Key string }
	podRelabeling  struct{ TargetLabel, Replacement string }
)

// scrape is one of the scrapes of a deployment, however it is written down.
type scrape struct {
	job, port string
	labels    map[string]string // of the pods
	token     string            // where it is; "" for none
}

// byOperator are the scrapes of the component for the Prometheus Operator.
func byOperator(t *testing.T) (scrapes []scrape) {
	t.Helper()
	dir := filepath.Join(root, manifests, "operator")
	b, err := os.ReadFile(filepath.Join(dir, "kustomization.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var k kustomization
	if err := k8syaml.UnmarshalStrict(b, &k); err != nil || k.Kind != "Component" || len(k.Resources) != 1 {
		t.Fatalf("the component is %+v, %v", k, err)
	}
	if b, err = os.ReadFile(filepath.Join(dir, k.Resources[0])); err != nil {
		t.Fatal(err)
	}
	for _, doc := range divider.Split(string(b), -1) {
		var m podMonitor
		if err := k8syaml.UnmarshalStrict([]byte(doc), &m); err != nil {
			t.Fatal(err)
		}
		if m.APIVersion != "monitoring.coreos.com/v1" || m.Kind != "PodMonitor" || len(m.Spec.Endpoints) != 1 {
			t.Fatalf("%s is a %s %s of %d endpoints", m.Metadata.Name, m.APIVersion, m.Kind, len(m.Spec.Endpoints))
		}
		e := m.Spec.Endpoints[0]
		s := scrape{port: e.Port, labels: m.Spec.Selector.MatchLabels}
		for _, r := range e.Relabelings {
			if r.TargetLabel == "job" {
				s.job = r.Replacement
			}
		}
		if a := e.Authorization; a != nil && a.Type == "Bearer" {
			s.token = a.Credentials.Name + "/" + a.Credentials.Key
		}
		scrapes = append(scrapes, s)
	}
	return scrapes
}

// byPrometheus are the scrapes of the file for a Prometheus in the cluster. The token
// is where its instructions put it.
func byPrometheus(t *testing.T) (scrapes []scrape) {
	t.Helper()
	const file = "deploy/prometheus/kubernetes.yml"
	var cfg prometheusConfig
	strictly(t, file, &cfg)
	for _, c := range cfg.ScrapeConfigs {
		if len(c.Kubernetes) != 1 || c.Kubernetes[0].Role != "pod" || len(c.Kubernetes[0].Selectors) != 1 || !slices.Equal(c.Kubernetes[0].Namespaces.Names, []string{kustomized(t).Namespace}) {
			t.Fatalf("%s looks for %+v", c.JobName, c.Kubernetes)
		}
		s := scrape{job: c.JobName, labels: map[string]string{}}
		for pair := range strings.SplitSeq(c.Kubernetes[0].Selectors[0].Label, ",") {
			k, v, _ := strings.Cut(pair, "=")
			s.labels[k] = v
		}
		targets := map[string]bool{}
		for _, r := range c.Relabel {
			if r.Action == "keep" && slices.Equal(r.Source, []string{"__meta_kubernetes_pod_container_port_name"}) {
				s.port = r.Regex
			}
			targets[r.Target] = true
		}
		if !targets["namespace"] || !targets["pod"] {
			t.Errorf("%s does not label what it scrapes with namespace and pod, which the adapter wants", c.JobName)
		}
		if a := c.Authorization; a != nil && a.Type == "Bearer" {
			text, err := os.ReadFile(filepath.Join(root, file))
			if err != nil || strings.Count(string(text), a.CredentialsFile) != 2 {
				t.Errorf("the instructions do not say how the token gets to %s: %v", a.CredentialsFile, err)
			}
			s.token = "distpool-monitor/token"
		}
		scrapes = append(scrapes, s)
	}
	return scrapes
}

func TestWorkersAndMonitorAreScrapedInKubernetes(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(root, alertsFile))
	if err != nil {
		t.Fatal(err)
	}
	for how, scrapes := range map[string][]scrape{"the operator": byOperator(t), "Prometheus": byPrometheus(t)} {
		found := map[string]scrape{}
		for _, s := range scrapes {
			found[s.job] = s
		}
		if len(scrapes) != 2 || len(found) != 2 {
			t.Errorf("%s scrapes %+v", how, scrapes)
		}
		for job, program := range map[string]string{"distpool-worker": "worker", "distpool-monitor": "distpool"} {
			s, ok := found[job]
			if !ok {
				t.Errorf("%s does not scrape %s", how, job)
				continue
			}
			pod := selected(t, s.labels)
			if pod.Containers[0].Args[0] != program || !hasPort(pod, s.port) {
				t.Errorf("as %s, %s scrapes port %s of %q", job, how, s.port, pod.Containers[0].Args)
			}
			if job == "distpool-worker" {
				if s.token != "" {
					t.Errorf("%s shows workers the token", how)
				}
			} else if !slices.Contains(usedSecrets(corev1.PodSpec{Volumes: pod.Volumes}), s.token) {
				t.Errorf("%s shows the monitor %q, which is not its token", how, s.token)
			}
		}
	}
	// The rules know scrapes by these names, here and with docker compose.
	var cfg prometheusConfig
	strictly(t, "deploy/prometheus/prometheus.yml", &cfg)
	for _, c := range cfg.ScrapeConfigs {
		if c.JobName != "distpool-worker" && c.JobName != "distpool-monitor" {
			t.Errorf("the rules know no scrape %s", c.JobName)
		}
	}
	for _, want := range []string{`up{job=~"distpool-.*"} == 0`, `absent(up{job="distpool-monitor"} == 1)`} {
		if !strings.Contains(string(rules), want) {
			t.Errorf("no rule has %s", want)
		}
	}
}
